"""How often a group of failures comes about, over time.

By Poisson counts: of `n` failures, those of the recent part are binomial with the recent part's share of the runs, if
nothing has changed (Przyborowski and Wilenski 1940). No seasons are taken out: a week's buckets should be days.
"""

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

SIGNIFICANCE: Final = 0.05
"""Of rising and falling together; and the chance that a silence is none."""

RECENT_SHARE: Final = 0.25
"""The last quarter of the buckets, at least one, is held against those before it."""


class Trend(StrEnum):
    """As the API names them."""

    NEW = "new"
    RISING = "rising"
    STEADY = "steady"
    FALLING = "falling"
    GONE = "gone"
    BACK = "back"


def group_trend(counts: Sequence[int], runs: Sequence[int] | None = None, *, seen_before: bool = False) -> Trend:
    """The trend of a group by its failures in equal buckets of time, the oldest first.

    runs: all runs of the same buckets, so that more traffic is no rise; without, each bucket counts the same.
    seen_before: whether the group is known from before the first bucket.

    NEW: never before the recent part. GONE: not in the recent part, where at least three had been expected (so that
    their absence is no chance). BACK: seen again after a silence as long. RISING, FALLING: the recent rate differs
    (binomial test, two-sided). Else STEADY. Raises ValueError where the lengths differ.
    """
    exposure = [float(count) for count in runs] if runs is not None else [1.0] * len(counts)
    if len(exposure) != len(counts):
        raise ValueError(len(exposure))
    begin = len(counts) - max(1, int(len(counts) * RECENT_SHARE))
    recent, before = sum(counts[begin:]), sum(counts[:begin])
    if not before:
        return (Trend.BACK if seen_before else Trend.NEW) if recent else Trend.STEADY
    if not recent:
        return Trend.GONE if _silence(before, sum(exposure[:begin]), sum(exposure[begin:])) else Trend.STEADY
    if _returned(counts, exposure, begin):
        return Trend.BACK
    return _compared(recent, before, sum(exposure[begin:]), sum(exposure[:begin]))


def share(count: int, runs: int) -> float:
    """The part of all runs that a group's failures are, 0 to 1; 0 where there were no runs."""
    return min(1.0, count / runs) if runs > 0 else 0.0


def _silence(count: int, exposure: float, silent: float) -> bool:
    """Whether none in the `silent` runs is too few, at the rate of `count` in `exposure`: exp(-expected) under 5 %."""
    return exposure > 0 and count * silent / exposure > -math.log(SIGNIFICANCE)


def _returned(counts: Sequence[int], exposure: Sequence[float], begin: int) -> bool:
    """Whether the first recent failure ended a silence that the rate before it does not explain."""
    again = next(at for at in range(begin, len(counts)) if counts[at])
    last = max(at for at in range(begin) if counts[at]) + 1
    return _silence(sum(counts[:last]), sum(exposure[:last]), sum(exposure[last:again]))


def _compared(recent: int, before: int, recent_runs: float, before_runs: float) -> Trend:
    total = recent_runs + before_runs
    if not 0 < recent_runs < total:
        return Trend.STEADY
    from scipy.stats import binomtest  # noqa: PLC0415 - start-up time

    expected = recent_runs / total
    if binomtest(recent, recent + before, expected).pvalue >= SIGNIFICANCE:
        return Trend.STEADY
    return Trend.RISING if recent > expected * (recent + before) else Trend.FALLING
