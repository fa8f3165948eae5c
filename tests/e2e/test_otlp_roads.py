"""Every way that OTLP comes in, by real exporters and by hand, and out again."""

import gzip
import json
import random
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import grpc
import httpx
import pytest
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetrics
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from agent_tracer.server.api.otlp_signals import OTLP_SERVICES
from agent_tracer.server.domain.otlp_json import format_request
from agent_tracer.server.domain.signals import Signal
from agent_tracer.v1 import trace_pb2
from agent_tracer.v1.trace_pb2_grpc import TraceServiceStub
from tests.e2e.otlp import MS_NS, attribute, otlp_span, send, span_id, spans_request
from tests.e2e.stored import stored
from tests.e2e.talk import CALL_SECONDS, all_traces, catch_up, stubs, unique
from tests.fixtures.otlp_requests import gauge, log_record, logs_request, metrics_request, number_point
from tests.fixtures.program import Program, running_program

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"

RAW_ROADS: Final = (
    *((f"grpc {port} {how}", port, "grpc", how) for port in ("otlp_grpc", "grpc", "rest") for how in ("plain", "gzip")),
    *(
        (f"http {port} {kind.rpartition('-')[2].rpartition('/')[2]} {how}", port, kind, how)
        for port in ("otlp_http", "rest")
        for kind in (PROTOBUF, JSON)
        for how in ("plain", "gzip")
    ),
)
SDK_ROADS: Final = (
    *(("grpc", port, how) for port in ("otlp_grpc", "grpc", "rest") for how in ("plain", "gzip")),
    *(("http", port, how) for port in ("otlp_http", "rest") for how in ("plain", "gzip")),
)


@pytest.fixture(scope="module")
def roads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A program of its own: its store is looked into at the end."""
    with running_program(tmp_path_factory.mktemp("roads")) as started:
        yield started


@pytest.fixture
def stub(roads: Program) -> Iterator[TraceServiceStub]:
    with stubs(roads.target) as made:
        yield made


def get(stub: TraceServiceStub, trace_id: bytes) -> trace_pb2.Trace:
    return stub.GetTrace(trace_pb2.GetTraceRequest(trace_id=trace_id.hex()), timeout=CALL_SECONDS)


def deliver(roads: Program, road: tuple[str, str, str, str], signal: Signal, request: Any) -> Any:
    """Export by the road; the answer, which must be a success."""
    _, port_name, kind, how = road
    port, service = getattr(roads, port_name), OTLP_SERVICES[signal]
    if kind == "grpc":
        compression = grpc.Compression.Gzip if how == "gzip" else grpc.Compression.NoCompression
        with grpc.insecure_channel(f"127.0.0.1:{port}", compression=compression) as channel:
            call: Any = channel.unary_unary(
                f"/{service.grpc_name}/Export", response_deserializer=service.response_type.FromString
            )
            return call(request.SerializeToString(), timeout=CALL_SECONDS)
    body = format_request(request) if kind == JSON else request.SerializeToString()
    headers = {"content-type": kind}
    if how == "gzip":
        body, headers["content-encoding"] = gzip.compress(body), "gzip"
    url = f"http://127.0.0.1:{port}{service.http_path}"
    answer = httpx.post(url, content=body, headers=headers, trust_env=False, timeout=CALL_SECONDS)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].partition(";")[0] == kind
    return json.loads(answer.content) if kind == JSON else service.response_type.FromString(answer.content)


def items_of(road: str, signal: Signal) -> Any:
    """A request of one item that names its road."""
    if signal is Signal.TRACES:
        return spans_request(otlp_span(uuid.uuid4().bytes, 1, 0, {"road": road}), service="roads")
    now = otlp_span(bytes(16), 1, 0).start_time_unix_nano
    if signal is Signal.LOGS:
        record = log_record(road)
        record.time_unix_nano = now
        return logs_request(record)
    point = number_point(1.5)
    point.time_unix_nano = now
    point.attributes.append(attribute("road", road))
    return metrics_request(gauge(point))


@pytest.mark.parametrize("road", RAW_ROADS, ids=[road[0] for road in RAW_ROADS])
def test_each_road_takes_every_signal(roads: Program, stub: TraceServiceStub, road: tuple[str, str, str, str]) -> None:
    for signal in Signal:
        answer = deliver(roads, road, signal, items_of(road[0], signal))
        assert answer == {} or not answer.HasField("partial_success")
    catch_up(stub)
    (trace,) = all_traces(stub, service="roads", attributes=[f"road={road[0]}"])
    assert trace.span_count == 1


@contextmanager
def sdk(roads: Program, kind: str, port_name: str, how: str) -> Iterator[dict[str, Any]]:
    """The three providers of the SDK, exporting by the road; flushed at the end."""
    port = getattr(roads, port_name)
    resource = Resource.create({"service.name": "sdk"})
    make: dict[str, Callable[[], Any]]
    if kind == "grpc":
        options = {
            "endpoint": f"http://127.0.0.1:{port}",
            "insecure": True,
            "compression": grpc.Compression.Gzip if how == "gzip" else grpc.Compression.NoCompression,
        }
        make = {
            name: _made(cls, options)
            for name, cls in (("spans", GrpcSpans), ("logs", GrpcLogs), ("metrics", GrpcMetrics))
        }
    else:
        compression = Compression.Gzip if how == "gzip" else Compression.NoCompression
        classes = (("spans", HttpSpans, "traces"), ("logs", HttpLogs, "logs"), ("metrics", HttpMetrics, "metrics"))
        make = {
            name: _made(cls, {"endpoint": f"http://127.0.0.1:{port}/v1/{path}", "compression": compression})
            for name, cls, path in classes
        }
    tracers, loggers = TracerProvider(resource=resource), LoggerProvider(resource=resource)
    tracers.add_span_processor(BatchSpanProcessor(make["spans"]()))
    loggers.add_log_record_processor(BatchLogRecordProcessor(make["logs"]()))
    reader = PeriodicExportingMetricReader(make["metrics"](), export_interval_millis=float("inf"))
    meters = MeterProvider(metric_readers=[reader], resource=resource)
    try:
        yield {"tracer": tracers.get_tracer("t"), "logger": loggers.get_logger("l"), "meter": meters.get_meter("m")}
    finally:
        meters.force_flush()
        for provider in (tracers, loggers, meters):
            provider.shutdown()


def _made(kind: Callable[..., Any], options: Mapping[str, Any]) -> Callable[[], Any]:
    return lambda: kind(**options)


@pytest.mark.parametrize(("kind", "port", "how"), SDK_ROADS, ids=[" ".join(road) for road in SDK_ROADS])
def test_the_sdks_exporters_deliver_by_each_road(
    roads: Program, stub: TraceServiceStub, kind: str, port: str, how: str
) -> None:
    road = f"sdk {kind} {port} {how}"
    with sdk(roads, kind, port, how) as to:
        with to["tracer"].start_as_current_span("outer", attributes={"road": road}) as outer:
            with to["tracer"].start_as_current_span("inner"):
                to["logger"].emit(body=road, severity_number=SeverityNumber.WARN)
            to["meter"].create_counter("calls").add(3, {"road": road})
            to["meter"].create_histogram("took").record(0.25, {"road": road})
    trace = get(stub, outer.get_span_context().trace_id.to_bytes(16))
    assert [(span.name, span.depth) for span in trace.spans] == [("outer", 0), ("inner", 1)]
    assert trace.services == ["sdk"]


@pytest.mark.parametrize("road", [RAW_ROADS[0], RAW_ROADS[6], RAW_ROADS[8]], ids=lambda road: road[0])
def test_a_bad_span_is_told_and_the_others_are_kept(
    roads: Program, stub: TraceServiceStub, road: tuple[str, str, str, str]
) -> None:
    trace_id = uuid.uuid4().bytes
    good, bad, old = otlp_span(trace_id, 1, 0), otlp_span(trace_id, 2, 1), otlp_span(trace_id, 3, 1, start_ns=1)
    bad.span_id = bytes(8)
    answer = deliver(roads, road, Signal.TRACES, spans_request(good, bad, old))
    partial = answer["partialSuccess"] if isinstance(answer, dict) else answer.partial_success
    rejected = int(partial["rejectedSpans"]) if isinstance(answer, dict) else partial.rejected_spans
    told = partial["errorMessage"] if isinstance(answer, dict) else partial.error_message
    assert rejected == 2
    assert "span_id" in told
    assert "2000" in told
    assert [span.span_id for span in get(stub, trace_id).spans] == [good.span_id.hex()]


def agents_trace(trace_id: bytes) -> list[Span]:
    """A root, two agents, and model calls under each; the last one failed."""
    call = {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4.1-mini",
        "gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 10,
    }  # fmt: skip
    begin = otlp_span(trace_id, 1, 0).start_time_unix_nano
    spans = [otlp_span(trace_id, 1, 0, {"task.type": "review"}, begin)]
    for number, agent in ((2, "reader"), (3, "writer")):
        spans.append(otlp_span(trace_id, number, 1, {"gen_ai.agent.id": agent}, begin + number * MS_NS))
    spans += [otlp_span(trace_id, n, 2 + n % 2, call, begin + n * MS_NS) for n in range(4, 10)]
    spans[-1].status.code = Status.STATUS_CODE_ERROR
    return spans


def figures(trace: trace_pb2.Trace) -> dict[str, Any]:
    """Everything that the trace says, by name, without its ids and times."""
    shown = {
        field.name: value for field, value in trace.ListFields() if field.name not in ("trace_id", "otel_trace_id")
    }
    shown["spans"] = [(s.span_id, s.depth, s.agent_id, s.usage.total_tokens, s.status) for s in trace.spans]
    return {k: v for k, v in shown.items() if not k.endswith("_time")}


def test_neither_order_nor_duplicates_change_a_trace(roads: Program, stub: TraceServiceStub) -> None:
    chance = random.Random(11)
    seen = []
    for attempt in range(3):
        trace_id = uuid.uuid4().bytes
        spans = agents_trace(trace_id)
        sent = spans if attempt == 0 else [*spans, *spans, *spans[:4]]
        if attempt:
            chance.shuffle(sent)
        size = 5 if attempt else len(sent)
        for at in range(0, len(sent), size):
            send(roads, spans_request(*sent[at : at + size]))
            if attempt == 2:
                catch_up(stub)
        catch_up(stub)
        seen.append(figures(get(stub, trace_id)))
    assert seen[0]["span_count"] == 9
    assert seen[0]["error_count"] == 1
    assert seen[0]["usage"].input_tokens == 600
    assert seen[1] == seen[0]
    assert seen[2] == seen[0]


@pytest.mark.parametrize("root_comes", ["first", "last"])
def test_late_spans_join_their_trace(roads: Program, stub: TraceServiceStub, root_comes: str) -> None:
    """Each part is a commit of its own, as when seconds lie between them."""
    whole, trace_id = uuid.uuid4().bytes, uuid.uuid4().bytes
    send(roads, spans_request(*agents_trace(whole)))
    spans = agents_trace(trace_id)
    parts = [spans[:1], spans[1:3], spans[3:6], spans[6:]]
    for part in parts if root_comes == "first" else parts[::-1]:
        send(roads, spans_request(*part))
        catch_up(stub)
        trace = get(stub, trace_id)
        begun = root_comes == "first" or part is parts[0]
        assert trace.status == ("success" if begun else "running")
        assert {span.span_id for span in trace.spans} >= {span.span_id.hex() for span in part}
    late, at_once = figures(get(stub, trace_id)), figures(get(stub, whole))
    assert late == at_once
    listed = [trace for trace in all_traces(stub) if trace.trace_id == trace_id.hex()]
    assert [trace.span_count for trace in listed] == [9]


def content(payload: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """Each span with its resource and scope, in an order of its own."""
    request = ExportTraceServiceRequest.FromString(payload)
    return sorted(
        (
            block.resource.SerializeToString(deterministic=True) + block.schema_url.encode(),
            scope.scope.SerializeToString(deterministic=True) + scope.schema_url.encode(),
            span.SerializeToString(deterministic=True),
        )
        for block in request.resource_spans
        for scope in block.scope_spans
        for span in scope.spans
    )


def rich_request(trace_ids: list[bytes]) -> ExportTraceServiceRequest:
    """Two services, scopes with attributes, events, links, every type of value, keys that stand twice."""
    request = ExportTraceServiceRequest()
    for number, trace_id in enumerate(trace_ids):
        block = request.resource_spans.add(schema_url="https://opentelemetry.io/schemas/1.37.0")
        block.resource.attributes.append(attribute("service.name", f"service {number}"))
        block.resource.dropped_attributes_count = number
        scope = block.scope_spans.add(schema_url="urn:scope")
        scope.scope.name, scope.scope.version = "lib", "1.2.3"
        scope.scope.attributes.append(attribute("scoped", True))
        for n in range(1, 4):
            span = otlp_span(
                trace_id, n, n - 1, {"text": "ä\u0000b", "int": -(2**63), "double": 1e-9, "bytes": b"\x00\xff"}
            )
            span.attributes.append(attribute("twice", 1))
            span.attributes.append(attribute("twice", 2))
            span.attributes.add(key="nothing").value.SetInParent()
            span.attributes.add(key="gen_ai.input.messages").value.array_value.values.add().kvlist_value.values.add(
                key="role"
            ).value.string_value = "user"
            event = span.events.add(name="e", time_unix_nano=span.start_time_unix_nano, dropped_attributes_count=2)
            event.attributes.append(attribute("k", 0.5))
            link = span.links.add(trace_id=trace_ids[0], span_id=span_id(1), trace_state="a=b", flags=1)
            link.attributes.append(attribute("why", "because"))
            span.trace_state, span.flags, span.kind = "vendor=1", 257, Span.SPAN_KIND_CONSUMER
            span.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR, message="no"))
            span.dropped_attributes_count, span.dropped_events_count, span.dropped_links_count = 1, 2, 3
            scope.spans.append(span)
    return request


@pytest.mark.parametrize("file_format", ["json", "protobuf"])
def test_what_is_exported_comes_in_again_the_same(
    roads: Program, stub: TraceServiceStub, tmp_path: Path, file_format: str
) -> None:
    trace_ids = [uuid.uuid4().bytes for _ in range(2)]
    sent = rich_request(trace_ids)
    file, again = tmp_path / "spans", tmp_path / "again"
    assert not send(roads, sent).HasField("partial_success")
    named = [part for trace_id in trace_ids for part in ("--trace-id", trace_id.hex())]
    out = roads.run("traces", "export", *named, "--format", file_format, "--output", str(file))
    assert "6 spans" in out.stderr
    for trace_id in trace_ids:
        stub.DeleteTrace(trace_pb2.DeleteTraceRequest(trace_id=trace_id.hex()))
    assert "6 spans" in roads.run("traces", "import", str(file)).stderr
    roads.run("traces", "export", *named, "--format", file_format, "--output", str(again))
    assert content(merged(stub, trace_ids)) == content(sent.SerializeToString())
    assert sorted(file.read_bytes().splitlines()) == sorted(again.read_bytes().splitlines())


def merged(stub: TraceServiceStub, trace_ids: list[bytes]) -> bytes:
    request = trace_pb2.ExportTracesRequest(trace_ids=[trace_id.hex() for trace_id in trace_ids])
    return b"".join(answer.otlp for answer in stub.ExportTraces(request))


def test_files_come_in_by_standard_input(roads: Program, stub: TraceServiceStub) -> None:
    trace_id = uuid.uuid4().bytes
    body = format_request(spans_request(otlp_span(trace_id, 1, 0)))
    assert "Accepted 1 span" in roads.run("traces", "import", "-", input_=body).stderr
    assert "Accepted 1 span" in roads.run("traces", "import", "-", input_=gzip.compress(body)).stderr
    assert get(stub, trace_id).span_count == 1


def test_a_file_of_all_signals_comes_in(roads: Program, tmp_path: Path) -> None:
    file = tmp_path / "all.jsonl"
    road = unique("file")
    file.write_bytes(b"\n".join(format_request(items_of(road, signal)) for signal in Signal))
    told = roads.run("traces", "import", str(file)).stderr
    for noun in ("1 span", "1 log record", "1 metric"):
        assert noun in told


def test_every_log_and_metric_of_every_road_is_in_the_store(roads: Program) -> None:
    """Last: it stops the program."""
    assert roads.stop() == 0
    logs, points = stored(
        roads.folder / "data",
        "SELECT body, severity_number, count() FROM logs GROUP BY body, severity_number",
        "SELECT attributes['road'], metric, toString(type), count(), sum(ifNull(double_value, 0) + ifNull(int_value, 0)) "
        "FROM metric_points GROUP BY 1, 2, 3",
    )
    sdk_roads = {f"sdk {' '.join(road)}" for road in SDK_ROADS}
    assert {body for body, _, _ in logs} >= {road[0] for road in RAW_ROADS} | sdk_roads
    assert {(severity, count) for body, severity, count in logs if body in sdk_roads} == {(13, 1)}
    assert {(metric, kind, count, total) for road, metric, kind, count, total in points if road in sdk_roads} == {
        ("calls", "sum", 1, 3),
        ("took", "histogram", 1, 0),
    }
    raw = {road: (metric, kind, count, total) for road, metric, kind, count, total in points}
    assert {name: raw.get(name) for name, *_ in RAW_ROADS} == {
        name: ("load", "gauge", 1, 1.5) for name, *_ in RAW_ROADS
    }
