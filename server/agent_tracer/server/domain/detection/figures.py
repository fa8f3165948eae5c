"""What is watched of a service or an agent: its figures by bucket, and the measures made of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import numpy as np

from agent_tracer.server.domain.detection.limits import (
    HOUR_BUCKETS,
    Direction,
    Floats,
    Limits,
    limits_of,
    medians,
    scores,
    sums,
)

_ERRORS_MIN: Final = 3
"""Failed calls in a window of which a rate is made: one or two tell nothing about the next call."""

_ERROR_RATE_CAP: Final = 0.3
"""Above the usual rate, an error rate is told whatever was seen before: nobody gets used to that."""

_Z: Final = 1.96


class Measure(StrEnum):
    """As labels of incidents name them."""

    ERROR_RATE = "error_rate"
    LATENCY = "latency"
    CALLS = "calls"
    TOKENS = "tokens"
    COST = "cost"


@dataclass(frozen=True, slots=True)
class Figures:
    """Buckets from `first_hour` (hours since 1970) on, whole hours of them; one in which nothing began has 0 calls.

    `latency_ms`: the 90th percentile, any number where there were no calls. `cost` in US dollars.
    """

    first_hour: int
    calls: Floats
    errors: Floats
    latency_ms: Floats
    tokens: Floats
    cost: Floats


@dataclass(frozen=True, slots=True)
class Alarm:
    """A bucket (counted since 1970) in which a measure went too far: `times` as far as its limit is.

    `value` beside the `usual` one, in the measure's unit: a share, milliseconds, calls, tokens, dollars.
    """

    bucket: int
    measure: Measure
    sign: int
    times: float
    value: float
    usual: float


@dataclass(frozen=True, slots=True)
class _Watched:
    """How a measure is watched, and its figure of each bucket as it is told."""

    smoothed: Callable[[Figures], Floats]
    told: Callable[[Figures], Floats]
    directions: tuple[Direction, ...]
    cap: float = np.inf


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is noticed in `hours` hours from `first_hour` on, by measure and direction."""

    first_hour: int
    hours: int
    limits: Sequence[tuple[Measure, Direction, Limits]]


def bounds(figures: Figures, from_hour: int) -> Bounds:
    """Of the hours from `from_hour` (since 1970) to the end of `figures`, each out of what was before it.

    `figures` begins LOOK_BACK_HOURS before, and better some days more.
    """
    skipped = from_hour - figures.first_hour
    hours = len(figures.calls) // HOUR_BUCKETS - skipped
    made = []
    for measure, watched in _MEASURES.items():
        if measure is not Measure.ERROR_RATE and not watched.told(figures).any():
            continue  # of no errors at all, the first ones are told
        smoothed = watched.smoothed(figures)
        for direction in watched.directions:
            limits = limits_of(smoothed, direction, skipped)
            made.append((measure, direction, _capped(limits, direction, watched.cap)))
    return Bounds(from_hour, hours, made)


def alarms(figures: Figures, known: Bounds, from_bucket: int, to_bucket: int) -> list[Alarm]:
    """Of the buckets from_bucket <= b < to_bucket within the hours of `known`, in the order of time, worst first.

    `figures` begins at least WINDOW_MAX buckets before those hours, and reaches to their end.
    """
    hours = slice((known.first_hour - figures.first_hour) * HOUR_BUCKETS, None)
    found = []
    for measure, direction, limits in known.limits:
        watched = _MEASURES[measure]
        told = watched.told(figures)[hours]
        times = scores(watched.smoothed(figures)[:, hours], told, direction, limits)
        for at in np.flatnonzero(times):
            bucket = int(known.first_hour * HOUR_BUCKETS + at)
            if from_bucket <= bucket < to_bucket:
                usual = float(limits.usual[at // HOUR_BUCKETS])
                found.append(Alarm(bucket, measure, direction.sign, float(times[at]), float(told[at]), usual))
    return sorted(found, key=lambda alarm: (alarm.bucket, -alarm.times))


def _capped(limits: Limits, direction: Direction, cap: float) -> Limits:
    """Nothing that is more than `cap` above the usual level counts as usual."""
    if np.isinf(cap):
        return limits
    most = np.minimum(limits.most, limits.usual + cap - direction.absolute)
    return replace(limits, most=most, excess=np.minimum(limits.excess, limits.usual + cap - most))


def _seen(figures: Figures, values: Floats) -> Floats:
    """A bucket without calls says nothing: telemetry may be missing as well as traffic."""
    return medians(np.where(figures.calls > 0, values, np.nan))


def _error_rate(figures: Figures) -> Floats:
    """The least that the share of failures may be (Wilson's lower bound), so that few calls tell little."""
    calls, errors = sums(figures.calls), sums(figures.errors)
    share = errors / np.maximum(calls, 1)
    square = _Z * _Z / np.maximum(calls, 1)
    root = np.sqrt(np.maximum(square * share * (1 - share) + square * square / 4, 0))
    lower = (share + square / 2 - root) / (1 + square)
    rate = np.where(errors >= _ERRORS_MIN, np.clip(lower, 0, 1), 0.0)
    rate[:, figures.calls == 0] = np.nan
    return rate


_MEASURES: Final[Mapping[Measure, _Watched]] = {
    Measure.ERROR_RATE: _Watched(
        _error_rate,
        lambda f: f.errors / np.maximum(f.calls, 1),
        (Direction(1, 0.25, 0.05, from_nought=True),),
        _ERROR_RATE_CAP,
    ),
    Measure.LATENCY: _Watched(
        lambda f: _seen(f, f.latency_ms), lambda f: f.latency_ms, (Direction(1, 0.25), Direction(-1, 0.5))
    ),
    Measure.CALLS: _Watched(
        lambda f: _seen(f, f.calls), lambda f: f.calls, (Direction(1, 0.5, 15.0), Direction(-1, 0.5, 15.0))
    ),
    Measure.TOKENS: _Watched(lambda f: _seen(f, f.tokens), lambda f: f.tokens, (Direction(1, 0.5, 100.0),)),
    Measure.COST: _Watched(lambda f: _seen(f, f.cost), lambda f: f.cost, (Direction(1, 0.5, 0.01),)),
}
"""Of each measure: which way, how far beyond the usual level in parts of it, and how far in its unit at the least."""
