"""Differences between two versions, within task types and by the candidate's mix of them."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from agent_tracer.server.domain.statistics.intervals import (
    Interval,
    normal_quantile,
    student_p_value,
    student_quantile,
)
from agent_tracer.server.domain.statistics.strata import (
    Stratum,
    stratified_newcombe,
    stratified_p_value,
)
from agent_tracer.server.domain.task_sums import Moments, TaskSums

TASKS_MIN: Final = 10
"""Tasks of each version under which a measure gets no verdict: at a p of a thousandth the approximations fail there."""

DEGREES_MIN: Final = 5
"""The same for the degrees of freedom of a mean's variance, which many types of one task each do not give."""

PRIOR_DEGREES: Final = 4
"""Degrees of freedom at the pooled variance that are added to a type's own, which few tasks give badly."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Both versions and their difference (candidate less base, 95 %), in the measure's unit.

    `effect` is what the practical floor is held against, in its own unit. `sufficient`: enough for a verdict.
    """

    base: float
    candidate: float
    difference: float
    interval: Interval
    p_value: float
    effect: float
    base_count: int
    candidate_count: int
    sufficient: bool


@dataclass(frozen=True, slots=True)
class _Mean:
    value: float
    variance: float
    degrees: int
    count: int


def success_difference(base: Mapping[str, TaskSums], candidate: Mapping[str, TaskSums]) -> Estimate | None:
    """Of success rates, over the types in both; by the stratified Newcombe interval. None where there are none."""
    mix = _mix({name: total.tasks for name, total in candidate.items() if name in base})
    if not mix:
        return None
    after, before = (
        [Stratum(totals[name].successes, totals[name].tasks, weight) for name, weight in mix.items()]
        for totals in (candidate, base)
    )
    rates = [math.fsum(item.weight * item.successes / item.trials for item in strata) for strata in (before, after)]
    counts = [round(math.fsum(item.trials for item in strata)) for strata in (before, after)]
    change = rates[1] - rates[0]
    return Estimate(
        base=rates[0],
        candidate=rates[1],
        difference=change,
        interval=stratified_newcombe(after, before, normal_quantile()),
        p_value=stratified_p_value(after, before),
        effect=change,
        base_count=counts[0],
        candidate_count=counts[1],
        sufficient=min(counts) >= TASKS_MIN,
    )


def log_ratio(base: Mapping[str, Moments], candidate: Mapping[str, Moments], variance_min: float) -> Estimate | None:
    """Of logarithms, told in their unit: geometric means, and base times the ratio less 1 as the difference.

    The ratio's interval and p are Welch's (1947) on the mean difference of logarithms; the effect is that difference.
    None where no type has values in both, or a version's variance cannot be told.
    """
    means = _means(base, candidate, lambda pooled, _: max(variance_min, pooled))
    if means is None:
        return None
    before, after = means
    change, error, degrees = _welch([before], [after])
    half = student_quantile(degrees) * error
    typical = math.exp(before.value)
    return Estimate(
        base=typical,
        candidate=math.exp(after.value),
        difference=math.exp(after.value) - typical,
        interval=Interval(typical * math.expm1(change - half), typical * math.expm1(change + half)),
        p_value=student_p_value(change / error, degrees),
        effect=change,
        base_count=before.count,
        candidate_count=after.count,
        sufficient=_sufficient(before, after),
    )


def judged_difference(
    base: Mapping[str, Mapping[str, Moments]], candidate: Mapping[str, Mapping[str, Moments]]
) -> Estimate | None:
    """Of judgements 0 to 1, by name and task type: the mean over the names that both versions have.

    Names judge the same tasks, so their errors are added as if they were one. None as for `log_ratio`.
    """
    found = [_means(base[name], candidate[name], _with_binary) for name in candidate if name in base]
    pairs = [pair for pair in found if pair is not None]
    if not pairs:
        return None
    before, after = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    change, error, degrees = _welch(before, after)
    half = student_quantile(degrees) * error
    means = [math.fsum(item.value for item in side) / len(pairs) for side in (before, after)]
    return Estimate(
        base=means[0],
        candidate=means[1],
        difference=change,
        interval=Interval(max(-1.0, change - half), min(1.0, change + half)),
        p_value=student_p_value(change / error, degrees),
        effect=change,
        base_count=sum(item.count for item in before),
        candidate_count=sum(item.count for item in after),
        sufficient=all(_sufficient(*pair) for pair in pairs),
    )


def _mix(counts: Mapping[str, int]) -> dict[str, float]:
    total = sum(counts.values())
    return {name: count / total for name, count in counts.items() if count}


def _sufficient(before: _Mean, after: _Mean) -> bool:
    return min(before.count, after.count) >= TASKS_MIN and min(before.degrees, after.degrees) >= DEGREES_MIN


def _with_binary(pooled: float, values: Moments) -> float:
    """One degree of freedom of binary variance more: a few equal judgements are no certainty."""
    mean = (values.total + 0.5) / (values.count + 1)
    return (pooled * (values.count - 1) + mean * (1 - mean)) / values.count


def _means(
    base: Mapping[str, Moments], candidate: Mapping[str, Moments], guarded: Callable[[float, Moments], float]
) -> tuple[_Mean, _Mean] | None:
    """Both versions' means over the types that both have values of; None where one's variance cannot be told."""
    mix = _mix({name: values.count for name, values in candidate.items() if name in base and base[name].count})
    before, after = ({name: side[name] for name in mix} for side in (base, candidate))
    if not all(any(values.count > 1 for values in side.values()) for side in (before, after)):
        return None
    return _mean(before, mix, guarded), _mean(after, mix, guarded)


def _mean(side: Mapping[str, Moments], mix: Mapping[str, float], guarded: Callable[[float, Moments], float]) -> _Mean:
    degrees = sum(values.count - 1 for values in side.values())
    pooled = math.fsum(values.variance * (values.count - 1) for values in side.values()) / degrees
    common = guarded(pooled, sum(side.values(), Moments()))
    variances = {
        name: (values.variance * (values.count - 1) + PRIOR_DEGREES * common) / (values.count - 1 + PRIOR_DEGREES)
        for name, values in side.items()
    }
    return _Mean(
        value=math.fsum(weight * side[name].mean for name, weight in mix.items()),
        variance=math.fsum(weight * weight * variances[name] / side[name].count for name, weight in mix.items()),
        degrees=degrees,
        count=sum(values.count for values in side.values()),
    )


def _welch(before: list[_Mean], after: list[_Mean]) -> tuple[float, float, float]:
    """The mean difference, its standard error and degrees of freedom; several means are taken to err as one."""
    change = math.fsum(new.value - old.value for old, new in zip(before, after, strict=True)) / len(after)
    errors = [(math.fsum(math.sqrt(item.variance) for item in side) / len(side)) ** 2 for side in (before, after)]
    degrees = [min(item.degrees for item in side) for side in (before, after)]
    welch = sum(errors) ** 2 / sum(error * error / free for error, free in zip(errors, degrees, strict=True))
    return change, math.sqrt(sum(errors)), welch
