"""Export requests as bytes: decoding with a bound on nesting, and saving what is sound of a damaged one."""

from collections.abc import Iterator
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

from agent_tracer.server.domain.errors import FieldViolation, InvalidFieldsError, TooLargeError
from agent_tracer.server.domain.otlp_json import DEPTH_MAX, REQUEST_TYPES, Request
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.limits import ITEMS_PER_REQUEST_MAX, MESSAGE_DEPTH_MAX, SALVAGED_ITEMS_MAX

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_FIXED_BYTES: Final = {_FIXED64: 8, _FIXED32: 4}
_VARINT_BYTES_MAX: Final = 10

_ITEM_PATH: Final = (1, 2, 2)
"""Field numbers from a request to its items, the same for the three signals: resource, scope, item."""

_GROUP_FIELDS: Final = {
    Signal.TRACES: "resource_spans",
    Signal.LOGS: "resource_logs",
    Signal.METRICS: "resource_metrics",
}


class MalformedRequestError(InvalidFieldsError):
    """The bytes are no export request of the signal. Nothing was kept; sending it again does not help."""

    def __init__(self, signal: Signal) -> None:
        description = (
            f"cannot be decoded: the request is cut off, no protobuf, holds text that is not UTF-8, "
            f"or nests more than {MESSAGE_DEPTH_MAX} messages"
        )
        super().__init__([FieldViolation(_GROUP_FIELDS[signal], description)])


class TooManyItemsError(TooLargeError):
    """One request holds more items than can be checked in one go; the sender's batch size must go down."""

    def __init__(self) -> None:
        super().__init__(
            f"an export request holds at most {ITEMS_PER_REQUEST_MAX} spans, log records or data points, "
            f"and {SALVAGED_ITEMS_MAX} where some cannot be decoded: send smaller batches"
        )


# Protobuf's decoder bounds nesting, at MESSAGE_DEPTH_MAX messages, but lets nobody lower the bound. So a
# request is decoded inside of so many empty messages that arrays nested DEPTH_MAX deep just pass. The
# shallowest attributes, those of a resource, hold their values 4 messages deep; an array adds 2.
_NESTS: Final = MESSAGE_DEPTH_MAX - (4 + 2 * DEPTH_MAX + 1)


def _nest_type() -> type[Message]:
    name = "agent_tracer.internal.Nest"
    file = descriptor_pb2.FileDescriptorProto(
        name="agent_tracer/internal/nest.proto", package="agent_tracer.internal", syntax="proto3"
    )
    nest = file.message_type.add(name="Nest")
    kinds = {"nest": name} | {kind.name: REQUEST_TYPES[kind].DESCRIPTOR.full_name for kind in Signal}
    for number, (field, type_name) in enumerate(kinds.items(), 1):
        nest.field.add(name=field.lower(), number=number, type=11, label=1, type_name=f".{type_name}")
    file.dependency.extend(REQUEST_TYPES[kind].DESCRIPTOR.file.name for kind in Signal)
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


_NEST_TYPE: Final = _nest_type()
_NEST_FIELD: Final = {kind: (number, kind.name.lower()) for number, kind in enumerate(Signal, 2)}


def decode_shallow(signal: Signal, payload: bytes) -> Request | None:
    """The request, or None where it cannot be decoded or might nest arrays and maps more than DEPTH_MAX deep.

    None is a suspicion: maps, which take more messages a level, meet the bound sooner than arrays.
    """
    number, field = _NEST_FIELD[signal]
    heads = [payload, _head(number, len(payload))]
    size = len(payload) + len(heads[1])
    for _ in range(_NESTS - 1):
        heads.append(_head(1, size))
        size += len(heads[-1])
    heads.reverse()
    try:
        nest: Any = _NEST_TYPE.FromString(b"".join(heads))
    except DecodeError:
        return None
    for _ in range(_NESTS - 1):
        nest = nest.nest
    request: Request = getattr(nest, field)
    return request


def decode_sound(signal: Signal, payload: bytes) -> tuple[Request, int]:
    """The request without the items that cannot be decoded, and how many those were.

    What is left out: items, or whole scopes and resources with all of their items where these are damaged
    themselves. Raises MalformedRequestError where the framing is damaged or no item is sound,
    TooManyItemsError.
    """
    request_type = REQUEST_TYPES[signal]
    try:
        return request_type.FromString(payload), 0
    except DecodeError:
        pass
    salvage = _Salvage(request_type)
    try:
        sound = salvage.prune(payload, 0)
        if sound is None or not salvage.kept:
            raise MalformedRequestError(signal)
        return request_type.FromString(sound), salvage.lost
    except (DecodeError, _FramingError):
        raise MalformedRequestError(signal) from None


class _FramingError(Exception):
    """The bytes are not a sequence of protobuf fields."""


class _Salvage:
    """Takes a request apart down to the parts that cannot be decoded, and leaves these out."""

    def __init__(self, request_type: type[Request]) -> None:
        self._request_type = request_type
        self._seen = 0
        self.kept = 0
        self.lost = 0

    def prune(self, data: bytes, level: int) -> bytes | None:
        """The sound fields of the message at this level of _ITEM_PATH; None where it is damaged itself."""
        parts: list[bytes] = []
        for is_child, start, content, end in self._fields(data, level):
            field = data[start:end]
            if self._decodes(field, level):
                parts.append(field)
                self.kept += is_child
            elif not is_child:
                return None
            elif level == len(_ITEM_PATH) - 1:
                self.lost += 1
            elif (inner := self.prune(data[content:end], level + 1)) is not None:
                parts.append(_head(_ITEM_PATH[level], len(inner)) + inner)
            else:
                self.lost += self._count(data[content:end], level + 1)
        return b"".join(parts)

    def _count(self, data: bytes, level: int) -> int:
        children = [data[content:end] for is_child, _, content, end in self._fields(data, level) if is_child]
        if level == len(_ITEM_PATH) - 1:
            return len(children)
        return sum(self._count(child, level + 1) for child in children)

    def _fields(self, data: bytes, level: int) -> Iterator[tuple[bool, int, int, int]]:
        for number, wire_type, start, content, end in _fields(data):
            self._seen += 1
            if self._seen > SALVAGED_ITEMS_MAX:
                raise TooManyItemsError
            yield number == _ITEM_PATH[level] and wire_type == _LENGTH, start, content, end

    def _decodes(self, field: bytes, level: int) -> bool:
        """Decoded where it stands in a request, so that its nesting counts as it will in the whole."""
        for number in reversed(_ITEM_PATH[:level]):
            field = _head(number, len(field)) + field
        try:
            self._request_type.FromString(field)
        except DecodeError:
            return False
        return True


def _head(number: int, length: int) -> bytes:
    """Tag and length of a length-delimited field with a number below 16."""
    head = bytearray((number << 3 | _LENGTH,))
    while length > 0x7F:  # noqa: PLR2004 - seven bits a byte
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head)


def _fields(data: bytes) -> Iterator[tuple[int, int, int, int, int]]:
    """(number, wire type, start, start of the content, end) of each field. Raises _FramingError."""
    start, size = 0, len(data)
    while start < size:
        tag, content = _varint(data, start)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == _LENGTH:
            length, content = _varint(data, content)
            end = content + length
        elif wire_type == _VARINT:
            end = _varint(data, content)[1]
        else:
            end = content + _FIXED_BYTES.get(wire_type, size)
        if end > size or not number:
            raise _FramingError
        yield number, wire_type, start, content, end
        start = end


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(data[at : at + _VARINT_BYTES_MAX]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:  # noqa: PLR2004 - the last byte has its high bit clear
            return value, at + index + 1
    raise _FramingError
