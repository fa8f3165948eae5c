"""Values as text for people: everything that came from a server is data, never markup or terminal control."""

import math
import unicodedata
from datetime import UTC, datetime
from typing import Final

NOTHING: Final = "-"
"""Stands where a value is absent, so that a column never looks forgotten."""

# Cc and Cf: terminal escapes, bidirectional overrides, invisible characters. Cs cannot be encoded. Zl and Zp
# break lines. The joiners are Cf too, but Persian, Hindi and emoji need them.
_UNSAFE_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_SAFE_FORMATS: Final = frozenset("\u200c\u200d")
_SHORT_ESCAPES: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_MARKS_MAX: Final = 4  # Combining marks in a row: no language needs more, and towers of them hide other lines.

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def plain(text: str) -> str:
    """The text on one line, with control, invisible and direction characters written as escapes."""
    if text.isascii() and text.isprintable():
        return text
    shown: list[str] = []
    marks = 0
    for char in text:
        marks = marks + 1 if unicodedata.combining(char) else 0
        if marks <= _MARKS_MAX:
            shown.append(_escaped(char) if _unsafe(char) else char)
    return "".join(shown)


def _unsafe(char: str) -> bool:
    return unicodedata.category(char) in _UNSAFE_CATEGORIES and char not in _SAFE_FORMATS


def _escaped(char: str) -> str:
    point = ord(char)
    wide = f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"  # noqa: PLR2004 - the end of the BMP
    return _SHORT_ESCAPES.get(char) or (f"\\x{point:02x}" if point < 0x100 else wide)  # noqa: PLR2004


def duration(milliseconds: float) -> str:
    """`0.34 ms`, `340 ms`, `1.25 s`, `2 m 5 s`, `3 h 20 m`, `4 d 6 h`."""
    if not math.isfinite(milliseconds) or milliseconds < 0:
        return NOTHING
    if milliseconds < 10:  # noqa: PLR2004 - below, whole milliseconds would lose what matters
        return f"{milliseconds:.3g} ms"
    if round(milliseconds) < 1000:  # noqa: PLR2004
        return f"{milliseconds:.0f} ms"
    if round(milliseconds, -1) < _MINUTE * 1000:
        return f"{milliseconds / 1000:.2f} s"
    return _long(round(milliseconds / 1000))


def _long(seconds: int) -> str:
    for unit, name, rest_unit, rest_name in (
        (_DAY, "d", _HOUR, "h"),
        (_HOUR, "h", _MINUTE, "m"),
        (_MINUTE, "m", 1, "s"),
    ):
        if seconds >= unit:
            rest = seconds % unit // rest_unit
            return f"{seconds // unit:,} {name}" + (f" {rest} {rest_name}" if rest else "")
    return f"{seconds} s"


def money(dollars: float | None) -> str:
    """US dollars with at least three digits that say something: `$12.40`, `$0.0314`, `$0.000123`."""
    if dollars is None or not math.isfinite(dollars):
        return NOTHING
    if dollars == 0:
        return "$0"
    size = abs(dollars)
    decimals = 2 if size >= 1 else max(4, 2 - math.floor(math.log10(size)))
    whole, _, fraction = f"{size:,.{decimals}f}".partition(".")
    return f"{'-' if dollars < 0 else ''}${whole}.{fraction[:2]}{fraction[2:].rstrip('0')}"


def count(number: int) -> str:
    """`8,412`."""
    return f"{number:,}"


def counted(number: int, noun: str) -> str:
    """`1 span`, `12 spans`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def tokens(received: int, sent: int, arrow: str = "→") -> str:
    """Input and output tokens: `812 → 143`; nothing where there were none."""
    return f"{received:,} {arrow} {sent:,}" if received or sent else ""


def moment(seconds: int, nanos: int) -> datetime | None:
    """A protobuf Timestamp's time in the local zone; None where it is unset or beyond what a clock shows."""
    if not seconds and not nanos:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanos // 1000).astimezone()
    except (OverflowError, ValueError, OSError):
        return None


def local_time(when: datetime | None, *, precise: bool = False) -> str:
    """ISO 8601: `2026-11-22 15:13:06`, or with milliseconds and offset where precise."""
    if when is None:
        return NOTHING
    if precise:
        return when.isoformat(timespec="milliseconds")
    return when.replace(tzinfo=None).isoformat(sep=" ", timespec="seconds")
