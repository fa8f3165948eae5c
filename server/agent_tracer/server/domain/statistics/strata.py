"""Shares over strata that are held constant: Wilson and Newcombe intervals after Yan and Su."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agent_tracer.server.domain.statistics.intervals import Interval, normal_share, wilson_at

_Z_MAX: Final = 40.0
"""Beyond it a normal's tail is 0 in floating point."""

_HALVINGS: Final = 60
"""From _Z_MAX to the resolution of floating point."""


@dataclass(frozen=True, slots=True)
class Stratum:
    """Successes of trials, of which there is at least one, and the stratum's weight; weights add up to 1."""

    successes: float
    trials: float
    weight: float


@dataclass(frozen=True, slots=True)
class StratifiedShare:
    """The weighted share, its limits at the z asked for, and `spread`: the sum of squared weights over trials."""

    value: float
    limits: Interval
    spread: float

    @property
    def variance(self) -> float:
        """Of the value, at the middle of its limits: not 0 where all trials succeeded."""
        middle = (self.limits.lower + self.limits.upper) / 2
        return self.spread * middle * (1 - middle)


def stratified_wilson(strata: Sequence[Stratum], z: float) -> StratifiedShare:
    """The limits of a weighted share (Yan and Su 2010, Statistics in Biopharmaceutical Research 2:329).

    Each stratum gets its Wilson limits at a smaller z, such that their weighted sum is as long as the whole's.
    Variances are taken at shares with half a success and half a failure added: none is 0.
    """
    value = math.fsum(item.weight * item.successes / item.trials for item in strata)
    roots = [_standard_error(item) for item in strata]
    narrowed = z * math.hypot(*roots) / math.fsum(roots)
    limits = [(item.weight, wilson_at(narrowed, item.successes, item.trials)) for item in strata]
    lower = math.fsum(weight * interval.lower for weight, interval in limits)
    upper = math.fsum(weight * interval.upper for weight, interval in limits)
    spread = math.fsum(item.weight * item.weight / item.trials for item in strata)
    return StratifiedShare(value, Interval(min(lower, value), max(upper, value)), spread)


def _standard_error(item: Stratum) -> float:
    smoothed = (item.successes + 0.5) / (item.trials + 1)
    return item.weight * math.sqrt(smoothed * (1 - smoothed) / item.trials)


def stratified_difference(candidate: StratifiedShare, base: StratifiedShare, z: float) -> Interval:
    """The interval of candidate less base, both with limits at this z (Yan and Su 2010, stratified Newcombe)."""
    value = candidate.value - base.value
    below = math.sqrt(_variance_at(candidate, candidate.limits.lower) + _variance_at(base, base.limits.upper))
    above = math.sqrt(_variance_at(candidate, candidate.limits.upper) + _variance_at(base, base.limits.lower))
    return Interval(max(-1.0, value - z * below), min(1.0, value + z * above))


def _variance_at(share: StratifiedShare, limit: float) -> float:
    return share.spread * limit * (1 - limit)


def stratified_newcombe(candidate: Sequence[Stratum], base: Sequence[Stratum], z: float) -> Interval:
    """The interval of candidate less base at a normal quantile."""
    return stratified_difference(stratified_wilson(candidate, z), stratified_wilson(base, z), z)


def stratified_p_value(candidate: Sequence[Stratum], base: Sequence[Stratum]) -> float:
    """Two-sided p of no difference: that of the widest `stratified_newcombe` interval which leaves 0 out."""
    if 0 in stratified_newcombe(candidate, base, 0.0):
        return 1.0
    excludes, includes = 0.0, _Z_MAX
    for _ in range(_HALVINGS):
        middle = (excludes + includes) / 2
        if 0 in stratified_newcombe(candidate, base, middle):
            includes = middle
        else:
            excludes = middle
    return 2 * normal_share(-excludes)
