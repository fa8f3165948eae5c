"""Users and passwords in addresses: sent over gRPC as over HTTP, and shown by nobody."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from agent_tracer.client.telemetry import OTLPExporter, PhoenixTracer
from tests.fixtures.raw_http import raw_http

BASIC = "Basic bWU6aHVzaA=="


class Receiver(trace_service_pb2_grpc.TraceServiceServicer):
    """Takes spans, and keeps who sent them."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def Export(self, request: object, context: grpc.ServicerContext) -> trace_service_pb2.ExportTraceServiceResponse:  # noqa: N802 - as the protocol names it
        self.said += [str(value) for key, value in context.invocation_metadata() if key == "authorization"]
        return trace_service_pb2.ExportTraceServiceResponse()


@pytest.fixture
def receiver() -> Iterator[tuple[Receiver, int]]:
    servicer, server = Receiver(), grpc.server(ThreadPoolExecutor(1))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer, port
    server.stop(None).wait()


def test_grpc_takes_the_user_of_an_address_as_http_does(receiver: tuple[Receiver, int]) -> None:
    servicer, port = receiver
    with OTLPExporter(f"grpc://me:hush@127.0.0.1:{port}", "s") as exporter, exporter.start_span("one"):
        pass
    with raw_http() as server:
        with OTLPExporter(f"http://me:hush@127.0.0.1:{server.port}", "s") as other, other.start_span("one"):
            pass
    assert (exporter.dropped_spans, other.dropped_spans) == (0, 0)
    assert servicer.said == [BASIC]
    assert f"authorization: {BASIC}" in server.heads[0].replace("Authorization", "authorization")


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_password_is_neither_shown_nor_logged(scheme: str, caplog: pytest.LogCaptureFixture) -> None:
    with OTLPExporter(f"{scheme}://me:hush@127.0.0.1:1", "s") as exporter, exporter.start_span("lost"):
        pass
    tracer = PhoenixTracer("http://me:hush@127.0.0.1:1", "s")
    tracer.shutdown()
    assert (exporter.endpoint, tracer.endpoint) == ("http://***@127.0.0.1:1", "http://***@127.0.0.1:1")
    assert "***@127.0.0.1" in caplog.text
    assert "hush" not in caplog.text
