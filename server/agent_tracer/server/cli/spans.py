"""A trace's spans, read page by page and kept only as what a tree shows of them."""

# Imports wait until a command needs them: `--help` must be quick.
# ruff: noqa: PLC0415

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from agent_tracer.server.limits import CLI_CALL_SECONDS, PAGE_SIZE_MAX

if TYPE_CHECKING:
    from agent_tracer.server.cli.tree import Node
    from agent_tracer.v1 import trace_pb2
    from agent_tracer.v1.trace_pb2_grpc import TraceServiceStub


def read_nodes(traces: "TraceServiceStub", trace: "trace_pb2.Trace", spans_max: int) -> "list[Node]":
    """The trace's first spans, depth first: those that came with GetTrace, or of a larger trace its pages."""
    from agent_tracer.server.cli.render import nodes

    if trace.span_count <= len(trace.spans):
        return nodes(trace.spans)
    return nodes(islice(_pages(traces, trace.trace_id), spans_max))


def _pages(traces: "TraceServiceStub", trace_id: str) -> "Iterator[trace_pb2.Span]":
    from agent_tracer.v1 import trace_pb2

    request = trace_pb2.ListSpansRequest(trace_id=trace_id, page_size=PAGE_SIZE_MAX)
    while True:
        page = traces.ListSpans(request, timeout=CLI_CALL_SECONDS)
        yield from page.spans
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token
