"""Telemetry values out of the store's columns as the protobuf bytes that they came in.

Encoded by hand: building messages of as many small parts in Python takes twice as long, and they would be copied.
Source: protobuf's wire format; AnyValue, KeyValue of opentelemetry-proto's common.proto.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from struct import pack
from typing import Final

from agent_tracer.server.adapters.clickhouse.values import TYPE_MASK, AttributeType, Content, in_place

_UINT64_MAX: Final = 2**64 - 1
_MORE: Final = 0x80
"""A byte with this bit has another one after it."""
_LENGTH_DELIMITED: Final = 2


def varint(number: int) -> bytes:
    """Protobuf's base-128 encoding of an unsigned number."""
    out = bytearray()
    while number >= _MORE:
        out.append(number & (_MORE - 1) | _MORE)
        number >>= 7
    out.append(number)
    return bytes(out)


_SMALL: Final = tuple(map(varint, range(1024)))


def sized(data: bytes) -> bytes:
    """The data after its length."""
    size = len(data)
    return (_SMALL[size] if size < len(_SMALL) else varint(size)) + data


_TO_WIRE: Final[Mapping[int, Callable[[bytes], bytes]]] = {
    AttributeType.NONE: lambda _: b"",
    AttributeType.STRING: lambda text: b"\x0a" + sized(text),
    AttributeType.BOOL: lambda text: b"\x10\x01" if text == b"true" else b"\x10\x00",
    AttributeType.INT: lambda text: b"\x18" + varint(int(text) & _UINT64_MAX),
    AttributeType.DOUBLE: lambda text: b"\x21" + pack("<d", float(text)),
    AttributeType.ARRAY: lambda text: b"\x2a" + sized(text),
    AttributeType.MAP: lambda text: b"\x32" + sized(text),
    AttributeType.BYTES: lambda text: b"\x3a" + sized(text),
}


def wire_value(type_: int, text: bytes) -> bytes:
    """A stored text as the AnyValue that was sent, serialised."""
    return _TO_WIRE[type_ & TYPE_MASK](text)


def wire_attributes(
    field: int,
    keys: Sequence[bytes],
    texts: Sequence[bytes],
    types: Sequence[int],
    content: Content = (b"", b""),
) -> bytes:
    """The attributes as they were sent, as the bytes of a message's field of that number.

    In their order, with keys that stood twice. `content` are the columns `input` and `output` of a span.
    """
    return wire_messages(
        field,
        [
            b"\x0a" + sized(key) + b"\x12" + sized(_TO_WIRE[type_ & TYPE_MASK](in_place(type_, text, content)))
            for key, text, type_ in zip(keys, texts, types, strict=True)
        ],
    )


def wire_messages(field: int, messages: Iterable[bytes]) -> bytes:
    """Serialised messages as the bytes of a repeated field of that number."""
    tag = varint(field << 3 | _LENGTH_DELIMITED)
    return b"".join([tag + sized(message) for message in messages])
