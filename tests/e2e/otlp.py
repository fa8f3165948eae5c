"""Small OTLP requests and one quick way to send them."""

import time
from collections.abc import Mapping
from typing import Any, Final

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace_service
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.e2e.talk import CALL_SECONDS, SECOND_NS
from tests.fixtures.program import Program

MS_NS: Final = 1_000_000
_FIELDS: Final = {
    bool: "bool_value",
    int: "int_value",
    float: "double_value",
    str: "string_value",
    bytes: "bytes_value",
}

Scalar = bool | int | float | str | bytes


def span_id(number: int) -> bytes:
    """The eight bytes of a span's number; 0 is no id."""
    return number.to_bytes(8, "big") if number else b""


def attribute(key: str, value: Scalar) -> KeyValue:
    made = AnyValue()
    setattr(made, _FIELDS[type(value)], value)
    return KeyValue(key=key, value=made)


def otlp_span(
    trace_id: bytes, number: int, parent: int, attributes: Mapping[str, Any] | None = None, start_ns: int = 0
) -> Span:
    """A finished span of 1 ms, a minute ago unless told otherwise; later numbers start later."""
    start_ns = start_ns or time.time_ns() - 60 * SECOND_NS + number * MS_NS // 1000
    return Span(
        trace_id=trace_id,
        span_id=span_id(number),
        parent_span_id=span_id(parent),
        name=f"span {number}",
        start_time_unix_nano=start_ns,
        end_time_unix_nano=start_ns + MS_NS,
        attributes=[attribute(key, value) for key, value in (attributes or {}).items()],
    )


def spans_request(*spans: Span, service: str = "tests") -> trace_service.ExportTraceServiceRequest:
    """The spans of one service in one request."""
    request = trace_service.ExportTraceServiceRequest()
    block = request.resource_spans.add()
    block.resource.attributes.append(attribute("service.name", service))
    block.scope_spans.add().spans.extend(spans)
    return request


def send(
    program: Program, request: trace_service.ExportTraceServiceRequest
) -> trace_service.ExportTraceServiceResponse:
    """Export by OTLP gRPC."""
    with grpc.insecure_channel(f"127.0.0.1:{program.otlp_grpc}") as channel:
        answer: trace_service.ExportTraceServiceResponse = TraceServiceStub(channel).Export(  # type: ignore[no-untyped-call]
            request, timeout=CALL_SECONDS
        )
        return answer
