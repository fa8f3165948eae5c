"""Attributes between google.protobuf.Struct and the domain."""

import base64
import json
import math
from collections.abc import Mapping
from typing import Final

from google.protobuf.struct_pb2 import NULL_VALUE, ListValue, Struct, Value

from agent_tracer.server.domain.telemetry import Attributes, AttributeValue
from agent_tracer.server.limits import STRUCT_DEPTH_MAX

_EXACT_MAX: Final = 2**53
"""Beyond it a Struct's numbers (doubles) skip whole ones."""

_NOT_FINITE: Final = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def attributes_from(struct: Struct) -> Attributes:
    """Numbers that are whole and exact become ints, so that 85 stays 85 and not 85.0."""
    return {key: _value_from(value) for key, value in struct.fields.items()}


def struct_to(attributes: Attributes) -> Struct:
    """JSON has no bytes (base64), no NaN (text) and no whole numbers past 2^53 (text, as proto3's int64)."""
    struct = Struct()
    for key, value in attributes.items():
        _fill(struct.fields[key], value, STRUCT_DEPTH_MAX)
    return struct


def _fill(target: Value, value: AttributeValue, depth: int) -> None:
    match value:
        case None:
            target.null_value = NULL_VALUE
        case bool():
            target.bool_value = value
        case str():
            target.string_value = value
        case int() | float():
            _fill_number(target, value)
        case bytes():
            target.string_value = base64.b64encode(value).decode()
        case _ if depth == 0:
            target.string_value = json.dumps(value, default=_json_bytes)
        case Mapping():
            target.struct_value.SetInParent()
            for key, item in value.items():
                _fill(target.struct_value.fields[key], item, depth - 1)
        case _:
            target.list_value.SetInParent()
            for item in value:
                _fill(target.list_value.values.add(), item, depth - 1)


def _fill_number(target: Value, number: float) -> None:
    exact = abs(number) <= _EXACT_MAX if isinstance(number, int) else math.isfinite(number)
    if exact:
        target.number_value = number
    else:
        target.string_value = _NOT_FINITE.get(str(number), str(number))


def _json_bytes(value: object) -> object:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _value_from(value: Value) -> AttributeValue:
    match value.WhichOneof("kind"):
        case "number_value":
            return _number_from(value.number_value)
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return attributes_from(value.struct_value)
        case "list_value":
            return _list_from(value.list_value)
        case _:
            return None


def _list_from(values: ListValue) -> list[AttributeValue]:
    return [_value_from(item) for item in values.values]


def _number_from(number: float) -> int | float:
    whole = number.is_integer() and abs(number) <= _EXACT_MAX and str(number) != "-0.0"
    return int(number) if whole else number
