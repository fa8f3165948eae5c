"""Agents send to an OpenTelemetry Collector, which passes on to the server: what is stored is what direct sending stores."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetrics
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Status, StatusCode

from tests.e2e.otlp import otlp_span, spans_request
from tests.e2e.servers.arriving import trace_at
from tests.e2e.stored import stored
from tests.e2e.talk import CALL_SECONDS
from tests.fixtures.certificates import Certificate, make_certificate
from tests.fixtures.program import Program, running_program
from tests.fixtures.servers import required
from tests.servers.child import eventually
from tests.servers.otelcol import Collector, Exporter, to_grpc, to_http

pytestmark = pytest.mark.servers

Road = Callable[[Program], dict[str, Exporter]]
ROADS: Final[dict[str, Road]] = {
    "grpc gzip": lambda to: to_grpc(f"127.0.0.1:{to.otlp_grpc}", headers={"x-team": "a"}),
    "grpc none": lambda to: to_grpc(f"127.0.0.1:{to.otlp_grpc}", compression="none"),
    "grpc through Envoy": lambda to: to_grpc(f"127.0.0.1:{to.rest}"),
    "http gzip": lambda to: to_http(f"http://127.0.0.1:{to.otlp_http}", headers={"x-team": "a"}),
    "http none": lambda to: to_http(f"http://127.0.0.1:{to.otlp_http}", compression="none"),
    "http json": lambda to: to_http(f"http://127.0.0.1:{to.otlp_http}", encoding="json"),
    "http through Envoy": lambda to: to_http(to.url),
}
TOKEN: Final = "of-the-tests"  # noqa: S105
PLAIN_GRPC: Final = {"insecure": True}
EXPORTERS: Final = {"grpc": (GrpcSpans, GrpcLogs, GrpcMetrics), "http": (HttpSpans, HttpLogs, HttpMetrics)}
PATHS: Final = ("traces", "logs", "metrics")


@pytest.fixture(scope="module", autouse=True)
def _collector(request: pytest.FixtureRequest) -> None:
    required(request, Collector.recipe)


@pytest.fixture(scope="module")
def direct(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with running_program(tmp_path_factory.mktemp("direct")) as started:
        yield started


@pytest.fixture(scope="module")
def via(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """What sits behind a Collector."""
    with running_program(tmp_path_factory.mktemp("via")) as started:
        yield started


def exporters(kind: str, base_url: str, **options: Any) -> tuple[Any, Any, Any]:
    """The SDK's exporters of spans, logs and metrics."""
    urls = [base_url if kind == "grpc" else f"{base_url}/v1/{path}" for path in PATHS]
    spans, logs, metrics = (made(endpoint=url, **options) for made, url in zip(EXPORTERS[kind], urls, strict=True))
    return spans, logs, metrics


@contextmanager
def sending_to(service: str, *targets: tuple[Any, Any, Any]) -> Iterator[dict[str, Any]]:
    """An SDK whose every signal goes to each of the targets; all of it has gone at the end."""
    resource = Resource.create({"service.name": service, "deployment.environment.name": "tests"})
    tracers, loggers, reader = (
        TracerProvider(resource=resource),
        LoggerProvider(resource=resource),
        InMemoryMetricReader(),
    )
    meters = MeterProvider(metric_readers=[reader], resource=resource)
    for spans, logs, _ in targets:
        tracers.add_span_processor(BatchSpanProcessor(spans))
        loggers.add_log_record_processor(BatchLogRecordProcessor(logs))
    try:
        yield {
            "tracer": tracers.get_tracer("t", "1"),
            "logger": loggers.get_logger("l"),
            "meter": meters.get_meter("m"),
        }
        collected = reader.get_metrics_data()
        for _, _, metrics in targets:
            metrics.export(collected)
            metrics.shutdown()
    finally:
        for provider in (tracers, loggers, meters):
            provider.shutdown()


def work(to: dict[str, Any]) -> str:
    """An agent at work, in every signal; the trace's id."""
    tracer = to["tracer"]
    with tracer.start_as_current_span("plan", attributes={"gen_ai.agent.id": "planner", "list": ["a", "b"]}) as outer:
        call = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4.1-mini", "gen_ai.usage.input_tokens": 7}
        with tracer.start_as_current_span("chat", attributes=call, links=[Link(outer.get_span_context(), {"why": 1})]):
            to["logger"].emit(body={"said": ["hello", 1, 2.5]}, severity_number=SeverityNumber.WARN, event_name="said")
        with tracer.start_as_current_span("tool") as failed:
            failed.add_event("retry", {"attempt": 2})
            failed.set_status(Status(StatusCode.ERROR, "no answer"))
    to["meter"].create_counter("calls", "1", "Calls").add(3, {"tool": "search"})
    to["meter"].create_histogram("took", "s", "Time").record(0.25, {"tool": "search"})
    to["meter"].create_gauge("load").set(0.5)
    return f"{outer.get_span_context().trace_id:032x}"


@pytest.mark.parametrize("road", ROADS)
def test_what_comes_through_a_collector_reads_as_what_was_sent_directly(
    direct: Program, via: Program, road: str, tmp_path: Path
) -> None:
    kind = road.partition(" ")[0]
    straight = f"http://127.0.0.1:{direct.otlp_grpc if kind == 'grpc' else direct.otlp_http}"
    with Collector(tmp_path, ROADS[road](via)) as collector:
        through = f"http://{collector.grpc}" if kind == "grpc" else collector.http
        options = PLAIN_GRPC if kind == "grpc" else {}
        targets = (exporters(kind, straight, **options), exporters(kind, through, **options))
        with sending_to(road, *targets) as to:
            trace_id = work(to)
        expected, found = trace_at(direct, trace_id, 3), trace_at(via, trace_id, 3)
    assert [span.name for span in expected.spans] == ["plan", "chat", "tool"]
    assert (list(expected.agents), expected.usage.input_tokens, expected.error_count) == (["planner"], 7, 1)
    assert MessageToDict(found) == MessageToDict(expected)


@pytest.mark.parametrize("kind", ["grpc", "http"])
def test_agents_reach_a_collector_that_wants_tls_and_a_token(
    via: Program, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The SDK's HTTP client prefers these to the file that it is given.
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    certificate = make_certificate(tmp_path)
    with Collector(tmp_path, ROADS[f"{kind} gzip"](via), tls=certificate, token=TOKEN) as collector:
        with sending_to(f"secure {kind}", secure(collector, kind, certificate, TOKEN)) as to:
            trace_id = work(to)
        assert list(trace_at(via, trace_id, 3).services) == [f"secure {kind}"]


def secure(collector: Collector, kind: str, trusted: Certificate, token: str) -> tuple[Any, Any, Any]:
    headers = {"authorization": f"Bearer {token}"}
    if kind == "http":
        return exporters(kind, collector.http, certificate_file=str(trusted.ca), headers=headers)
    credentials = grpc.ssl_channel_credentials(trusted.ca.read_bytes())
    return exporters(kind, f"https://{collector.grpc}", credentials=credentials, headers=headers)


def test_a_collector_keeps_what_it_has_while_the_server_is_away(tmp_path: Path) -> None:
    soon = {"enabled": True, "initial_interval": "100ms", "max_interval": "500ms"}
    with running_program(tmp_path / "program") as program:
        target = to_grpc(f"127.0.0.1:{program.otlp_grpc}", retry_on_failure=soon)
        with Collector(tmp_path / "collector", target) as collector:
            program.kill()
            with sending_to("away", exporters("grpc", f"http://{collector.grpc}", insecure=True)) as to:
                trace_id = work(to)
            eventually(lambda: "Exporting failed. Will retry" in collector.log, 90)
            program.start()
            assert trace_at(program, trace_id, 3).span_count == 3


def test_a_collector_tells_of_spans_that_the_server_refused(via: Program, tmp_path: Path) -> None:
    trace_id = uuid.uuid4().bytes
    good, old = otlp_span(trace_id, 1, 0), otlp_span(trace_id, 2, 1, start_ns=1)
    with Collector(tmp_path, to_grpc(f"127.0.0.1:{via.otlp_grpc}")) as collector:
        with grpc.insecure_channel(collector.grpc) as channel:
            TraceServiceStub(channel).Export(spans_request(good, old), timeout=CALL_SECONDS)  # type: ignore[no-untyped-call]
        eventually(lambda: "Partial success response" in collector.log, 90)
    assert '"dropped_spans": 1' in collector.log
    assert trace_at(via, trace_id.hex(), 1).span_count == 1


def test_every_row_of_every_signal_is_the_same_by_both_ways(direct: Program, via: Program) -> None:
    """Last: it stops the programs."""
    named = ", ".join(f"'{road}'" for road in ROADS)
    # What stays serialised in the store is in the order of its sender.
    serialised = {"spans": ("events", "links"), "logs": ("body",), "metric_points": ("exemplars",)}
    statements = [
        f"SELECT * EXCEPT (received_at, {', '.join(left_out)}), {', '.join(f'length({name})' for name in left_out)} "
        f"FROM {table} WHERE service IN ({named}) ORDER BY ALL"
        for table, left_out in serialised.items()
    ]
    assert (direct.stop(), via.stop()) == (0, 0)
    expected, found = (stored(program.folder / "data", *statements) for program in (direct, via))
    assert [len(rows) for rows in expected] == [3 * len(ROADS), len(ROADS), 3 * len(ROADS)]
    for wanted, rows in zip(expected, found, strict=True):
        assert rows == wanted
