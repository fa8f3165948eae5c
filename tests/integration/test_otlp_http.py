"""OTLP over a real HTTP listener: encodings, limits, errors as the OTLP specification has them."""

import asyncio
import gzip
import signal as signals
import socket
import zlib
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from typing import TypeVar

import httpx
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from prometheus_client import CollectorRegistry
from starlette.requests import Request

from agent_tracer.server.api import http_body, http_server
from agent_tracer.server.api.http import combined_app, otlp_app, serve
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.otlp_json import Request as OtlpRequest
from agent_tracer.server.domain.otlp_json import format_request
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.limits import HTTP_HEADER_BYTES_MAX, HTTP_INLINE_BYTES_MAX, MESSAGE_BYTES_MAX
from agent_tracer.server.ports.journal import JournalClosedError, JournalFullError
from agent_tracer.server.services.health import Readiness
from tests.fixtures.ingesting import ingest_into
from tests.fixtures.memory_journal import MemoryJournal
from tests.fixtures.otlp_requests import (
    NOW_NS,
    SECOND_NS,
    gauge,
    log_record,
    logs_request,
    metrics_request,
    number_point,
    span,
    spans_of,
    trace_request,
)

PROTOBUF = {"content-type": "application/x-protobuf"}
JSON = {"content-type": "application/json"}
PAYLOAD = trace_request(span()).SerializeToString()
SOON_SECONDS = 30
"""Far below what the server waits for where a test does not shorten it, far above what a busy machine needs."""
HEADER_SECONDS = 0.5
"""As short as a good request's headers may take here."""

Found = TypeVar("Found")


async def soon(work: Awaitable[Found]) -> Found:
    async with asyncio.timeout(SOON_SECONDS):
        return await work


@dataclass
class Running:
    journal: MemoryJournal
    readiness: Readiness
    port: int
    client: httpx.AsyncClient
    stop: asyncio.Event
    serving: asyncio.Task[None]

    async def post(
        self, path: str = "/v1/traces", content: bytes | AsyncIterator[bytes] = PAYLOAD, **headers: str
    ) -> httpx.Response:
        all_headers = PROTOBUF | {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.post(path, content=content, headers=all_headers)


def tenant_of(request: Request) -> TenantId:
    return TenantId(request.headers.get("x-tenant", "default"))


@pytest.fixture
async def running(request: pytest.FixtureRequest) -> AsyncIterator[Running]:
    journal, readiness, registry = MemoryJournal(), Readiness(), CollectorRegistry()
    ingest = ingest_into(journal, registry)
    if getattr(request, "param", "otlp") == "otlp":
        app = otlp_app(ingest, tenant_of=tenant_of)
    else:
        app = combined_app(ingest, registry, readiness, tenant_of=tenant_of)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(app, [listener], stop=stop))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=SOON_SECONDS) as client:
        yield Running(journal, readiness, port, client, stop, serving)
    stop.set()
    await asyncio.wait([serving], timeout=SOON_SECONDS)
    assert serving.done()


in_both_apps = pytest.mark.parametrize("running", ["otlp", "combined"], indirect=True)


def status(response: httpx.Response) -> status_pb2.Status:
    assert response.headers["content-type"] == "application/x-protobuf"
    return status_pb2.Status.FromString(response.content)


@in_both_apps
@pytest.mark.parametrize(
    ("path", "signal", "request_"),
    [
        ("/v1/traces", Signal.TRACES, trace_request(span())),
        ("/v1/logs", Signal.LOGS, logs_request(log_record())),
        ("/v1/metrics", Signal.METRICS, metrics_request(gauge(number_point()))),
    ],
)
async def test_each_signal_is_taken_in_protobuf_and_json(
    running: Running, path: str, signal: Signal, request_: OtlpRequest
) -> None:
    payload = request_.SerializeToString()
    answer = await running.post(path, payload)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == "application/x-protobuf"
    answer = await running.client.post(
        path, content=format_request(request_), headers={"content-type": "Application/JSON; charset=utf-8"}
    )
    assert (answer.status_code, answer.json()) == (200, {})
    assert answer.headers["content-type"] == "application/json"
    assert [(r.signal, r.payload) for r in running.journal.records] == [(signal, payload)] * 2


async def test_the_tenant_comes_from_the_request(running: Running) -> None:
    await running.post(x_tenant="team-a")
    assert running.journal.records[0].tenant == TenantId("team-a")


async def test_partial_success_is_200_in_the_encoding_of_the_request(running: Running) -> None:
    request = trace_request(span(1), span(0))
    answer = await running.post(content=request.SerializeToString())
    assert answer.status_code == 200
    partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
    assert (partial.rejected_spans, "span_id" in partial.error_message) == (1, True)
    answer = await running.client.post("/v1/traces", content=format_request(request), headers=JSON)
    assert answer.json()["partialSuccess"]["rejectedSpans"] == "1"


@pytest.mark.parametrize("members", [1, 3])
async def test_gzip_bodies_are_taken_whole_even_in_members(running: Running, members: int) -> None:
    payload = trace_request(*(span(n) for n in range(1, 300))).SerializeToString()
    step = len(payload) // members + 1
    body = b"".join(gzip.compress(payload[at : at + step]) for at in range(0, len(payload), step))
    answer = await running.post(content=body, content_encoding="gzip")
    assert answer.status_code == 200
    assert running.journal.records[0].payload == payload


async def test_a_large_json_body_is_taken(running: Running) -> None:
    request = trace_request(*(span(n) for n in range(1, 1000)))
    body = format_request(request)
    assert len(body) > HTTP_INLINE_BYTES_MAX
    answer = await running.client.post("/v1/traces", content=body, headers=JSON)
    assert answer.status_code == 200
    assert running.journal.records[0].payload == request.SerializeToString()


async def test_an_empty_body_is_an_empty_request(running: Running) -> None:
    assert (await running.post(content=b"")).status_code == 200
    assert (await running.post(content=b"", content_encoding="gzip")).status_code == 200
    assert running.journal.records == []


async def test_a_gzip_bomb_is_413_and_costs_no_memory_past_the_limit(running: Running) -> None:
    squeeze = zlib.compressobj(9, wbits=31)
    bomb = squeeze.compress(bytes(MESSAGE_BYTES_MAX)) + squeeze.compress(bytes(MESSAGE_BYTES_MAX)) + squeeze.flush()
    assert len(bomb) < 40_000
    assert len(http_body.DECODERS["gzip"]().feed(bomb, 1000)) == 1001, "one byte past the room tells that it was passed"
    answer = await running.post(content=bomb, content_encoding="gzip")
    assert answer.status_code == 413
    assert str(MESSAGE_BYTES_MAX) in status(answer).message
    assert (await running.post()).status_code == 200


async def chunks(total: int) -> AsyncIterator[bytes]:
    for _ in range(total // 65_536 + 1):
        yield bytes(65_536)


async def test_a_body_over_the_limit_is_413_with_and_without_a_length(running: Running) -> None:
    assert (await running.post(content=bytes(MESSAGE_BYTES_MAX + 1))).status_code == 413
    assert (await running.post(content=chunks(MESSAGE_BYTES_MAX))).status_code == 413
    assert (await running.post()).status_code == 200


@pytest.mark.parametrize(
    "body", [b"no gzip", gzip.compress(PAYLOAD)[:-5], gzip.compress(PAYLOAD) + b"tail", b"\x1f\x8b"]
)
async def test_damaged_gzip_is_400(running: Running, body: bytes) -> None:
    answer = await running.post(content=body, content_encoding="gzip")
    assert (answer.status_code, "gzip" in status(answer).message) == (400, True)


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip"])
async def test_an_unknown_encoding_is_415_and_names_the_known_ones(running: Running, encoding: str) -> None:
    answer = await running.post(content_encoding=encoding)
    assert (answer.status_code, "identity or gzip" in status(answer).message) == (415, True)


@pytest.mark.parametrize("media_type", ["text/plain", "", "application/grpc"])
async def test_an_unknown_content_type_is_415_and_names_the_known_ones(running: Running, media_type: str) -> None:
    answer = await running.client.post("/v1/traces", content=PAYLOAD, headers={"content-type": media_type})
    assert answer.status_code == 415
    assert "application/x-protobuf or application/json" in answer.json()["message"]


async def test_what_cannot_be_decoded_is_400_with_a_status_in_the_same_encoding(running: Running) -> None:
    answer = await running.post(content=b"\xff\xff")
    assert (answer.status_code, status(answer).code) == (400, code_pb2.INVALID_ARGUMENT)
    answer = await running.client.post("/v1/traces", content=b'{"resourceSpans": 3}', headers=JSON)
    assert answer.status_code == 400
    body = answer.json()
    assert body["code"] == code_pb2.INVALID_ARGUMENT
    assert body["message"].startswith("resourceSpans ")
    assert any(detail.get("domain") == "agent-tracer" for detail in body["details"])
    assert (await running.post()).status_code == 200


@pytest.mark.parametrize(
    ("refusal", "http_status", "retry_after"),
    [
        (JournalFullError("the text stays here", 2.5), 429, "3"),
        (JournalClosedError("the text stays here"), 503, "1"),
        (RuntimeError("the text stays here"), 500, None),
    ],
)
async def test_refusals_say_when_to_try_again_where_that_helps(
    running: Running, refusal: Exception, http_status: int, retry_after: str | None
) -> None:
    running.journal.refuse_with = refusal
    answer = await running.post()
    assert (answer.status_code, answer.headers.get("retry-after")) == (http_status, retry_after)
    assert "stays here" not in status(answer).message
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in status(answer).details)
    assert info.domain == "agent-tracer"


@in_both_apps
async def test_unknown_paths_and_methods_are_told_in_json(running: Running) -> None:
    answer = await running.client.post("/v1/nothing", content=b"")
    assert (answer.status_code, answer.json()["code"]) == (404, code_pb2.NOT_FOUND)
    answer = await running.client.get("/v1/traces")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("running", ["combined"], indirect=True)
async def test_the_app_behind_envoy_has_operations_and_leaves_cors_to_envoy(running: Running) -> None:
    await running.post()
    assert 'agent_tracer_accepted_total{signal="traces"} 1.0' in (await running.client.get("/metrics")).text
    assert (await running.client.get("/healthz")).status_code == 200
    assert (await running.client.get("/readyz")).status_code == 503
    answer = await running.post(origin="http://localhost:5173")
    assert "access-control-allow-origin" not in answer.headers


async def test_a_body_that_does_not_come_is_408(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as impatient:
        impatient.setattr(http_body, "HTTP_BODY_SECONDS_MAX", 0.1)
        answer = await soon(raw(running.port, b"content-length: 100\r\n\r\n", PAYLOAD[:5]))
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert (await running.post()).status_code == 200


async def raw(port: int, headers: bytes, body: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n")
    writer.write(headers + body)
    answer = await reader.read(1000)
    writer.close()
    return answer


@pytest.mark.parametrize("sent", [b"", b"POST /v1/traces HTTP/1.1\r\nhost:"])
async def test_headers_that_do_not_come_end_the_connection(
    running: Running, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    with monkeypatch.context() as impatient:
        impatient.setattr(http_server, "HTTP_HEADER_SECONDS_MAX", 0.1)
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(sent)
        assert await soon(reader.read()) == b""
        writer.close()
    assert (await running.post()).status_code == 200


async def test_a_slow_request_after_a_good_one_ends_the_connection_too(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "HTTP_HEADER_SECONDS_MAX", HEADER_SECONDS)
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(b"POST /v1/nothing HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 404 ")
    writer.write(b"POST /v1")
    await soon(reader.read())
    assert reader.at_eof()
    writer.close()


async def test_an_answer_may_take_longer_than_headers(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "HTTP_HEADER_SECONDS_MAX", HEADER_SECONDS)
    running.journal.gate.clear()
    answer = asyncio.create_task(running.post())
    await running.journal.asked.wait()
    await asyncio.sleep(HEADER_SECONDS + 0.2)  # what is tested is that time alone ends nothing
    running.journal.gate.set()
    assert (await answer).status_code == 200


async def test_headers_over_the_limit_are_refused(running: Running) -> None:
    headers = b"x-long: " + b"x" * 2 * HTTP_HEADER_BYTES_MAX  # and never an end
    answer = await soon(raw(running.port, headers, b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert (await running.post()).status_code == 200


async def test_a_client_that_leaves_in_the_middle_harms_nobody(running: Running) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{")
    await writer.drain()
    writer.close()
    assert (await running.post()).status_code == 200
    assert len(running.journal.records) == 1


async def test_local_pages_may_send_and_others_may_not(running: Running) -> None:
    def asks(origin: str) -> dict[str, str]:
        return {
            "origin": origin,
            "access-control-request-method": "POST",
            "access-control-request-headers": "content-type,x-api-key",
        }

    allowed = await running.client.options("/v1/traces", headers=asks("http://localhost:5173"))
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == "http://localhost:5173"
    assert "x-api-key" in allowed.headers["access-control-allow-headers"]
    for origin in (
        "https://evil.example",
        "http://localhost.evil.example",
        "http://localhost:80@evil.example",
    ):
        refused = await running.client.options("/v1/traces", headers=asks(origin))
        assert "access-control-allow-origin" not in refused.headers, origin


async def test_the_opentelemetry_sdk_exports_with_no_error(running: Running) -> None:
    exporter = OTLPSpanExporter(endpoint=f"http://127.0.0.1:{running.port}/v1/traces")
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    def work() -> None:
        started = provider.get_tracer("t").start_span("plan", start_time=NOW_NS - SECOND_NS)
        started.end(NOW_NS)
        provider.shutdown()

    await asyncio.to_thread(work)
    (record,) = running.journal.records
    assert [s.name for s in spans_of(record.payload)] == ["plan"]


async def test_stopping_answers_what_is_under_way_and_leaves_signals_alone(running: Running) -> None:
    handler = signals.getsignal(signals.SIGTERM)
    running.journal.gate.clear()
    answer = asyncio.create_task(running.post())
    await running.journal.asked.wait()
    running.stop.set()
    await asyncio.sleep(0.2)  # nothing tells that it would have ended
    assert not running.serving.done()
    running.journal.gate.set()
    assert (await answer).status_code == 200
    await soon(running.serving)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", running.port)
    assert signals.getsignal(signals.SIGTERM) is handler


async def test_cancelling_closes_the_listener(running: Running) -> None:
    assert (await running.post()).status_code == 200
    running.serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running.serving
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", running.port)
