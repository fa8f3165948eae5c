"""As much of the protobuf wire format as reading message by message needs (protobuf.dev, "Encoding")."""

from collections.abc import Iterator
from typing import BinaryIO, Final

from agent_tracer.server import limits
from agent_tracer.server.domain.signals import Signal

VARINT: Final = 0
FIXED_64: Final = 1
LENGTH_DELIMITED: Final = 2
FIXED_32: Final = 5

_VARINT_BYTES_MAX: Final = 10
_FIXED_BYTES: Final = {FIXED_64: 8, FIXED_32: 4}

# Span fields whose number means another wire type, or nothing, in a log record and in a metric:
# kind, start_time_unix_nano, end_time_unix_nano, flags.
_ONLY_SPAN: Final = frozenset(((6, VARINT), (7, FIXED_64), (8, FIXED_64), (16, FIXED_32)))
# Metric.name; the first field of a log record is its time.
_METRIC_NAME: Final = (1, LENGTH_DELIMITED)


class WireError(ValueError):
    """The bytes are not protobuf, or stop in the middle of a message."""


def varint(data: bytes, at: int) -> tuple[int, int]:
    """The varint at `at` and the place after it. Raises WireError if it does not end or is too long."""
    value = 0
    for shift in range(_VARINT_BYTES_MAX):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:  # noqa: PLR2004 - the top bit says that another follows
            return value, at
    raise WireError("a length is cut off or too long")


def fields(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(number, wire type, payload) of each field of a message; the payload only of length-delimited ones."""
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        number, wire_type = tag >> 3, tag & 7
        payload = b""
        if wire_type == VARINT:
            _, at = varint(data, at)
        elif wire_type == LENGTH_DELIMITED:
            size, at = varint(data, at)
            payload = data[at : at + size]
            at += size
        elif wire_type in _FIXED_BYTES:
            at += _FIXED_BYTES[wire_type]
        else:
            raise WireError("a field has an unknown wire type")
        if at > len(data):
            raise WireError("a field is cut off")
        yield number, wire_type, payload


def signal_of_resource(block: bytes) -> Signal | None:
    """What a ResourceSpans, ResourceLogs or ResourceMetrics is; None if it holds nothing.

    The three have the same shape down to the span, log record or metric, which differ in the wire types of
    their fields.
    """
    for scope_block in _inner(block, 2):
        for item in _inner(scope_block, 2):
            present = {(number, wire_type) for number, wire_type, _ in fields(item)}
            if present & _ONLY_SPAN:
                return Signal.TRACES
            return Signal.METRICS if _METRIC_NAME in present else Signal.LOGS
    return None


def signal_of_request(request: bytes) -> Signal | None:
    """What an export request is; None if it holds nothing."""
    found = (signal_of_resource(block) for block in _inner(request, 1))
    return next((signal for signal in found if signal is not None), None)


def _inner(data: bytes, wanted: int) -> Iterator[bytes]:
    return (
        payload for number, wire_type, payload in fields(data) if number == wanted and wire_type == LENGTH_DELIMITED
    )


def length_prefix(size: int) -> bytes:
    """The varint of a length."""
    prefix = bytearray()
    while size >= 0x80:  # noqa: PLR2004 - seven bits a byte, the top bit says that another follows
        prefix.append(size & 0x7F | 0x80)
        size >>= 7
    prefix.append(size)
    return bytes(prefix)


def delimited(stream: BinaryIO, *, tag: int | None = None) -> Iterator[bytes]:
    """The payloads of a stream of varint lengths, each before that many bytes, and each after `tag` if given.

    Raises WireError where the stream is cut off, has another tag, or a payload passes IMPORT_ITEM_BYTES_MAX.
    """
    while first := stream.read(1):
        if tag is None:
            yield _read_exactly(stream, _read_varint(stream, first))
        elif first[0] == tag:
            yield _read_exactly(stream, _read_varint(stream, b""))
        else:
            raise WireError("the next field is not a resource")


def framed(stream: BinaryIO) -> Iterator[bytes]:
    """The payloads of a stream of 4-byte big-endian lengths, each before its payload. Raises WireError."""
    while length := stream.read(4):
        yield _read_exactly(stream, int.from_bytes(length.ljust(4, b"\0"), "big"))


def _read_varint(stream: BinaryIO, data: bytes) -> int:
    while data[-1:] >= b"\x80" or not data:
        byte = stream.read(1)
        if not byte or len(data) == _VARINT_BYTES_MAX:
            break
        data += byte
    return varint(data, 0)[0]


def _read_exactly(stream: BinaryIO, size: int) -> bytes:
    if size > limits.IMPORT_ITEM_BYTES_MAX:
        raise WireError(f"a message is larger than {limits.IMPORT_ITEM_BYTES_MAX} bytes, or damaged")
    payload = stream.read(size)
    if len(payload) != size:
        raise WireError("the file stops in the middle of a message")
    return payload
