"""Exporters of the whole program against the real backends."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.fixtures.otlp_requests import attribute, log_record, logs_request
from tests.fixtures.program import Program, running_program
from tests.servers.child import eventually
from tests.servers.jaeger import Jaeger
from tests.servers.loki import Loki
from tests.servers.phoenix import Phoenix

pytestmark = pytest.mark.servers

SECONDS_MAX = 90
"""What a busy machine takes for what a quiet one does in a second or two."""

OUTAGE_SECONDS = float(os.environ.get("AGENT_TRACER_OUTAGE_SECONDS", "10"))
"""How long Phoenix is away under load: 300 for the whole of what is promised."""

MESSAGES = '[{"role": "user", "parts": [{"type": "text", "content": "What is 2 + 2?"}]}]'
ANSWER = '[{"role": "assistant", "parts": [{"type": "text", "content": "Four."}], "finish_reason": "stop"}]'


def number(key: str, value: int) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(int_value=value))


def span_id(trace_id: bytes, number_: int) -> bytes:
    """Of the trace alone: Phoenix takes two spans of one id for the same, whatever their trace."""
    return trace_id[:7] + bytes([number_])


def llm_call(trace_id: bytes) -> Span:
    now = time.time_ns()
    return Span(
        trace_id=trace_id,
        span_id=span_id(trace_id, 2),
        parent_span_id=span_id(trace_id, 1),
        name="chat gpt-4o",
        kind=Span.SPAN_KIND_CLIENT,
        start_time_unix_nano=now - 1_000_000_000,
        end_time_unix_nano=now,
        attributes=[
            attribute("gen_ai.operation.name", "chat"),
            attribute("gen_ai.provider.name", "openai"),
            attribute("gen_ai.request.model", "gpt-4o"),
            number("gen_ai.usage.input_tokens", 1000),
            number("gen_ai.usage.output_tokens", 200),
            attribute("gen_ai.input.messages", MESSAGES),
            attribute("gen_ai.output.messages", ANSWER),
        ],
    )


def agent_run(trace_id: bytes) -> ExportTraceServiceRequest:
    """Two services: an agent that calls a model, and a tool's server that fails."""
    now = time.time_ns()
    root = Span(
        trace_id=trace_id,
        span_id=span_id(trace_id, 1),
        name="invoke_agent planner",
        start_time_unix_nano=now - 2_000_000_000,
        end_time_unix_nano=now,
        attributes=[attribute("gen_ai.operation.name", "invoke_agent"), attribute("gen_ai.agent.name", "planner")],
    )
    listed = AnyValue(array_value=ArrayValue(values=[AnyValue(string_value="a"), AnyValue(int_value=2)]))
    tool = Span(
        trace_id=trace_id,
        span_id=b"\xff" + span_id(trace_id, 3)[1:],
        parent_span_id=root.span_id,
        trace_state="vendor=1",
        name="search",
        kind=Span.SPAN_KIND_SERVER,
        start_time_unix_nano=now - 1_500_000_000,
        end_time_unix_nano=now - 1_200_000_000,
        attributes=[KeyValue(key="tags", value=listed), KeyValue(key="hot", value=AnyValue(bool_value=True))],
        events=[Span.Event(name="retry", time_unix_nano=now - 1_400_000_000, attributes=[number("attempt", 2)])],
        links=[Span.Link(trace_id=b"\xaa" * 16, span_id=b"\x01" * 8)],
        status=Status(code=Status.STATUS_CODE_ERROR, message="no such index"),
    )
    request = ExportTraceServiceRequest()
    for service, spans in (("planner", [root, llm_call(trace_id)]), ("search", [tool])):
        group = request.resource_spans.add()
        group.resource.attributes.extend([attribute("service.name", service), attribute("host.name", "h1")])
        scope = group.scope_spans.add()
        scope.scope.name, scope.scope.version = "tests", "1.2"
        scope.spans.extend(spans)
    return request


def send(program: Program, request: ExportTraceServiceRequest) -> None:
    post(program, "traces", request.SerializeToString())


def post(program: Program, signal: str, body: bytes) -> None:
    url = f"http://127.0.0.1:{program.otlp_http}/v1/{signal}"
    headers = {"content-type": "application/x-protobuf"}
    httpx.post(url, content=body, headers=headers, trust_env=False, timeout=30).raise_for_status()


def tree(trace: dict[str, Any]) -> list[dict[str, Any]]:
    """What a trace says in Jaeger, without the order in which it was kept."""
    services = trace["processes"]
    return sorted(
        (
            {
                "id": span["spanID"],
                "name": span["operationName"],
                "start": span["startTime"],
                "duration": span["duration"],
                "service": services[span["processID"]]["serviceName"],
                "process": fields(services[span["processID"]]["tags"]),
                "references": sorted((r["refType"], r["traceID"], r["spanID"]) for r in span["references"]),
                "tags": fields(span["tags"]),
                "logs": [(log["timestamp"], fields(log["fields"])) for log in span["logs"]],
            }
            for span in trace["spans"]
        ),
        key=lambda span: str(span["id"]),
    )


def fields(tags: list[dict[str, Any]]) -> dict[str, Any]:
    return {tag["key"]: (tag["type"], tag["value"]) for tag in tags}


def test_jaeger_gets_the_same_trees_by_every_road(tmp_path: Path, jaeger: Jaeger) -> None:
    trace_id = os.urandom(16)
    request = agent_run(trace_id)
    trees: list[str] = []
    endpoints = {
        "grpc": {"endpoint": f"http://{jaeger.otlp_grpc}", "protocol": "grpc"},
        "http": {"endpoint": jaeger.otlp_http},
        "thrift": {"endpoint": jaeger.thrift_url},
    }
    for road, settings in endpoints.items():
        with running_program(tmp_path / road, exporters={"jaeger": {"enabled": True, **settings}}) as program:
            # Each road has a trace of its own: Jaeger keeps what it was sent twice twice.
            for group in request.resource_spans:
                for scope in group.scope_spans:
                    for span in scope.spans:
                        span.trace_id = trace_id[:-1] + bytes([len(trees)])
            send(program, request)
            found = jaeger.trace((trace_id[:-1] + bytes([len(trees)])).hex(), spans_min=3, seconds_max=SECONDS_MAX)
            text = str(tree(found)).replace(found["traceID"], "TRACE")
            trees.append(text)
    assert trees[0] == trees[1]
    assert trees[2] == trees[0]
    assert "FOLLOWS_FROM" in trees[0]


def test_phoenix_shows_model_tokens_cost_and_messages_in_the_named_project(tmp_path: Path, phoenix: Phoenix) -> None:
    project = f"agents-{os.urandom(4).hex()}"
    exporter = {"enabled": True, "endpoint": phoenix.url, "project": project}
    with running_program(tmp_path, exporters={"phoenix": exporter}) as program:
        send(program, agent_run(os.urandom(16)))
        spans = {span["name"]: span for span in phoenix.spans(project, count_min=3, seconds_max=SECONDS_MAX)}
        assert eventually(lambda: sent_line("phoenix", "traces", 3) in metrics(program))
    call = spans["chat gpt-4o"]
    assert call["span_kind"] == "LLM"
    assert spans["invoke_agent planner"]["span_kind"] == "AGENT"
    given = call["attributes"]
    assert (given["llm.model_name"], given["llm.provider"]) == ("gpt-4o", "openai")
    assert (given["llm.token_count.prompt"], given["llm.token_count.completion"]) == (1000, 200)
    assert given["llm.input_messages.0.message.content"] == "What is 2 + 2?"
    assert given["llm.output_messages.0.message.content"] == "Four."
    assert "What is 2 + 2?" in given["input.value"]
    assert cost(phoenix, project) == pytest.approx(1000 * 2.5e-6 + 200 * 10e-6)


def metrics(program: Program) -> str:
    return httpx.get(f"http://127.0.0.1:{program.metrics}/metrics", trust_env=False, timeout=30).text


def sent_line(exporter: str, signal: str, count: int) -> str:
    return f'agent_tracer_exporter_sent_total{{exporter="{exporter}",signal="{signal}"}} {count}.0'


def cost(phoenix: Phoenix, project: str) -> float:
    """Phoenix's own sum for the project, once it has made it."""
    query = "{projects{edges{node{name costSummary{total{cost}} tokenCountTotal}}}}"

    def look() -> float:
        nodes = (edge["node"] for edge in phoenix.graphql(query)["projects"]["edges"])
        return float(next(n["costSummary"]["total"]["cost"] or 0.0 for n in nodes if n["name"] == project))

    return eventually(look, SECONDS_MAX)


@pytest.fixture
def own_phoenix(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Phoenix]:
    from tests.fixtures.servers import required  # noqa: PLC0415 - registered as a plugin

    required(request, Phoenix.recipe)
    server = Phoenix(tmp_path / "phoenix")
    server.start()
    yield server
    server.stop()


@pytest.mark.timeout(900 + 4 * OUTAGE_SECONDS)
def test_what_phoenix_missed_while_it_was_killed_under_load_arrives(tmp_path: Path, own_phoenix: Phoenix) -> None:
    exporter = {"enabled": True, "endpoint": own_phoenix.url, "project": "outage"}
    sent: set[str] = set()

    def load(program: Program, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            trace_id = os.urandom(16)
            send(program, agent_run(trace_id))
            sent.add(trace_id.hex())
            time.sleep(0.1)

    with running_program(tmp_path / "tracer", exporters={"phoenix": exporter}) as program:
        load(program, 5)
        assert eventually(lambda: "outage" in own_phoenix.projects(), SECONDS_MAX)
        load(program, 1)
        own_phoenix.kill()  # with what it has acknowledged and holds in memory alone
        load(program, OUTAGE_SECONDS)
        ready = httpx.get(f"{program.url}/readyz", trust_env=False, timeout=30)
        assert ready.status_code == 200
        assert "exporters.phoenix" in ready.text
        own_phoenix.start()
        load(program, 1)
        eventually(lambda: trace_count(own_phoenix) >= len(sent), 180 + OUTAGE_SECONDS)
        assert sent == traces_in(own_phoenix), f"{len(sent - traces_in(own_phoenix))} of {len(sent)} traces are missing"


def trace_count(phoenix: Phoenix) -> int:
    """Asked rarely: a reader of Phoenix holds its writer up."""
    time.sleep(1)
    nodes = (e["node"] for e in phoenix.graphql("{projects{edges{node{name traceCount}}}}")["projects"]["edges"])
    return next((int(node["traceCount"]) for node in nodes if node["name"] == "outage"), 0)


def traces_in(phoenix: Phoenix) -> set[str]:
    """Ids of every trace of the project."""
    found: set[str] = set()
    cursor = None
    while True:
        page = phoenix._get("/v1/projects/outage/spans", limit=1000, **({"cursor": cursor} if cursor else {}))
        found |= {span["context"]["trace_id"] for span in page["data"]}
        cursor = page.get("next_cursor")
        if not cursor:
            return found


def test_loki_gets_logs_that_are_found_by_their_trace(tmp_path: Path, loki: Loki) -> None:
    trace_id = os.urandom(16)
    record = log_record("payment failed")
    record.trace_id, record.time_unix_nano = trace_id, time.time_ns()
    request = logs_request(record)
    request.resource_logs[0].resource.attributes.append(attribute("service.name", "till"))
    with running_program(tmp_path, exporters={"loki": {"enabled": True, "endpoint": loki.url}}) as program:
        post(program, "logs", request.SerializeToString())
        send(program, agent_run(os.urandom(16)))
        query = f'{{service_name="till"}} | trace_id="{trace_id.hex()}"'
        lines = loki.lines(query, seconds_max=SECONDS_MAX)
        assert eventually(lambda: sent_line("loki", "logs", 1) in metrics(program))
    assert len(lines) == 1
    assert "payment failed" in str(lines)
