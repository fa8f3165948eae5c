"""OTLP requests and responses in their JSON encoding, to and from protobuf messages.

`google.protobuf.json_format` cannot do it exactly (ids are hex here, and snake_case names are unknown fields)
and needs 200 us a span of ten attributes; this codec, driven by the same descriptors, a third of that.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn, TypeAlias

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces

from agent_tracer.server import limits
from agent_tracer.server.domain.otlp_json_scalars import OtlpJsonError, Read, Write, scalar
from agent_tracer.server.domain.signals import Signal

__all__ = ["REQUEST_TYPES", "OtlpJsonError", "Request", "format_request", "format_response", "parse_request"]

Request: TypeAlias = (
    traces.ExportTraceServiceRequest | logs.ExportLogsServiceRequest | metrics.ExportMetricsServiceRequest
)
Response: TypeAlias = (
    traces.ExportTraceServiceResponse | logs.ExportLogsServiceResponse | metrics.ExportMetricsServiceResponse
)

REQUEST_TYPES: Final[Mapping[Signal, type[Request]]] = {
    Signal.TRACES: traces.ExportTraceServiceRequest,
    Signal.LOGS: logs.ExportLogsServiceRequest,
    Signal.METRICS: metrics.ExportMetricsServiceRequest,
}
_RESPONSE_TYPES: Final = (
    traces.ExportTraceServiceResponse,
    logs.ExportLogsServiceResponse,
    metrics.ExportMetricsServiceResponse,
)

_COLLECTIONS: Final = frozenset(
    ("opentelemetry.proto.common.v1.ArrayValue", "opentelemetry.proto.common.v1.KeyValueList")
)

# An exemplar's attribute value lies 8 messages deep, and each map inside it adds 3 (list, entry, value).
DEPTH_MAX: Final = min(limits.ATTRIBUTE_DEPTH_MAX, (limits.MESSAGE_DEPTH_MAX - 8) // 3)
"""Arrays and maps within one attribute value, so that the message can always be decoded again."""


class _Shape:
    """How one message type is read and written, as tables made from its descriptor."""

    __slots__ = ("depth", "oneofs", "readers", "writers")

    def __init__(self, descriptor: Descriptor) -> None:
        self.depth = int(descriptor.full_name in _COLLECTIONS)
        self.readers: dict[str, tuple[str, Read]] = {}
        self.writers: dict[int, tuple[str, Write | None]] = {}
        # proto3 optional makes a oneof of one member, which cannot conflict
        self.oneofs = [
            frozenset(field.name for field in oneof.fields) for oneof in descriptor.oneofs if len(oneof.fields) > 1
        ]

    def add(self, field: FieldDescriptor, read: Read, write: Write | None) -> None:
        if field.is_repeated:
            read, write = _list_reader(read), _list_writer(write)
        self.readers[field.json_name] = (field.name, read)
        self.writers[field.number] = (field.json_name, write)

    def read(self, value: object, depth: int) -> dict[str, object]:
        """The JSON object as keyword arguments of the message; names it does not know are ignored."""
        if not isinstance(value, dict):
            raise OtlpJsonError("expected an object")
        depth += self.depth
        if depth > DEPTH_MAX:
            raise OtlpJsonError(f"arrays and maps nest more than {DEPTH_MAX} deep")
        readers = self.readers
        result: dict[str, object] = {}
        for key, item in value.items():
            known = readers.get(key)
            if known is None or item is None:
                continue
            try:
                result[known[0]] = known[1](item, depth)
            except OtlpJsonError as error:
                error.within(key)
                raise
        if len(result) > 1 and any(len(oneof & result.keys()) > 1 for oneof in self.oneofs):
            raise OtlpJsonError("expected only one kind of value")
        return result

    def write(self, message: Message) -> dict[str, object]:
        writers = self.writers
        result: dict[str, object] = {}
        for field, value in message.ListFields():
            name, write = writers[field.number]
            result[name] = value if write is None else write(value)
        return result


def _list_reader(read: Read) -> Read:
    def read_list(value: object, depth: int) -> list[object]:
        if not isinstance(value, list):
            raise OtlpJsonError("expected an array")
        result: list[object] = []
        try:
            for item in value:
                result.append(read(item, depth))  # noqa: PERF401 - its length names the item that failed
        except OtlpJsonError as error:
            error.within(f"[{len(result)}]")
            raise
        return result

    return read_list


def _list_writer(write: Write | None) -> Write:
    if write is None:
        return list
    return lambda values: [write(value) for value in values]


def _shape(descriptor: Descriptor, shapes: dict[str, _Shape]) -> _Shape:
    known = shapes.get(descriptor.full_name)
    if known is not None:
        return known
    # entered before its fields are looked at: an AnyValue holds AnyValues
    shape = shapes[descriptor.full_name] = _Shape(descriptor)
    for field in descriptor.fields:
        if field.message_type is not None:
            inner = _shape(field.message_type, shapes)
            shape.add(field, inner.read, inner.write)
        else:
            shape.add(field, *scalar(field))
    return shape


def _shapes() -> Mapping[str, _Shape]:
    shapes: dict[str, _Shape] = {}
    for message_type in (*REQUEST_TYPES.values(), *_RESPONSE_TYPES):
        _shape(message_type.DESCRIPTOR, shapes)
    return shapes


_SHAPES: Final = _shapes()


def _refuse_constant(_name: str) -> NoReturn:
    raise OtlpJsonError('not JSON: NaN and Infinity are written as text, "NaN"')


_decode: Final[Callable[[str], Any]] = json.JSONDecoder(parse_constant=_refuse_constant).decode


def parse_request(signal: Signal, data: bytes) -> Request:
    """The export request that `data` (UTF-8 JSON) holds.

    Unknown fields are ignored, as the OTLP specification demands. Raises OtlpJsonError: the input is no JSON,
    a field has the wrong type or range, or arrays and maps nest deeper than DEPTH_MAX.
    """
    try:
        document = _decode(data.decode("utf-8-sig"))
    except OtlpJsonError:
        raise
    except json.JSONDecodeError as error:
        raise OtlpJsonError(f"not JSON: {error.msg} at character {error.pos}") from None
    except UnicodeDecodeError as error:
        raise OtlpJsonError(f"not UTF-8 at byte {error.start}") from None
    except ValueError:
        raise OtlpJsonError("not JSON: a number has too many digits") from None
    except RecursionError:
        raise OtlpJsonError("not OTLP: arrays and objects nest too deeply") from None
    return parse_document(signal, document)


def parse_document(signal: Signal, document: object) -> Request:
    """Like parse_request, from JSON that is decoded already."""
    request_type: Any = REQUEST_TYPES[signal]
    request: Request = request_type(**_SHAPES[request_type.DESCRIPTOR.full_name].read(document, 0))
    return request


def format_request(request: Request) -> bytes:
    """The request as one line of OTLP/JSON in UTF-8, without a newline."""
    return _format(request)


def format_response(response: Response) -> bytes:
    """An export response (partial success or empty) as OTLP/JSON in UTF-8."""
    return _format(response)


def _format(message: Message) -> bytes:
    document = _SHAPES[message.DESCRIPTOR.full_name].write(message)
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
