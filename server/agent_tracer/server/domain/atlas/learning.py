"""Whether an agent learns: its first tasks against its last ones, trends, the curve between, and when it changed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agent_tracer.server.domain.atlas.change_points import ChangePoint, KnownChange, change_points
from agent_tracer.server.domain.atlas.insights import insights
from agent_tracer.server.domain.atlas.series import COMPARED, MOMENTS, Measure, Point, merged, series, slots
from agent_tracer.server.domain.atlas.trends import Trend, dispersion, trend
from agent_tracer.server.domain.atlas.windows import (
    Compared,
    TaskWindow,
    compared,
    held_constant,
    thirds,
    window,
)
from agent_tracer.server.domain.statistics.intervals import wilson
from agent_tracer.server.domain.task_sums import TaskSums

TASKS_MIN: Final = 20
"""Tasks below which no verdict is given: of six in each window even a doubled success rate may be chance."""

CURVE_POINTS_MAX: Final = 100
"""What a chart shows."""

TREND_POINTS_MAX: Final = 60
"""Points of a trend: it gains nothing from more, and looks at each pair of them."""

SUPPORT_POINTS_MIN: Final = 10
SUPPORT_P_VALUE: Final = 0.2
"""A difference between the first and the last third shows as a trend too, with so many points; if not, it is chance."""

FLOORS: Final = {Measure.SUCCESS: 0.01, Measure.DURATION: 0.02, Measure.COST: 0.02}
"""Changes below these, of the share or relative, matter to nobody however many tasks make them certain."""

BETTER: Final = {Measure.SUCCESS: "up", Measure.DURATION: "down", Measure.COST: "down"}

_DAY_NS: Final = 86_400 * 1_000_000_000

IMPROVING, STABLE, REGRESSING, INSUFFICIENT = "improving", "stable", "regressing", "insufficient_data"


@dataclass(frozen=True, slots=True)
class LearningPoint:
    """As LearningPoint of the API: milliseconds, shares, US dollars; success with its 95 % interval."""

    bucket_start_ns: int
    task_count: int
    avg_duration: float
    success_rate: float
    success_lower: float
    success_upper: float
    avg_cost: float | None


@dataclass(frozen=True, slots=True)
class LearningResult:
    """As LearningAnalysis of the API; windows are None without tasks, a trend where nothing of its measure is known."""

    improvement_rate: float = 0.0
    initial: TaskWindow | None = None
    current: TaskWindow | None = None
    verdict: str = INSUFFICIENT
    duration_trend: Trend | None = None
    success_trend: Trend | None = None
    cost_trend: Trend | None = None
    curve: Sequence[LearningPoint] = ()
    change_points: Sequence[ChangePoint] = ()
    insights: Sequence[str] = ()
    caveats: Sequence[str] = ()


def analyze_learning(
    buckets: Iterable[TaskSums], changes: Sequence[KnownChange] = (), bucket_ns: int = 0
) -> LearningResult:
    """How the tasks of the buckets, in any order, changed over time. `bucket_ns`: how long a bucket lasts.

    Initial and current are the first and the last third of the tasks, in whole buckets. Verdict: success decides where
    it changed; else duration and cost, of which neither may have become worse for "improving". A measure has changed
    where its interval, over types of tasks that both windows have, excludes no change, the change is above FLOORS, and
    its trend supports it. On tasks in random order "improving" is said in 5 % of the cases at most.
    """
    points = slots(buckets)
    if not points:
        return LearningResult(caveats=("There are no tasks in the period.",))
    curve = [_on_curve(point) for point in merged(points, CURVE_POINTS_MAX)]
    if len(points) == 1:
        whole = window(points[0], bucket_ns)
        caveat = "All tasks fall into one moment: there is no time in which anything could have changed."
        return LearningResult(initial=whole, current=whole, curve=curve, caveats=(caveat,))
    return _over_time(points, curve, changes, bucket_ns)


def _over_time(
    points: Sequence[Point], curve: Sequence[LearningPoint], changes: Sequence[KnownChange], bucket_ns: int
) -> LearningResult:
    coarse = merged(points, TREND_POINTS_MAX)
    followed = {measure: series(coarse, MOMENTS[measure]) for measure in Measure}
    trends = {measure: trend(found) for measure, found in followed.items() if found.values}
    widening = {measure: dispersion(series(coarse, COMPARED[measure])) for measure in Measure}
    first, last = thirds(points)
    results = {measure: compared(measure, first, last, widening[measure]) for measure in Measure}
    compared_ones = {measure: result for measure, result in results.items() if result is not None}
    stepped = [step for measure in Measure for step in change_points(measure, followed[measure], changes)]
    stepped.sort(key=lambda step: (step.time_ns, step.measure))
    tasks = sum(point.tasks for point in points)
    verdict = _verdict(compared_ones, trends) if tasks >= TASKS_MIN and compared_ones else INSUFFICIENT
    return LearningResult(
        improvement_rate=_improvement(compared_ones.get(Measure.DURATION)),
        initial=window(first, bucket_ns),
        current=window(last, bucket_ns),
        verdict=verdict,
        duration_trend=trends.get(Measure.DURATION),
        success_trend=trends.get(Measure.SUCCESS),
        cost_trend=trends.get(Measure.COST),
        curve=curve,
        change_points=stepped,
        insights=insights(compared_ones, trends, stepped, (points[-1].time_ns - points[0].time_ns) / _DAY_NS),
        caveats=_caveats(points, (first, last), widening),
    )


def _improvement(duration: Compared | None) -> float:
    if duration is None or duration.before <= 0:
        return 0.0
    return (duration.before - duration.after) / duration.before


def _verdict(results: Mapping[Measure, Compared], trends: Mapping[Measure, Trend]) -> str:
    changed = {measure: _changed(result, trends.get(measure)) for measure, result in results.items()}
    success = changed.get(Measure.SUCCESS, 0)
    if success:
        return IMPROVING if success > 0 else REGRESSING
    others = changed.get(Measure.DURATION, 0), changed.get(Measure.COST, 0)
    if max(others) > 0 and min(others) >= 0:
        return IMPROVING
    return REGRESSING if min(others) < 0 and max(others) <= 0 else STABLE


def _changed(result: Compared, found: Trend | None) -> int:
    """1 for the better, -1 for the worse, 0 where that is not sure or too little to matter."""
    if result.measure is Measure.SUCCESS:
        size = abs(result.after - result.before)
    else:
        size = abs(result.after - result.before) / result.before if result.before > 0 else 0.0
    if 0 in result.change or size < FLOORS[result.measure]:
        return 0
    direction = "up" if result.change.lower > 0 else "down"
    same_way = (result.after > result.before) == (direction == "up")
    if not same_way or not _supports(found, direction):
        return 0
    return 1 if direction == BETTER[result.measure] else -1


def _supports(found: Trend | None, direction: str) -> bool:
    """Whether the trend goes the same way; one over too few points to tell contradicts at most."""
    if found is None or found.sample_size < SUPPORT_POINTS_MIN:
        return found is None or found.direction in {"none", direction}
    opposite = found.slope_per_day < 0 if direction == "up" else found.slope_per_day > 0
    return found.p_value < SUPPORT_P_VALUE and not opposite


def _on_curve(point: Point) -> LearningPoint:
    plain = window(point, 0)
    interval = wilson(point.all.successes, plain.task_count)
    return LearningPoint(
        point.start_ns,
        plain.task_count,
        plain.avg_duration,
        plain.success_rate,
        interval.lower,
        interval.upper,
        plain.avg_cost,
    )


def _caveats(points: Sequence[Point], both: tuple[Point, Point], widening: Mapping[Measure, float]) -> list[str]:
    tasks = sum(point.tasks for point in points)
    priced = sum(point.all.costs.count for point in points)
    common = held_constant(*both)
    too_few = f"{tasks} tasks are too few for a verdict; it needs {TASKS_MIN}."
    mix = (
        f"The mix of task types was held constant only over the {100 * common:.0f} % of the tasks whose type occurs "
        "both at the start and at the end."
    )
    unpriced = f"Costs are those of the {priced} of {tasks} tasks all of whose calls have a price."
    alike = "Tasks close in time resemble each other, so that they count for fewer than they are."
    rules = (
        (tasks < TASKS_MIN, too_few),
        (common < 1, mix),
        (0 < priced < tasks, unpriced),
        (max(widening.values()) > 1, alike),
    )
    return [text for holds, text in rules if holds]
