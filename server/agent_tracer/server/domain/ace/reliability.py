"""Does the agent succeed, all the time, without second tries, in a time that can be told beforehand?"""

import math
from collections.abc import Callable, Sequence
from typing import Final

from agent_tracer.server.domain.ace.scores import (
    RELIABILITY,
    REQUEST,
    SUCCESS_RATE,
    TRACES,
    AgentMetrics,
    Component,
    Dimension,
    dimension,
)
from agent_tracer.server.domain.ace.totals import by_type, count, within
from agent_tracer.server.domain.statistics.combine import Part, share, weighted_mean
from agent_tracer.server.domain.statistics.intervals import Interval, variance_interval
from agent_tracer.server.domain.task_sums import TaskSums

SUCCESS_FLOOR: Final = "success_floor"
DURATION_STABILITY: Final = "duration_stability"
NO_RETRIES: Final = "no_retries"
NO_TIMEOUTS: Final = "no_timeouts"

WEIGHTS: Final = {SUCCESS_RATE: 0.6, SUCCESS_FLOOR: 0.1, DURATION_STABILITY: 0.1, NO_RETRIES: 0.1, NO_TIMEOUTS: 0.1}
"""Success counts most; what disturbs only whoever waits or pays shares the rest. Those absent are left out."""

STRETCHES: Final = 4
"""Stretches of equal time whose worst is the success floor: enough to find a bad night in a day, each with tasks."""

FLOOR_PRIOR_TASKS: Final = 30
"""Tasks at the overall rate that are added to each stretch, so that a few failures in a row are no bad stretch."""

STABILITY_DEGREES_MIN: Final = 9
"""A variance of fewer degrees of freedom may be wrong by a factor of four: then stability is not told."""

STABLE_FACTOR: Final = 2.0
"""A duration counts as usual from half to double the typical one of its task type."""


def reliability(tasks: Sequence[TaskSums], metrics: AgentMetrics) -> Dimension:
    """The weighted mean of the components that there is evidence for, by WEIGHTS; absent without tasks.

    Turning failures into successes (with durations, retries and the time as they are, timeouts the same or fewer)
    never lowers it. Adding a success to a bucket that exists never lowers it either, where the task was not tried
    again, took its type's geometric mean time, and was not the one that gave duration_stability enough tasks.
    """
    success = success_rate(tasks, metrics)
    held = [] if success is None else [success]
    traced = count(tasks)
    if traced:
        held += [item for item in (_floor(tasks), _stability(tasks)) if item is not None]
        held.append(_component(NO_RETRIES, _share_without(tasks, lambda bucket: bucket.retried), traced))
        held.append(_component(NO_TIMEOUTS, _share_without(tasks, lambda bucket: bucket.timeouts), traced))
    return dimension(held, _correlations([item.name for item in held], tasks))


def success_rate(tasks: Sequence[TaskSums], metrics: AgentMetrics) -> Component | None:
    """Successful tasks over all, with Wilson's interval; the caller's counts, where given, instead of the traced."""
    traced = count(tasks)
    given = metrics.tasks_completed is not None or metrics.tasks_successful is not None
    total = traced if metrics.tasks_completed is None else metrics.tasks_completed
    successes = metrics.tasks_successful
    if successes is None and (traced or not given):
        successes = sum(bucket.successes for bucket in tasks)
    if successes is None or not total:
        return None
    return _component(SUCCESS_RATE, share(successes, total), total, REQUEST if given else TRACES)


def _component(name: str, part: Part, size: int, source: str = TRACES) -> Component:
    return Component(RELIABILITY, name, part.value, part.interval, WEIGHTS[name], size, source)


def _share_without(tasks: Sequence[TaskSums], counted: Callable[[TaskSums], int]) -> Part:
    total = count(tasks)
    return share(max(0, total - sum(map(counted, tasks))), total)


def _stretches(tasks: Sequence[TaskSums]) -> list[tuple[int, int]]:
    """Successes and tasks of each stretch of time that has any; bounds depend on the buckets' starts alone."""
    starts = [bucket.start_ns for bucket in tasks if bucket.tasks]
    first, span = min(starts), max(starts) - min(starts)
    held: dict[int, tuple[int, int]] = {}
    for bucket in tasks:
        if bucket.tasks:
            place = min(STRETCHES - 1, (bucket.start_ns - first) * STRETCHES // span) if span else 0
            successes, total = held.get(place, (0, 0))
            held[place] = successes + bucket.successes, total + bucket.tasks
    return list(held.values())


def _smoothed(successes: int, total: int, overall: float) -> float:
    return (successes + FLOOR_PRIOR_TASKS * overall) / (total + FLOOR_PRIOR_TASKS)


def _worst(tasks: Sequence[TaskSums]) -> tuple[int, int]:
    overall = sum(bucket.successes for bucket in tasks) / count(tasks)
    return min(_stretches(tasks), key=lambda stretch: _smoothed(stretch[0], stretch[1], overall))


def _floor(tasks: Sequence[TaskSums]) -> Component | None:
    """The smoothed success rate of the worst stretch; absent where all tasks lie in one."""
    if len(_stretches(tasks)) == 1:
        return None
    total = count(tasks)
    successes, size = _worst(tasks)
    worst = share(successes, size)
    overall = share(sum(bucket.successes for bucket in tasks), total)
    parts = [
        Part(worst.value, worst.interval, size),
        Part(overall.value, overall.interval, FLOOR_PRIOR_TASKS),
    ]
    # A part of a sample correlates with the whole as the root of its share.
    return _component(SUCCESS_FLOOR, weighted_mean(parts, lambda *_: math.sqrt(size / total)), total)


def _stability(tasks: Sequence[TaskSums]) -> Component | None:
    """The share of tasks whose duration is usual for their type, if durations are log-normal."""
    variance, degrees = within({name: total.log_durations for name, total in by_type(tasks).items()})
    if degrees < STABILITY_DEGREES_MIN:
        return None
    interval = variance_interval(variance, degrees)
    part = Part(_usual(variance), Interval(_usual(interval.upper), _usual(interval.lower)))
    return _component(DURATION_STABILITY, part, count(tasks))


def _usual(variance: float) -> float:
    return math.erf(math.log(STABLE_FACTOR) / math.sqrt(2 * variance)) if variance > 0 else 1.0


def _correlations(names: Sequence[str], tasks: Sequence[TaskSums]) -> Callable[[int, int], float]:
    """Of the components with the success rate, on which several stand; others share too little to count."""
    with_success = {SUCCESS_RATE: 1.0}
    if SUCCESS_FLOOR in names:
        with_success[SUCCESS_FLOOR] = _floor_correlation(tasks)
    if NO_TIMEOUTS in names:
        with_success[NO_TIMEOUTS] = _timeout_correlation(tasks)
    return lambda first, second: with_success.get(names[first], 0.0) * with_success.get(names[second], 0.0)


def _floor_correlation(tasks: Sequence[TaskSums]) -> float:
    """Of a x worst + (1 - a) x overall with overall, the worst stretch being a part of the whole."""
    total, size = count(tasks), _worst(tasks)[1]
    weight = size / (size + FLOOR_PRIOR_TASKS)
    return math.sqrt(1 / total) / math.sqrt(weight * weight / size + (1 - weight * weight) / total)


def _timeout_correlation(tasks: Sequence[TaskSums]) -> float:
    """Of success and no timeout, which every success has."""
    total = count(tasks)
    succeeded = sum(bucket.successes for bucket in tasks) / total
    timed_out = sum(bucket.timeouts for bucket in tasks) / total
    failed = (1 - succeeded) * (1 - timed_out)
    return math.sqrt(min(1.0, succeeded * timed_out / failed)) if failed > 0 else 0.0
