"""Small pieces of SQL text that more than one statement is made of."""

from collections.abc import Iterable


def quoted(text: str) -> str:
    """A string literal. For constants of this program only: what callers send travels as parameters."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def array(items: Iterable[str]) -> str:
    """An array literal of expressions."""
    return f"[{', '.join(items)}]"


def value_text(value: str) -> str:
    """A telemetry value (otlp_format.VALUE) as exact text; arrays, maps and bytes as their bytes."""
    return (
        f"multiIf({value}.value='s', {value}.s, {value}.value='i', toString({value}.i), "
        f"{value}.value='d', toString({value}.d), {value}.value='b', if({value}.b=1, 'true', 'false'), "
        f"{value}.value='a', {value}.a, {value}.value='kv', {value}.kv, {value}.y)"
    )


def value_texts(attributes: str) -> str:
    """The values of an attribute map (otlp_format.VALUES) as exact texts, in the map's order."""
    return f"arrayMap(v -> {value_text('v')}, mapValues({attributes}))"


def value_types(attributes: str) -> str:
    """The types of the values of an attribute map, by number (see rows.AttributeType), in the map's order."""
    return f"CAST(mapValues({attributes}).value, 'Array(UInt8)')"


def text_map(keys: str, texts: str) -> str:
    """A map of texts out of two arrays of equal length."""
    return f"CAST(({keys}, {texts}), 'Map(LowCardinality(String), String)')"


def nanoseconds(expression: str) -> str:
    """A time column out of unsigned nanoseconds since the epoch."""
    return f"fromUnixTimestamp64Nano(toInt64({expression}), 'UTC')"
