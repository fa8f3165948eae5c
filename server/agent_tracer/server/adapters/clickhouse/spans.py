"""Reads spans: rows of the table `spans` as domain spans."""

from collections.abc import Sequence
from typing import Final

from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

from agent_tracer.server.adapters.clickhouse.engine import Engine, Row
from agent_tracer.server.adapters.clickhouse.values import python_attributes, read_attributes
from agent_tracer.server.domain.ids import AgentId, OtelTraceId, SpanId, TenantId
from agent_tracer.server.domain.messages import readable_content
from agent_tracer.server.domain.telemetry import Span, SpanEvent, SpanLink, SpanOutline, TokenUsage

OF_TRACE: Final = "tenant = {tenant:String} AND trace_id = unhex({trace:String})"
NO_PARENT: Final = bytes(8)
_STATUS: Final = ("unset", "ok", "error")

_OUTLINE: Final = f"""
SELECT span_id, parent_span_id, toUnixTimestamp64Nano(start_time) AS start_ns, agent_id
FROM spans WHERE {OF_TRACE} ORDER BY start_time, span_id LIMIT 1 BY span_id LIMIT {{limit:UInt32}}
"""

_SPANS: Final = f"""
SELECT span_id, parent_span_id, name, kind, toUnixTimestamp64Nano(start_time), duration_ns, status, status_message,
  service, agent_id, model, provider, tool_name, input_tokens, output_tokens, cache_read_tokens,
  cache_creation_tokens, reasoning_tokens, cost, input, output, mapKeys(attributes), mapValues(attributes),
  attribute_types, events, links
FROM spans WHERE {OF_TRACE} AND has({{ids:Array(String)}}, lower(hex(span_id)))
LIMIT 1 BY span_id
"""


async def read_outline(engine: Engine, tenant: TenantId, trace_id: OtelTraceId, limit: int) -> Sequence[SpanOutline]:
    """Enough of every span to draw the tree, in order of start and id."""
    rows = await engine.rows(_OUTLINE, {"tenant": tenant, "trace": trace_id.hex(), "limit": limit})
    return [
        SpanOutline(SpanId(span_id), _parent(parent), start_ns, AgentId(agent.decode(errors="replace")))
        for span_id, parent, start_ns, agent in rows
    ]


async def read_spans(
    engine: Engine, tenant: TenantId, trace_id: OtelTraceId, span_ids: Sequence[SpanId]
) -> Sequence[Span]:
    """Those spans, whole, in any order."""
    ids = [span_id.hex() for span_id in span_ids]
    return [_span(row) for row in await engine.rows(_SPANS, {"tenant": tenant, "trace": trace_id.hex(), "ids": ids})]


def _parent(span_id: bytes) -> SpanId | None:
    return None if span_id == NO_PARENT else SpanId(span_id)


def _span(row: Row) -> Span:
    (span_id, parent, name, kind, start_ns, duration_ns, status, message, service, agent, model, provider, tool,
     input_tokens, output_tokens, cache_read, cache_creation, reasoning, cost, input_, output, keys, texts, types,
     events, links) = row  # fmt: skip
    attributes = read_attributes(keys, texts, types, (input_, output))
    shown_input, shown_output = readable_content(attributes)
    return Span(
        span_id=SpanId(span_id),
        parent_id=_parent(parent),
        name=_text(name),
        kind=_text(kind),
        start_ns=start_ns,
        duration_ns=duration_ns,
        status=_STATUS[status] if 0 <= status < len(_STATUS) else _STATUS[0],
        status_message=_text(message),
        service=_text(service),
        agent_id=AgentId(_text(agent)),
        model=_text(model),
        provider=_text(provider),
        tool_name=_text(tool),
        usage=TokenUsage(input_tokens, output_tokens, cache_read, cache_creation, reasoning),
        cost=cost,
        input=shown_input or _text(input_),
        output=shown_output or _text(output),
        attributes=attributes,
        events=[_event(OtlpSpan.Event.FromString(event)) for event in events],
        links=[_link(OtlpSpan.Link.FromString(link)) for link in links],
    )


def _event(event: OtlpSpan.Event) -> SpanEvent:
    return SpanEvent(event.name, event.time_unix_nano, python_attributes(event.attributes))


def _link(link: OtlpSpan.Link) -> SpanLink:
    return SpanLink(OtelTraceId(link.trace_id), SpanId(link.span_id), python_attributes(link.attributes))


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
