"""Checks of a request's fields. Each adds what is wrong to a list of violations; none raises."""

import math
import re
from typing import Final

from agent_tracer.server.domain.errors import Violations
from agent_tracer.server.domain.ids import SpanId
from agent_tracer.server.limits import ID_LENGTH_MAX, TIMESTAMP_AHEAD_SECONDS, TIMESTAMP_MIN_SECONDS

NS: Final = 1_000_000_000
"""Nanoseconds of a second."""

NS_PER_MS: Final = 1_000_000

_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")
_SPAN_ID: Final = re.compile("[0-9a-fA-F]{16}")


def check_id(found: Violations, field: str, text: str, *, required: bool = True) -> None:
    """1 to ID_LENGTH_MAX characters, none a control character (C0, DEL, C1); empty where not required."""
    if not text:
        if required:
            found.add(field, "must be given")
    elif len(text) > ID_LENGTH_MAX:
        found.add(field, f"must be at most {ID_LENGTH_MAX} characters long")
    elif _CONTROL.search(text):
        found.add(field, "must hold no control characters")


def check_length(found: Violations, field: str, text: str, longest: int) -> None:
    """At most `longest` characters, of any kind."""
    if len(text) > longest:
        found.add(field, f"must be at most {longest} characters long")


def check_choice(found: Violations, field: str, text: str, choices: tuple[str, ...]) -> None:
    """Empty or one of the choices."""
    if text and text not in choices:
        found.add(field, f"must be one of {', '.join(choices)}")


def check_number(found: Violations, field: str, number: float | None, *, most: float | None = None) -> None:
    """Absent, or finite and from 0 to `most`."""
    if number is None:
        return
    if not math.isfinite(number) or number < 0 or (most is not None and number > most):
        found.add(field, "must be a finite number, 0 or more" if most is None else f"must be from 0 to {most:g}")


def check_time(found: Violations, field: str, time_ns: int, now_ns: int) -> None:
    """From the year 2000 to an hour ahead of the server's clock."""
    if not TIMESTAMP_MIN_SECONDS * NS <= time_ns <= now_ns + TIMESTAMP_AHEAD_SECONDS * NS:
        found.add(field, "must lie between the year 2000 and one hour ahead of the server's clock")


def parse_span_id(found: Violations, field: str, text: str) -> SpanId | None:
    """The span id that 16 hex digits (not all 0) name; None for an empty text."""
    if not text:
        return None
    if _SPAN_ID.fullmatch(text) is None or not text.strip("0"):
        found.add(field, "must be 16 hex digits, not all 0")
        return None
    return SpanId(bytes.fromhex(text))
