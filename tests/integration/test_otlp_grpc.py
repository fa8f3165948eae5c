"""OTLP over a real grpc.aio server, with the OpenTelemetry SDK's exporter and with hostile clients."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from agent_tracer.server.api.otlp_grpc import otlp_handlers
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.limits import MESSAGE_BYTES_MAX
from agent_tracer.server.ports.journal import JournalClosedError, JournalFullError
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

CALL_SECONDS_MAX = 60
METHODS = {
    Signal.TRACES: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    Signal.LOGS: "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    Signal.METRICS: "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}


@dataclass
class Running:
    journal: MemoryJournal
    server: grpc.aio.Server
    address: str
    channel: grpc.aio.Channel

    async def export(
        self,
        payload: bytes,
        signal: Signal = Signal.TRACES,
        *,
        compression: grpc.Compression | None = None,
        metadata: Sequence[tuple[str, str | bytes]] = (),
    ) -> bytes:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self.channel.unary_unary(METHODS[signal])
        return await call(payload, timeout=CALL_SECONDS_MAX, compression=compression, metadata=metadata)

    async def refusal(self, payload: bytes, signal: Signal = Signal.TRACES) -> grpc.aio.AioRpcError:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await self.export(payload, signal)
        return raised.value


def tenant_of(context: grpc.aio.ServicerContext[bytes, bytes]) -> TenantId:
    metadata = dict(context.invocation_metadata() or ())
    return TenantId(str(metadata.get("x-tenant", "default")))


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    journal = MemoryJournal()
    ingest = ingest_into(journal)
    options = (("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX))
    server = grpc.aio.server(options=options)
    server.add_generic_rpc_handlers(otlp_handlers(ingest, tenant_of))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    async with grpc.aio.insecure_channel(address) as channel:
        yield Running(journal, server, address, channel)
    await server.stop(None)


def details(
    error: grpc.aio.AioRpcError,
) -> tuple[error_details_pb2.ErrorInfo, error_details_pb2.RetryInfo | None]:
    status = rpc_status.from_call(error)
    assert isinstance(status, status_pb2.Status)
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert any(detail.Unpack(info) for detail in status.details)
    return info, retry if any(detail.Unpack(retry) for detail in status.details) else None


@pytest.mark.parametrize(
    ("signal", "request_"),
    [
        (Signal.TRACES, trace_request(span())),
        (Signal.LOGS, logs_request(log_record())),
        (Signal.METRICS, metrics_request(gauge(number_point()))),
    ],
)
async def test_each_service_journals_the_bytes_it_was_sent(running: Running, signal: Signal, request_: Message) -> None:
    payload = request_.SerializeToString()
    assert await running.export(payload, signal) == b""
    assert [(r.signal, r.payload) for r in running.journal.records] == [(signal, payload)]


async def test_gzip_is_undone_before_the_journal(running: Running) -> None:
    payload = trace_request(*(span(n) for n in range(1, 100))).SerializeToString()
    assert await running.export(payload, compression=grpc.Compression.Gzip) == b""
    assert running.journal.records[0].payload == payload


async def test_the_tenant_comes_from_the_call(running: Running) -> None:
    await running.export(trace_request(span()).SerializeToString(), metadata=(("x-tenant", "team-a"),))
    assert running.journal.records[0].tenant == TenantId("team-a")


async def test_partial_success_says_how_many_and_why(running: Running) -> None:
    answer = await running.export(trace_request(span(1), span(0)).SerializeToString())
    partial = ExportTraceServiceResponse.FromString(answer).partial_success
    assert partial.rejected_spans == 1
    assert "span_id" in partial.error_message
    wrong = log_record()
    wrong.time_unix_nano = 1
    answer = await running.export(logs_request(wrong).SerializeToString(), Signal.LOGS)
    assert ExportLogsServiceResponse.FromString(answer).partial_success.rejected_log_records == 1
    point = number_point()
    point.time_unix_nano = 0
    answer = await running.export(metrics_request(gauge(point)).SerializeToString(), Signal.METRICS)
    assert ExportMetricsServiceResponse.FromString(answer).partial_success.rejected_data_points == 1


async def test_what_cannot_be_decoded_is_invalid_and_the_next_request_is_served(running: Running) -> None:
    error = await running.refusal(b"\xff\xff")
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    info, retry = details(error)
    assert (info.domain, info.reason, retry) == ("agent-tracer", "INVALID_FIELD", None)
    assert await running.export(trace_request(span()).SerializeToString()) == b""


async def test_a_full_journal_says_when_to_try_again(running: Running) -> None:
    running.journal.refuse_with = JournalFullError("budget of /var/lib/x used up", 2.5)
    error = await running.refusal(trace_request(span()).SerializeToString())
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "/var/lib" not in (error.details() or "")
    info, retry = details(error)
    assert info.reason == "OVERLOADED"
    assert retry is not None
    assert retry.retry_delay.ToMilliseconds() == 2500


async def test_a_stopping_server_is_unavailable(running: Running) -> None:
    running.journal.refuse_with = JournalClosedError("closing")
    error = await running.refusal(trace_request(span()).SerializeToString())
    assert error.code() == grpc.StatusCode.UNAVAILABLE


async def test_a_fault_is_told_without_its_text(running: Running) -> None:
    running.journal.refuse_with = RuntimeError("secret detail of the disk")
    error = await running.refusal(trace_request(span()).SerializeToString())
    assert error.code() == grpc.StatusCode.INTERNAL
    assert "secret" not in (error.details() or "")


async def test_a_message_over_the_limit_is_refused_by_the_transport(running: Running) -> None:
    error = await running.refusal(bytes(MESSAGE_BYTES_MAX + 1))
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await running.export(trace_request(span()).SerializeToString()) == b""


async def test_a_cancelled_call_leaves_the_server_serving(running: Running) -> None:
    running.journal.gate.clear()
    payload = trace_request(span()).SerializeToString()
    given_up = asyncio.create_task(running.export(payload))
    await running.journal.asked.wait()
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    running.journal.gate.set()
    assert await running.export(payload) == b""
    assert len(running.journal.records) == 2, "what was begun is finished, and stands in the journal once"


async def test_the_opentelemetry_sdk_exports_with_no_error(running: Running) -> None:
    exporter = OTLPSpanExporter(endpoint=running.address, insecure=True)
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    def work() -> None:
        started = provider.get_tracer("t").start_span("plan", start_time=NOW_NS - SECOND_NS)
        started.end(NOW_NS)
        provider.shutdown()

    await asyncio.to_thread(work)
    (record,) = running.journal.records
    assert [s.name for s in spans_of(record.payload)] == ["plan"]
