"""A piece of evidence against a component, and the measures that all channels share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agent_tracer.server.domain.rca.view import Window

IQR_PER_SIGMA: Final = 1.349
"""The interquartile range of a normal distribution, in standard deviations."""

SCORE_MAX: Final = 50.0
"""Robust scores are cut here: beyond it a larger one says no more, but would drown the other components."""

SCALE_FLOOR: Final = 0.05
"""Of the median: a metric that hardly moved before is not abnormal for moving by less than this."""

ONSET_SCORE: Final = 3.0
"""The first bucket whose robust score reaches this is when it began."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks against `component`: `strength` from 0, unbounded; `time_ns`: its onset, None where unknown.

    `feature`: which of the fusion's inputs it feeds; `subject`: the metric, template, peer or change;
    `before` and `during`: typical value and extreme, in the subject's own unit.
    """

    component: str
    channel: str
    feature: str
    strength: float
    subject: str
    description: str
    time_ns: int | None = None
    before: float = 0.0
    during: float = 0.0


def known(values: Sequence[float]) -> list[float]:
    """Without the buckets in which nothing was observed."""
    return [value for value in values if value == value]  # noqa: PLR0124 - only NaN differs from itself


def quantile(ordered: Sequence[float], share: float) -> float:
    """Linear between order statistics, as numpy's default."""
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def robust(values: Sequence[float], floor: float) -> tuple[float, float]:
    """Median, and the standard deviation as the interquartile range has it, at least `floor`."""
    ordered = sorted(values)
    middle = quantile(ordered, 0.5)
    spread = (quantile(ordered, 0.75) - quantile(ordered, 0.25)) / IQR_PER_SIGMA
    return middle, max(spread, SCALE_FLOOR * abs(middle), floor)


def onset(values: Sequence[float], middle: float, scale: float, window: Window) -> int | None:
    """Start of the first bucket that departs from what was before."""
    for value, start_ns in zip(values, window.starts_ns, strict=True):
        if abs(value - middle) / scale >= ONSET_SCORE:
            return start_ns
    return None
