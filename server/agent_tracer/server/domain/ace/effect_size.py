"""How often one log-normal measure comes out smaller than another: the common language effect size."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from agent_tracer.server.domain.statistics.combine import Part, weighted_mean
from agent_tracer.server.domain.statistics.intervals import Interval, normal_share, student_quantile
from agent_tracer.server.domain.task_sums import Moments

LOG_VARIANCE_MIN: Final = 1e-4
"""A standard deviation of one percent: times and prices that vary less were rounded, or are all one."""

SPREAD_MIN: Final = 2 * math.log(1.25) ** 2
"""What two samples' variances add up to at least when effects are measured in them: values within a quarter of each
other count as much alike. Without it an agent that is steady and 5 % slower than steady peers would score 0."""

DEGREES_MIN: Final = 3
"""Fewer degrees of freedom than this say nothing of a spread, and so nothing of an effect's size."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Mean and variance of logarithms, how many they stand on, and the variance's degrees of freedom."""

    mean: float
    count: float
    variance: float
    degrees: float


def less_than_reference(own: Mapping[str, Moments], reference: Mapping[str, Moments]) -> Part | None:
    """P(a value of its own is below one of the reference), over the groups both have, weighted by its own counts.

    Moments are of logarithms. None where no group is shared or nothing varies freely enough (DEGREES_MIN). One half is
    on par. The part's weight is the number of its own values compared.
    """
    shared = [name for name, values in own.items() if values.count and name in reference and reference[name].count]
    parts = [_part(own[name], reference[name]) for name in shared]
    held = [part for part in parts if part is not None]
    return weighted_mean(held) if held else None


def _part(own: Moments, reference: Moments) -> Part | None:
    samples = _samples(own, reference)
    return None if samples is None else common_language(*samples)


def _samples(own: Moments, reference: Moments) -> tuple[Sample, ...] | None:
    """Each with its own variance, or both with their common one where one has too few values."""
    degrees = [max(0, own.count - 1), max(0, reference.count - 1)]
    if sum(degrees) < DEGREES_MIN:
        return None
    if min(degrees) < DEGREES_MIN:
        common = (own.variance * degrees[0] + reference.variance * degrees[1]) / sum(degrees)
        # One estimate used twice varies as two with half its degrees of freedom each.
        return tuple(Sample(item.mean, item.count, _floored(common), sum(degrees) / 2) for item in (own, reference))
    return (
        Sample(own.mean, own.count, _floored(own.variance), degrees[0]),
        Sample(reference.mean, reference.count, _floored(reference.variance), degrees[1]),
    )


def _floored(variance: float) -> float:
    return max(LOG_VARIANCE_MIN, variance)


def common_language(own: Sample, reference: Sample) -> Part:
    """Phi of the difference of means over the root of summed variances (McGraw and Wong 1992, equation 2), floored.

    The interval is Student's on the argument, by the delta method, with the degrees of freedom of Welch (1947).
    """
    spread = max(SPREAD_MIN, own.variance + reference.variance)
    argument = (reference.mean - own.mean) / math.sqrt(spread)
    errors = [sample.variance / sample.count for sample in (own, reference)]
    of_means = math.fsum(errors) / spread
    of_spread = math.fsum(2 * sample.variance**2 / sample.degrees for sample in (own, reference))
    error = math.sqrt(of_means + argument * argument * of_spread / (4 * spread * spread))
    degrees = math.fsum(errors) ** 2 / math.fsum(
        squared * squared / sample.degrees for squared, sample in zip(errors, (own, reference), strict=True)
    )
    half = student_quantile(degrees) * error
    interval = Interval(normal_share(argument - half), normal_share(argument + half))
    return Part(normal_share(argument), interval, own.count)


def mean_against_reference(
    mean: float, count: float, mix: Mapping[str, int], reference: Mapping[str, Moments]
) -> Part | None:
    """As `less_than_reference`, for values of which the arithmetic mean and the number (infinity: exact) are known.

    They are taken to vary as the reference does, which is put together by `mix` (its own counts where no group is
    shared with it). `mean` is above 0, not a logarithm. None where the reference does not vary freely enough.
    """
    shared = {name: weight for name, weight in mix.items() if weight and name in reference and reference[name].count}
    weights = shared or {name: values.count for name, values in reference.items() if values.count}
    degrees = sum(reference[name].count for name in weights) - 1
    if degrees < DEGREES_MIN:
        return None
    mixture = _mixture(weights, reference)
    variance = _floored(mixture.variance)
    # The logarithm of a log-normal's mean lies half its variance above the mean of its logarithms.
    own = Sample(math.log(mean) - variance / 2, count, variance, degrees / 2)
    return common_language(own, Sample(mixture.mean, degrees + 1, variance, degrees / 2))


def _mixture(weights: Mapping[str, int], reference: Mapping[str, Moments]) -> Sample:
    total = sum(weights.values())
    shares = [(weight / total, reference[name]) for name, weight in weights.items()]
    mean = math.fsum(share * values.mean for share, values in shares)
    squares = math.fsum(share * (values.variance + (values.mean - mean) ** 2) for share, values in shares)
    return Sample(mean, 0, squares, 0)
