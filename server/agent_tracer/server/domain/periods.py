"""Periods as the API writes them: `15m`, `24h`, `30d`, `4w`."""

import re
from typing import Final

_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_PERIOD: Final = re.compile(r"([1-9][0-9]{0,8})([smhdw])")

PERIOD_SECONDS_MAX: Final = 20 * 366 * 86_400
"""Twenty years: all times that the server takes (limits.TIMESTAMP_MIN_SECONDS) fit."""


class PeriodError(ValueError):
    """The text is no period."""


def period_seconds(text: str) -> int:
    """Seconds of a period such as `15m`, `24h`, `30d` or `4w`. Raises PeriodError."""
    match = _PERIOD.fullmatch(text)
    if match is None:
        message = "is no period: write a whole number and one of s, m, h, d, w, such as 15m, 24h, 30d or 4w"
        raise PeriodError(message)
    seconds = int(match[1]) * _UNIT_SECONDS[match[2]]
    if seconds > PERIOD_SECONDS_MAX:
        message = "is longer than 20 years"
        raise PeriodError(message)
    return seconds
