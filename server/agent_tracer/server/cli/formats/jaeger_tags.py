"""Jaeger's typed tags ({key, type, value}) as the value of an OTLP attribute.

A tag whose value is not of its own type is kept as what JSON makes of it: one odd tag must not cost a trace.
"""

import base64
import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

Value: TypeAlias = dict[str, Any]
"""The keyword arguments of an AnyValue: {"int_value": 3}."""

_INT_MIN: Final = -(1 << 63)
_INT_MAX: Final = (1 << 63) - 1


def tag_values(tags: Iterable[Mapping[str, Any]]) -> dict[str, Value]:
    """The tags by key; the last of several with one key counts. A tag without a key is left out."""
    return {tag["key"]: _value(tag) for tag in tags if isinstance(tag.get("key"), str)}


def attributes(values: Mapping[str, Value]) -> list[dict[str, Any]]:
    """The keyword arguments of KeyValues."""
    return [{"key": key, "value": value} for key, value in values.items()]


def _value(tag: Mapping[str, Any]) -> Value:
    value = tag.get("value")
    typed = _BY_TYPE.get(str(tag.get("type", "")).lower())
    return (typed and typed(value)) or _as_json(value)


def _string(value: object) -> Value | None:
    return {"string_value": value} if isinstance(value, str) else None


def _bool(value: object) -> Value | None:
    known = {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else value
    return {"bool_value": known} if isinstance(known, bool) else None


def _int64(value: object) -> Value | None:
    if isinstance(value, bool):
        return None
    try:
        number = int(value) if isinstance(value, str | int) else None
    except ValueError:
        return None
    return {"int_value": number} if number is not None and _INT_MIN <= number <= _INT_MAX else None


def _float64(value: object) -> Value | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        return {"double_value": float(value)}
    except (ValueError, OverflowError):
        return None


def _binary(value: object) -> Value | None:
    try:
        return {"bytes_value": base64.b64decode(value, validate=True)} if isinstance(value, str) else None
    except ValueError:
        return None


def _as_json(value: object) -> Value:
    if value is None:
        return {}
    if isinstance(value, str):
        return {"string_value": value}
    if isinstance(value, bool):
        return {"bool_value": value}
    if isinstance(value, int) and _INT_MIN <= value <= _INT_MAX:
        return {"int_value": value}
    if isinstance(value, float) and math.isfinite(value):
        return {"double_value": value}
    return {"string_value": json.dumps(value, ensure_ascii=False)}


_BY_TYPE: Final[Mapping[str, Callable[[object], Value | None]]] = {
    "string": _string,
    "bool": _bool,
    "int64": _int64,
    "float64": _float64,
    "binary": _binary,
}
