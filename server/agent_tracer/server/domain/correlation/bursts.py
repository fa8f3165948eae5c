"""Whether counts in a window are more than the past lets expect.

Frequent ones are compared as levels, of their square roots (Anscombe 1948). Of rare ones, the part in the window is
held against the window's share of the time (Przyborowski and Wilenski 1940), after two corrections, since what
is written or fails comes in clusters: within a bucket a count weighs by its logarithm, WEIGHT_MAX at most, and counts
are divided by how much more they vary from block to block than chance makes them vary.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from agent_tracer.server.domain.correlation.levels import Floats, steps

FREQUENT_MIN: Final = 2.0
"""A bucket in the past on average, from which on counts are levels."""

WEIGHT_MAX: Final = 2.0
"""Of any number in one bucket: what never happened before and then often at once may be one thing that happened."""

PAST_MIN: Final = 2.0
"""Lengths of the window that the past must be known for; what varies over less is not known."""


@dataclass(frozen=True, slots=True)
class Bursts:
    """One entry a row. `p_value` one-sided; `excess`: the share of the window's count beyond what was expected."""

    p_value: Floats
    excess: Floats
    count: Floats


def bursts(before: Floats, during: Floats) -> Bursts:
    """Counts by row and bucket, in time order; NaN where nothing was observed."""
    known_before, known_during = np.isfinite(before), np.isfinite(during)
    past, now = np.where(known_before, before, 0.0), np.where(known_during, during, 0.0)
    time_before, time_during = known_before.sum(axis=1), known_during.sum(axis=1)
    count = now.sum(axis=1)
    expected = past.sum(axis=1) * time_during / np.maximum(time_before, 1)
    excess = np.clip(np.divide(count - expected, count, out=np.zeros_like(count), where=count > 0), 0.0, 1.0)
    p = np.ones(len(before))
    testable = (time_before >= PAST_MIN * np.maximum(time_during, 1)) & (count > expected)
    frequent = testable & (past.sum(axis=1) >= FREQUENT_MIN * time_before)
    rare = testable & ~frequent
    p[frequent] = _levels(before[frequent], during[frequent])
    p[rare] = _shares(past[rare], now[rare], time_before[rare], time_during[rare])
    return Bursts(p, excess, count)


def _levels(before: Floats, during: Floats) -> Floats:
    found = steps(np.sqrt(before + 0.375), np.sqrt(during + 0.375))
    return np.asarray(np.where(found.value >= found.baseline, found.p_value / 2, 1.0))


def _shares(past: Floats, now: Floats, time_before: Floats, time_during: Floats) -> Floats:
    from scipy.special import betainc  # noqa: PLC0415 - half a second of start-up

    if not len(past):
        return np.ones(0)
    length = now.shape[1]
    weighed = np.minimum(np.log2(1 + past), WEIGHT_MAX)
    sums = _blocks(weighed, length)
    mean = sums.mean(axis=1)
    spread = sums.var(axis=1, ddof=1) if sums.shape[1] > 1 else mean
    dispersion = np.maximum(1.0, np.divide(spread, mean, out=np.ones_like(mean), where=mean > 0))
    here = np.minimum(np.log2(1 + now), WEIGHT_MAX).sum(axis=1)
    share = time_during / (time_during + time_before)
    p = betainc(np.maximum(here / dispersion, 1e-9), weighed.sum(axis=1) / dispersion + 1, share)
    return np.asarray(np.maximum(p, (sums >= here[:, None]).mean(axis=1) if sums.shape[1] else 0.0))


def _blocks(values: Floats, length: int) -> Floats:
    blocks = values.shape[1] // length
    return np.asarray(values[:, values.shape[1] - blocks * length :].reshape(len(values), blocks, length).sum(axis=2))
