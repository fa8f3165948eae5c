"""The scalar values of OTLP's JSON encoding, both ways: one table by protobuf field type.

OTLP/JSON is proto3's JSON mapping with three exceptions (OTLP specification, "JSON Protobuf Encoding"): trace
and span ids are hex instead of base64, enums are written as numbers, and only lowerCamelCase names count.
Readers are generous where proto3's mapping is: 64-bit integers as text or number, enums by name too.
"""

import base64
import math
import re
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from google.protobuf.descriptor import FieldDescriptor

Read: TypeAlias = Callable[[object, int], object]
"""(JSON value, depth of arrays and maps around it) -> what the field is set to. Raises OtlpJsonError."""

Write: TypeAlias = Callable[..., object]
"""What the field holds -> JSON value."""

ID_BYTES: Final[Mapping[str, int]] = {"trace_id": 16, "span_id": 8, "parent_span_id": 8}

_INTEGER: Final = re.compile(r"-?[0-9]{1,20}", re.ASCII)
_NUMBER: Final = re.compile(r"[-+.0-9eE]+", re.ASCII)
_NOT_FINITE: Final[Mapping[str, float]] = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_URL_SAFE: Final = str.maketrans("-_", "+/")


class OtlpJsonError(ValueError):
    """The input is not an OTLP/JSON request. `path` names the field; the value found is never repeated."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = ""

    def within(self, segment: str) -> None:
        """Lengthen the path at its front, while the error rises out of `segment`."""
        self.path = f"{segment}{'.' if self.path and not self.path.startswith('[') else ''}{self.path}"

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if self.path else self.reason


def _read_text(value: object, _depth: int) -> str:
    if not isinstance(value, str):
        raise OtlpJsonError("expected a string")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise OtlpJsonError("expected Unicode text, found half of a surrogate pair") from None
    return value


def _read_bool(value: object, _depth: int) -> bool:
    if not isinstance(value, bool):
        raise OtlpJsonError("expected true or false")
    return value


def _read_double(value: object, _depth: int) -> float:
    number: float | None = None
    try:
        if isinstance(value, str):
            number = _NOT_FINITE.get(value)
            if number is not None:
                return number
            number = float(value) if _NUMBER.fullmatch(value) else None
        elif isinstance(value, int | float) and not isinstance(value, bool):
            number = float(value)
    except (ValueError, OverflowError):
        number = None
    if number is None or not math.isfinite(number):
        raise OtlpJsonError('expected a number, "NaN", "Infinity" or "-Infinity"')
    return number


def _read_base64(value: object, _depth: int) -> bytes:
    if isinstance(value, str):
        text = value.rstrip("=").translate(_URL_SAFE)
        try:
            return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except ValueError:
            pass
    raise OtlpJsonError("expected base64 text")


def _integer_reader(bits: int, *, signed: bool) -> Read:
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    reason = f"expected {'an' if signed else 'an unsigned'} integer of {bits} bits"

    def read(value: object, _depth: int) -> int:
        if isinstance(value, str):
            number = int(value) if _INTEGER.fullmatch(value) else None
        elif isinstance(value, float):
            number = int(value) if value.is_integer() else None
        else:
            number = value if isinstance(value, int) and not isinstance(value, bool) else None
        if number is None or not low <= number <= high:
            raise OtlpJsonError(reason)
        return number

    return read


def _id_reader(size: int) -> Read:
    def read(value: object, _depth: int) -> bytes:
        if value == "":
            return b""
        if isinstance(value, str) and len(value) == 2 * size:
            try:
                octets = bytes.fromhex(value)
            except ValueError:
                octets = b""
            if len(octets) == size:  # fromhex skips blanks
                return octets
        raise OtlpJsonError(f"expected {2 * size} hex digits")

    return read


def _enum_reader(field: FieldDescriptor) -> Read:
    values = field.enum_type.values_by_name if field.enum_type else {}
    numbers = {name: value.number for name, value in values.items()}
    read_number = _integer_reader(32, signed=True)

    def read(value: object, depth: int) -> object:
        if isinstance(value, str) and value in numbers:
            return numbers[value]
        return read_number(value, depth)

    return read


def _write_double(value: float) -> object:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _write_base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


_F: Final = FieldDescriptor
_SIGNED_64: Final = (_integer_reader(64, signed=True), str)
_UNSIGNED_64: Final = (_integer_reader(64, signed=False), str)
_SIGNED_32: Final = (_integer_reader(32, signed=True), None)
_UNSIGNED_32: Final = (_integer_reader(32, signed=False), None)

_BY_TYPE: Final[Mapping[int, tuple[Read, Write | None]]] = {
    _F.TYPE_STRING: (_read_text, None),
    _F.TYPE_BOOL: (_read_bool, None),
    _F.TYPE_DOUBLE: (_read_double, _write_double),
    _F.TYPE_BYTES: (_read_base64, _write_base64),
    _F.TYPE_INT64: _SIGNED_64,
    _F.TYPE_SINT64: _SIGNED_64,
    _F.TYPE_SFIXED64: _SIGNED_64,
    _F.TYPE_UINT64: _UNSIGNED_64,
    _F.TYPE_FIXED64: _UNSIGNED_64,
    _F.TYPE_INT32: _SIGNED_32,
    _F.TYPE_SINT32: _SIGNED_32,
    _F.TYPE_SFIXED32: _SIGNED_32,
    _F.TYPE_UINT32: _UNSIGNED_32,
    _F.TYPE_FIXED32: _UNSIGNED_32,
}


def scalar(field: FieldDescriptor) -> tuple[Read, Write | None]:
    """How a field that is no message is read and written; None writes the value as it is.

    Raises KeyError for a field type that OTLP does not use.
    """
    if field.type == _F.TYPE_BYTES and field.name in ID_BYTES:
        return _id_reader(ID_BYTES[field.name]), bytes.hex
    if field.type == _F.TYPE_ENUM:
        return _enum_reader(field), None
    return _BY_TYPE[field.type]
