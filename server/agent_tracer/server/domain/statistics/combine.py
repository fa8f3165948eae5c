"""Intervals of sums and differences, recovered from the intervals of their parts (MOVER)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent_tracer.server.domain.statistics.intervals import CONFIDENCE, Interval, wilson


@dataclass(frozen=True, slots=True)
class Part:
    """An estimate with its interval and its weight, 0 or more, in a sum."""

    value: float
    interval: Interval
    weight: float = 1.0


def independent(_first: int, _second: int) -> float:
    """The correlation of parts that share no data."""
    return 0.0


def weighted_mean(parts: Sequence[Part], correlation: Callable[[int, int], float] = independent) -> Part:
    """The weighted mean with its interval; its weight is the sum of theirs, which must be above 0.

    Method of variance estimates recovery (Zou and Donner 2008, Statistics in Medicine 27:1693; with correlations Zou
    2007, Psychological Methods 12:399): each limit lies as far from the mean as the root of the summed products of the
    parts' own distances on that side, so that small samples keep the coverage of their parts. `correlation` takes
    two positions in `parts` and returns their estimates' correlation.
    """
    total = math.fsum(part.weight for part in parts)
    value = math.fsum(part.weight * part.value for part in parts) / total
    below = [part.weight / total * (part.value - part.interval.lower) for part in parts]
    above = [part.weight / total * (part.interval.upper - part.value) for part in parts]
    interval = Interval(value - _length(below, correlation), value + _length(above, correlation))
    return Part(value, interval, total)


def _length(distances: Sequence[float], correlation: Callable[[int, int], float]) -> float:
    squares = math.fsum(distance * distance for distance in distances)
    if correlation is not independent:
        squares += 2 * math.fsum(
            correlation(first, second) * distances[first] * distances[second]
            for second in range(len(distances))
            for first in range(second)
        )
    return math.sqrt(max(0.0, squares))


def difference(candidate: Part, base: Part) -> Interval:
    """The interval of candidate less base, which share no data (Zou and Donner 2008, equation 4).

    Of two shares it is Newcombe's (1998b, Statistics in Medicine 17:873, method 10).
    """
    value = candidate.value - base.value
    below = math.hypot(candidate.value - candidate.interval.lower, base.interval.upper - base.value)
    above = math.hypot(candidate.interval.upper - candidate.value, base.value - base.interval.lower)
    return Interval(value - below, value + above)


def share(successes: float, trials: float, confidence: float = CONFIDENCE) -> Part:
    """A share with its Wilson interval, weighted by its trials, of which there must be some."""
    return Part(successes / trials, wilson(successes, trials, confidence), trials)
