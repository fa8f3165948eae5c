"""OTLP spans as Jaeger's Thrift batches.

The names of tags are those of OpenTelemetry's mapping to Jaeger (OpenTelemetry specification, "OpenTelemetry to Jaeger
Transformation"), so that Jaeger makes the same spans of them as of OTLP. Jaeger counts in microseconds.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib.resources import as_file, files
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, Status

from agent_tracer.server.limits import EXPORT_THRIFT_SPANS_MAX

_SERVICE: Final = "service.name"
_UNKNOWN_SERVICE: Final = "unknown_service"
_KINDS: Final = {
    Span.SPAN_KIND_INTERNAL: "internal", Span.SPAN_KIND_SERVER: "server", Span.SPAN_KIND_CLIENT: "client",
    Span.SPAN_KIND_PRODUCER: "producer", Span.SPAN_KIND_CONSUMER: "consumer",
}  # fmt: skip
_SIGNED_BITS: Final = 64
_SAMPLED: Final = 1


@cache
def _idl() -> Any:  # noqa: ANN401 - a module that thriftpy2 makes
    import thriftpy2  # noqa: PLC0415 - start-up time

    with as_file(files(__package__).joinpath("jaeger.thrift")) as path:
        return thriftpy2.load(str(path), module_name="jaeger_thrift")


def by_resource(request: ExportTraceServiceRequest) -> Iterator[bytes]:
    """Requests of one resource and at most EXPORT_THRIFT_SPANS_MAX spans each: what one batch can hold."""
    merged: dict[bytes, list[ResourceSpans]] = {}
    for group in request.resource_spans:
        merged.setdefault(group.resource.SerializeToString(deterministic=True), []).append(group)
    for groups in merged.values():
        for spans in _bounded(groups):
            yield spans.SerializeToString()


def _bounded(groups: Sequence[ResourceSpans]) -> Iterator[ExportTraceServiceRequest]:
    made, held = ExportTraceServiceRequest(), 0
    for group in groups:
        for scope in group.scope_spans:
            for first in range(0, len(scope.spans), EXPORT_THRIFT_SPANS_MAX):
                some = scope.spans[first : first + EXPORT_THRIFT_SPANS_MAX]
                if held and held + len(some) > EXPORT_THRIFT_SPANS_MAX:
                    yield made
                    made, held = ExportTraceServiceRequest(), 0
                if not made.resource_spans:
                    made.resource_spans.add(resource=group.resource, schema_url=group.schema_url)
                part = made.resource_spans[0].scope_spans.add(scope=scope.scope, schema_url=scope.schema_url)
                part.spans.extend(some)
                held += len(some)
    if held:
        yield made


def thrift_batch(request: ExportTraceServiceRequest) -> bytes:
    """The spans of a request of one resource, in Thrift's binary protocol."""
    from thriftpy2.protocol.cybin import TCyBinaryProtocol  # type: ignore[attr-defined]  # noqa: PLC0415 - start-up time
    from thriftpy2.transport import TCyMemoryBuffer  # noqa: PLC0415

    idl = _idl()
    spans = [
        _span(idl, span, scope.scope)
        for group in request.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]
    resource = request.resource_spans[0].resource if request.resource_spans else Resource()
    batch = idl.Batch(process=_process(idl, resource), spans=spans)
    buffer = TCyMemoryBuffer()
    TCyBinaryProtocol(buffer).write_struct(batch)
    return bytes(buffer.getvalue())


def _process(idl: Any, resource: Resource) -> Any:  # noqa: ANN401
    name = next((pair.value.string_value for pair in resource.attributes if pair.key == _SERVICE), "")
    rest = (pair for pair in resource.attributes if pair.key != _SERVICE)
    return idl.Process(serviceName=name or _UNKNOWN_SERVICE, tags=_tags(idl, rest))


def _span(idl: Any, span: Span, scope: InstrumentationScope) -> Any:  # noqa: ANN401
    high, low = _trace_id(span.trace_id)
    start_us = span.start_time_unix_nano // 1000
    return idl.Span(
        traceIdLow=low,
        traceIdHigh=high,
        spanId=_signed(span.span_id),
        parentSpanId=_signed(span.parent_span_id),
        operationName=span.name,
        references=[_reference(idl, link) for link in span.links],
        flags=span.flags & 0xFF or _SAMPLED,
        startTime=start_us,
        duration=max(0, span.end_time_unix_nano // 1000 - start_us),
        tags=[*_tags(idl, span.attributes), *_own_tags(idl, span, scope)],
        logs=[_log(idl, event) for event in span.events],
    )


def _reference(idl: Any, link: Span.Link) -> Any:  # noqa: ANN401
    high, low = _trace_id(link.trace_id)
    kind = idl.SpanRefType.FOLLOWS_FROM
    return idl.SpanRef(refType=kind, traceIdLow=low, traceIdHigh=high, spanId=_signed(link.span_id))


def _log(idl: Any, event: Span.Event) -> Any:  # noqa: ANN401
    name = [_text(idl, "event", event.name)] if event.name else []
    return idl.Log(timestamp=event.time_unix_nano // 1000, fields=[*name, *_tags(idl, event.attributes)])


def _own_tags(idl: Any, span: Span, scope: InstrumentationScope) -> Iterator[Any]:  # noqa: ANN401
    """What OTLP has fields for and Jaeger has not."""
    if span.kind in _KINDS:
        yield _text(idl, "span.kind", _KINDS[span.kind])
    if span.status.code == Status.STATUS_CODE_ERROR:
        yield idl.Tag(key="error", vType=idl.TagType.BOOL, vBool=True)
    if span.status.code:
        yield _text(idl, "otel.status_code", "ERROR" if span.status.code == Status.STATUS_CODE_ERROR else "OK")
    given = {
        "otel.status_description": span.status.message,
        "otel.scope.name": scope.name,
        "otel.scope.version": scope.version,
        "w3c.tracestate": span.trace_state,
    }
    yield from (_text(idl, key, text) for key, text in given.items() if text)


def _tags(idl: Any, attributes: Iterable[KeyValue]) -> list[Any]:  # noqa: ANN401
    return [_tag(idl, pair.key, pair.value) for pair in attributes]


_TAGS: Final = {
    "int_value": ("LONG", "vLong"),
    "double_value": ("DOUBLE", "vDouble"),
    "bool_value": ("BOOL", "vBool"),
    "bytes_value": ("BINARY", "vBinary"),
    "string_value": ("STRING", "vStr"),
}


def _tag(idl: Any, key: str, value: AnyValue) -> Any:  # noqa: ANN401
    kind = value.WhichOneof("value")
    if kind in _TAGS:
        type_, field = _TAGS[kind]
        return idl.Tag(key=key, vType=getattr(idl.TagType, type_), **{field: getattr(value, kind)})
    return _text(idl, key, json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":")) if kind else "")


def _text(idl: Any, key: str, text: str) -> Any:  # noqa: ANN401
    return idl.Tag(key=key, vType=idl.TagType.STRING, vStr=text)


def _plain(value: AnyValue) -> object:
    """Arrays and maps as JSON, the only way in which Jaeger holds them."""
    match value.WhichOneof("value"):
        case "array_value":
            return [_plain(inner) for inner in value.array_value.values]
        case "kvlist_value":
            return {pair.key: _plain(pair.value) for pair in value.kvlist_value.values}
        case "bytes_value":
            return value.bytes_value.hex()
        case kind:
            return getattr(value, kind) if kind else None


def _trace_id(trace_id: bytes) -> tuple[int, int]:
    """High and low half, signed."""
    return _signed(trace_id[:8]), _signed(trace_id[8:])


def _signed(id_: bytes) -> int:
    """A big-endian id as the signed number of the same bits; 0 where there is none."""
    return int.from_bytes(id_, "big", signed=len(id_) * 8 == _SIGNED_BITS)
