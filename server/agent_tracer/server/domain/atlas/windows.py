"""The first tasks of a period against its last ones, with the mix of task types held constant.

Sources: direct standardisation to the pooled mix; Newcombe 1998 (method 10) for a difference of shares, its strata
combined as by Zou, Donner 2008 (MOVER); Welch's t for means. Intervals are widened by trends.dispersion.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agent_tracer.server.domain.atlas.series import COMPARED, MOMENTS, Measure, Point, Tally, positions, union
from agent_tracer.server.domain.statistics.intervals import Interval, student_quantile, wilson
from agent_tracer.server.domain.task_sums import Moments

CONFIDENCES: Final = {Measure.SUCCESS: 0.96, Measure.DURATION: 0.98, Measure.COST: 0.98}
"""Of each measure's interval. An improvement that is none lies beyond one end of it, in half of the rest: 2 % and
twice 1 % stay below 5 % in all; success, which counts first, has the most."""

TASKS_MIN: Final = 2
"""Of a type and window, for a variance."""


@dataclass(frozen=True, slots=True)
class TaskWindow:
    """As TaskWindow of the API: plain figures of the window's tasks. Milliseconds, US dollars, Unix time."""

    avg_duration: float
    success_rate: float
    task_count: int
    avg_cost: float | None
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class Compared:
    """A measure in both windows, and the interval of its change on the scale on which it is tested.

    `before` and `after` are standardised means in the measure's unit. `change` is of a share for success, of the
    logarithm for duration, relative to `before` for cost.
    """

    measure: Measure
    before: float
    after: float
    change: Interval


def thirds(points: Sequence[Point]) -> tuple[Point, Point]:
    """The first and the last third of the tasks, in whole points; at least one point each. Takes two or more."""
    placed = list(zip(positions(points), points, strict=True))
    first = [point for position, point in placed if position < 1 / 3] or [points[0]]
    last = [point for position, point in placed if position > 2 / 3] or [points[-1]]
    return union(first), union(last)


def window(point: Point, bucket_ns: int) -> TaskWindow:
    """The window's own figures, not standardised."""
    tally = point.all
    return TaskWindow(
        tally.durations.mean if tally.durations.count else 0.0,
        tally.successes / tally.tasks,
        tally.tasks,
        tally.costs.mean if tally.costs.count else None,
        point.start_ns,
        point.last_ns + bucket_ns,
    )


def compared(measure: Measure, first: Point, last: Point, widening: float) -> Compared | None:
    """None where no type of task has enough of them in both windows. `widening` is a factor of variances."""
    pairs = _pairs(COMPARED[measure], first, last)
    if not pairs:
        return None
    own = _pairs(MOMENTS[measure], first, last)
    before, after = (sum(w * pair[side].mean for w, pair in own) for side in (0, 1))
    test = _shares if measure is Measure.SUCCESS else _means
    change = test(pairs, widening, CONFIDENCES[measure])
    if measure is Measure.COST:
        change = Interval(change.lower / before, change.upper / before) if before > 0 else Interval(0.0, 0.0)
    return Compared(measure, before, after, change)


def _pairs(
    moments: Callable[[Tally], Moments], first: Point, last: Point
) -> list[tuple[float, tuple[Moments, Moments]]]:
    """Per type: its share of the tasks of both windows, and its moments in each."""
    both = {
        task_type: (moments(first.types[task_type]), moments(last.types[task_type]))
        for task_type in first.types
        if task_type in last.types
    }
    held = [pair for pair in both.values() if min(pair[0].count, pair[1].count) >= TASKS_MIN]
    total = sum(one.count + other.count for one, other in held)
    return [((one.count + other.count) / total, (one, other)) for one, other in held]


Pairs = Sequence[tuple[float, tuple[Moments, Moments]]]


def _shares(pairs: Pairs, widening: float, confidence: float) -> Interval:
    change = lower = upper = 0.0
    for weight, (one, other) in pairs:
        before, after = one.mean, other.mean
        # Fewer tasks, as many as would be independent.
        at_first = wilson(one.total / widening, one.count / widening, confidence)
        at_last = wilson(other.total / widening, other.count / widening, confidence)
        change += weight * (after - before)
        lower += weight**2 * ((after - at_last.lower) ** 2 + (at_first.upper - before) ** 2)
        upper += weight**2 * ((at_last.upper - after) ** 2 + (before - at_first.lower) ** 2)
    return Interval(change - math.sqrt(lower), change + math.sqrt(upper))


def _means(pairs: Pairs, widening: float, confidence: float) -> Interval:
    change = sum(weight * (other.mean - one.mean) for weight, (one, other) in pairs)
    parts = [(weight**2 * part.variance / part.count, part.count) for weight, pair in pairs for part in pair]
    variance = sum(part for part, _ in parts)
    if variance <= 0:
        return Interval(change, change)
    degrees = variance**2 / sum(part**2 / (count - 1) for part, count in parts)
    half = student_quantile(degrees, confidence) * math.sqrt(variance * widening)
    return Interval(change - half, change + half)


def held_constant(first: Point, last: Point) -> float:
    """The share of both windows' tasks that is of types which both windows have."""
    common: Mapping[str, Tally] = {kind: tally for kind, tally in first.types.items() if kind in last.types}
    tasks = sum(tally.tasks + last.types[kind].tasks for kind, tally in common.items())
    return tasks / (first.tasks + last.tasks)
