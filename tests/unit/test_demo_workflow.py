"""The demo's three agents: their spans arrive, once each, and it leaves nothing behind."""

from collections.abc import Iterator
from concurrent import futures
from typing import Self

import grpc
import openai
import pytest
from anthropic.resources import Messages
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from agent_tracer.server.demo.telemetry import DemoDeliveryError, DemoEndpointError
from agent_tracer.server.demo.workflow import DemoResult, run_demo

UNINSTRUMENTED = (openai.OpenAI.request, Messages.create, Messages.stream)


class Receiver(trace_service_pb2_grpc.TraceServiceServicer):
    """A real OTLP/gRPC receiver that keeps spans, or refuses them."""

    def __init__(self, *, refuse: bool = False) -> None:
        self.spans: list[Span] = []
        self._refuse = refuse
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self._server)  # type: ignore[no-untyped-call]
        self.endpoint = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._server.stop(grace=None).wait()

    def Export(  # noqa: N802 - gRPC's name
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        if self._refuse:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "refused")
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)
        return trace_service_pb2.ExportTraceServiceResponse()


def text(span: Span, key: str) -> str:
    return next((a.value.string_value for a in span.attributes if a.key == key), "")


@pytest.fixture(scope="module")
def demo() -> Iterator[tuple[DemoResult, list[Span], list[str]]]:
    lines: list[str] = []
    with Receiver() as receiver:
        yield run_demo(receiver.endpoint, runs=4, progress=lines.append), receiver.spans, lines


Demo = tuple[DemoResult, list[Span], list[str]]


def test_the_demo_counts_what_arrived(demo: Demo) -> None:
    result, spans, lines = demo
    assert len(spans) == result.spans
    assert [span.trace_id.hex() for span in spans if not span.parent_span_id] == list(result.trace_ids)
    assert sum(text(span, "openinference.span.kind") == "LLM" for span in spans) == result.llm_calls
    assert sum(span.status.code == Status.STATUS_CODE_ERROR for span in spans) == result.errors
    assert len(lines) == len(result.trace_ids) == 4


def test_each_model_call_of_the_demo_is_one_span(demo: Demo) -> None:
    """Planner 1, researcher 2, writer 2; two more would be the Anthropic SDK's own."""
    result, spans, _ = demo
    healthy = [span for span in spans if span.trace_id.hex() == result.trace_ids[1]]
    assert sum(text(span, "openinference.span.kind") == "LLM" for span in healthy) == 5
    assert not [span for span in healthy if span.name.startswith("anthropic.")]


def test_the_demo_shows_three_agents_with_task_types_in_one_session(demo: Demo) -> None:
    result, spans, _ = demo
    agents = [s for s in spans if text(s, "gen_ai.operation.name") == "invoke_agent"]
    assert {(text(s, "gen_ai.agent.id"), text(s, "task.type")) for s in agents} == {
        ("release-planner", "plan"),
        ("release-researcher", "research"),
        ("release-writer", "write"),
    }
    assert all(text(s, "gen_ai.agent.version") and text(s, "gen_ai.workflow.name") for s in agents)
    assert {text(s, "gen_ai.conversation.id") for s in agents} == {result.session_id}


def test_a_tool_times_out_in_the_first_run_and_is_tried_again(demo: Demo) -> None:
    result, spans, _ = demo
    tools = [
        s
        for s in spans
        if s.trace_id.hex() == result.trace_ids[0] and text(s, "gen_ai.tool.name") == "search_changelog"
    ]
    first, second = sorted(tools, key=lambda s: s.start_time_unix_nano)
    assert first.status.code == Status.STATUS_CODE_ERROR
    assert [event.name for event in first.events] == ["exception"]
    assert text(first, "error.type") == "timeout"
    assert second.status.code != Status.STATUS_CODE_ERROR


def test_a_run_whose_retry_times_out_too_fails_up_to_its_root(demo: Demo) -> None:
    result, spans, _ = demo
    roots = {s.trace_id.hex(): s for s in spans if not s.parent_span_id}
    failed = [i for i, t in enumerate(result.trace_ids) if roots[t].status.code == Status.STATUS_CODE_ERROR]
    assert (failed, result.failed_runs) == ([3], 1)


def test_the_demo_leaves_the_sdks_as_they_were(demo: Demo) -> None:
    del demo
    assert (openai.OpenAI.request, Messages.create, Messages.stream) == UNINSTRUMENTED


def test_refused_spans_are_an_error_that_names_the_endpoint() -> None:
    with Receiver(refuse=True) as receiver, pytest.raises(DemoDeliveryError, match=receiver.endpoint):
        run_demo(receiver.endpoint, runs=1)


@pytest.mark.parametrize("endpoint", ["", "localhost", "http://", "localhost/v1:4317", ":4317"])
def test_an_endpoint_that_is_none_is_named(endpoint: str) -> None:
    with pytest.raises(DemoEndpointError, match="neither host:port"):
        run_demo(endpoint, runs=1)


@pytest.mark.parametrize("runs", [0, -1, 10**6])
def test_runs_are_bounded(runs: int) -> None:
    with pytest.raises(ValueError, match="runs must be"):
        run_demo("127.0.0.1:4317", runs=runs)
