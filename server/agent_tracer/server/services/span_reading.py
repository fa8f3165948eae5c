"""Whole spans of places in a tree, as many as a page holds."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from agent_tracer.server.domain.ids import OtelTraceId, TenantId
from agent_tracer.server.domain.telemetry import Span, SpanOutline
from agent_tracer.server.domain.trees import Placed
from agent_tracer.server.domain.weights import span_weight
from agent_tracer.server.limits import PAGE_BYTES_MAX, SPANS_READ_FIRST
from agent_tracer.server.ports.store import TraceReader


class SpansRead(NamedTuple):
    """`places`: how many of the places asked for the spans stand for, those deleted meanwhile included."""

    spans: Sequence[Span]
    places: int


async def read_placed(
    reader: TraceReader, tenant: TenantId, key: OtelTraceId, placed: Sequence[Placed[SpanOutline]]
) -> SpansRead:
    """The spans of the first places that fit into PAGE_BYTES_MAX, one at least.

    Reads a few, then as many as their average size lets fit: agents' spans may be megabytes each, and a page
    of a thousand of them must not be read to show two.
    """
    shown: list[Span] = []
    places, used, count = 0, 0, SPANS_READ_FIRST
    while places < len(placed):
        wanted = placed[places : places + count]
        found = await reader.spans(tenant, key, [place.span.span_id for place in wanted])
        by_id = {span.span_id: span for span in found}
        for outline, depth, agent_id in wanted:
            span = by_id.get(outline.span_id)
            if span is not None:
                used += span_weight(span)
                if shown and used > PAGE_BYTES_MAX:
                    return SpansRead(shown, places)
                shown.append(dataclasses.replace(span, depth=depth, agent_id=agent_id))
            places += 1
        count = max(1, (PAGE_BYTES_MAX - used) * places // max(1, used))
    return SpansRead(shown, places)
