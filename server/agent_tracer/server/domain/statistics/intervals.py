"""Intervals of one share, mean or variance, from counts and moments alone."""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

from agent_tracer.server.domain.task_sums import Moments

CONFIDENCE: Final = 0.95

_NORMAL: Final = NormalDist()
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Interval:
    """From `lower` to `upper`, both in the unit of what they bound."""

    lower: float
    upper: float

    def __contains__(self, value: float) -> bool:
        return self.lower <= value <= self.upper

    def clipped(self, least: float = 0.0, most: float = 1.0) -> "Interval":
        """The part of it between `least` and `most`."""
        return Interval(min(max(self.lower, least), most), min(max(self.upper, least), most))


def normal_share(z: float) -> float:
    """The share of a standard normal below z."""
    return _NORMAL.cdf(z)


def normal_quantile(confidence: float = CONFIDENCE) -> float:
    """The z of a two-sided interval; 1.96 at .95."""
    return _NORMAL.inv_cdf(0.5 + confidence / 2)


def student_quantile(degrees: float, confidence: float = CONFIDENCE) -> float:
    """The t of a two-sided interval, for any real number of degrees of freedom above 0."""
    from scipy.special import stdtrit  # noqa: PLC0415 - half a second of start-up

    return float(stdtrit(degrees, 0.5 + confidence / 2))


def student_p_value(t: float, degrees: float) -> float:
    """Two-sided probability of a t as far from 0, under no difference."""
    from scipy.special import stdtr  # noqa: PLC0415 - half a second of start-up

    return 2 * float(stdtr(degrees, -abs(t)))


def wilson(successes: float, trials: float, confidence: float = CONFIDENCE) -> Interval:
    """The score interval of a share (Wilson 1927; Newcombe 1998a, method 3). 0 to 1 where there are no trials.

    `trials` may be an effective number, hence floats.
    """
    return wilson_at(normal_quantile(confidence), successes, trials)


def wilson_at(z: float, successes: float, trials: float) -> Interval:
    """As `wilson`, for a normal quantile instead of a confidence."""
    if trials <= 0:
        return Interval(0.0, 1.0)
    share = successes / trials
    centre = share + z * z / (2 * trials)
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    # Rounding must not put an end on the wrong side of the share that it bounds.
    return Interval(max(0.0, min(share, (centre - half) / scale)), min(1.0, max(share, (centre + half) / scale)))


def bounded_mean_interval(values: Moments, confidence: float = CONFIDENCE) -> Interval:
    """The interval of a mean of values from 0 to 1, by Wilson's formula over an effective number of trials.

    That number is `count` where the values are 0 and 1 only, and larger by the ratio of a binary variance to theirs
    otherwise (the design effect, Kish 1965). One degree of freedom of binary variance is added, so that a few equal
    values do not pass for certainty. 0 to 1 where nothing was counted.
    """
    if not values.count:
        return Interval(0.0, 1.0)
    mean = min(max(values.mean, 0.0), 1.0)
    binary = mean * (1 - mean)
    if values.total - values.squares <= _ROUNDING * values.count:  # Each square is below its value, but for 0 and 1.
        return wilson(mean * values.count, values.count, confidence)
    spread = (values.variance * (values.count - 1) + binary) / values.count
    trials = values.count * binary / spread
    return wilson(mean * trials, trials, confidence)


def variance_interval(variance: float, degrees: float, confidence: float = CONFIDENCE) -> Interval:
    """The chi-square interval of a normal measure's variance (equal tails), from its unbiased estimate."""
    from scipy.special import chdtri  # noqa: PLC0415 - half a second of start-up

    tail = (1 - confidence) / 2
    scaled = degrees * variance
    return Interval(scaled / float(chdtri(degrees, tail)), scaled / float(chdtri(degrees, 1 - tail)))
