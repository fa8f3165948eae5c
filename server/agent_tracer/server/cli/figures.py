"""Figures of analyses as text: scores, shares, probabilities, differences in a measure's unit."""

import math
from collections.abc import Callable, Mapping
from typing import Final

from agent_tracer.server.cli import text

_P_MIN: Final = 0.001


def score(value: float) -> str:
    """`0.812`."""
    return f"{value:.3f}" if math.isfinite(value) else text.NOTHING


def share(value: float) -> str:
    """`25.0%`."""
    return f"{value:.1%}" if math.isfinite(value) else text.NOTHING


def points(value: float) -> str:
    """A difference of shares: `2.0 points`."""
    return f"{100 * value:.1f} points" if math.isfinite(value) else text.NOTHING


def probability(value: float) -> str:
    """`0.034`, `<0.001`."""
    if not math.isfinite(value):
        return text.NOTHING
    return f"<{_P_MIN:g}" if value < _P_MIN else f"{value:.3f}"


def span(lower: str, upper: str) -> str:
    """`0.74 to 0.88`."""
    return f"{lower} to {upper}"


LEVELS: Final[Mapping[str, Callable[[float], str]]] = {
    "success": share,
    "success_rate": share,
    "quality": score,
    "duration": text.duration,
    "cost": text.money,
}
"""Measure -> how its values are written."""

_DIFFERENCES: Final[Mapping[str, Callable[[float], str]]] = {**LEVELS, "success": points, "success_rate": points}


def level(measure: str, value: float) -> str:
    """The measure's value in its unit."""
    return LEVELS.get(measure, score)(value)


def signed(measure: str, value: float) -> str:
    """The measure's difference with its sign: `+1.20 s`, `-2.0 points`, `$0`."""
    size = _DIFFERENCES.get(measure, score)(abs(value))
    if value == 0 or not math.isfinite(value):
        return size
    return f"{'-' if value < 0 else '+'}{size}"


def signed_span(measure: str, lower: float, upper: float) -> str:
    """Both ends of a difference's interval, a unit that they share said once: `-1.0 to +13.0 points`."""
    ends = signed(measure, lower), signed(measure, upper)
    (number, *unit), (_, *other) = (end.split(" ") for end in ends)
    return span(number if len(unit) == 1 and unit == other else ends[0], ends[1])
