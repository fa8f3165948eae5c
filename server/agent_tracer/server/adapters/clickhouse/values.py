"""Telemetry values out of the store's columns: texts beside the numbers of their types."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import IntEnum
from typing import Final, TypeAlias

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList

from agent_tracer.server.adapters.clickhouse.normalise import INPUT_TAKEN, OUTPUT_TAKEN
from agent_tracer.server.domain.telemetry import AttributeValue


def unix_seconds(moment: datetime) -> int:
    """Of a DateTime('UTC'), which the driver gives with a zone or without one, for the machine may have any other."""
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


class AttributeType(IntEnum):
    """How a text in an attribute map is to be read. Values are on disk: never renumber (otlp_format._KIND)."""

    NONE = 0
    STRING = 1
    BOOL = 2
    INT = 3
    DOUBLE = 4
    ARRAY = 5
    MAP = 6
    BYTES = 7


Content: TypeAlias = tuple[bytes, bytes]
"""The columns `input` and `output` of a span."""

TYPE_MASK: Final = 15
"""The bits of a type's number; those above say where its text stands (normalise.INPUT_TAKEN)."""

_TO_PYTHON: Final[Mapping[int, Callable[[bytes], AttributeValue]]] = {
    AttributeType.NONE: lambda _: None,
    AttributeType.STRING: lambda text: text.decode(errors="replace"),
    AttributeType.BOOL: lambda text: text == b"true",
    AttributeType.INT: int,
    AttributeType.DOUBLE: float,
    AttributeType.ARRAY: lambda text: [python_value(v) for v in ArrayValue.FromString(text).values],
    AttributeType.MAP: lambda text: python_attributes(KeyValueList.FromString(text).values),
    AttributeType.BYTES: lambda text: text,
}

_SCALARS: Final = ("string_value", "bool_value", "int_value", "double_value", "bytes_value")


def python_value(value: AnyValue) -> AttributeValue:
    """An AnyValue as plain Python; None where it has no value."""
    kind = value.WhichOneof("value")
    if kind in _SCALARS:
        scalar: AttributeValue = getattr(value, kind)
        return scalar
    if kind == "array_value":
        return [python_value(v) for v in value.array_value.values]
    if kind == "kvlist_value":
        return python_attributes(value.kvlist_value.values)
    return None


def python_attributes(pairs: Iterable[KeyValue]) -> dict[str, AttributeValue]:
    """Attributes as a mapping; of a key that stands twice the last one counts."""
    return {pair.key: python_value(pair.value) for pair in pairs}


def read_value(type_: int, text: bytes) -> AttributeValue:
    """A stored text as plain Python."""
    return _TO_PYTHON[type_ & TYPE_MASK](text)


def read_attributes(
    keys: Sequence[bytes], texts: Sequence[bytes], types: Sequence[int], content: Content = (b"", b"")
) -> dict[str, AttributeValue]:
    """An attribute map. `content` are the columns `input` and `output`, where values were taken out to them."""
    return {
        key.decode(errors="replace"): read_value(type_, in_place(type_, text, content))
        for key, text, type_ in zip(keys, texts, types, strict=True)
    }


def in_place(type_: int, text: bytes, content: Content) -> bytes:
    """An attribute's text, wherever it stands."""
    if type_ & INPUT_TAKEN:
        return content[0]
    if type_ & OUTPUT_TAKEN:
        return content[1]
    return text
