"""Whether agents learn: recorded learning, and what must not be taken for it."""

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_tracer.server.domain.atlas.change_points import KnownChange
from agent_tracer.server.domain.atlas.learning import CURVE_POINTS_MAX, LearningResult, analyze_learning
from agent_tracer.server.domain.task_sums import DURATION_MS_MIN, Moments, TaskSums
from tests.evaluation.atlas_learning import DAY_NS, START_NS, bucket, learner, shuffled_verdicts
from tests.fixtures.recorded import recorded

REFLEXION = "reflexion-learning"


def trials(pattern: str) -> list[list[bool]]:
    paths = sorted(recorded(REFLEXION).glob(pattern))
    assert paths
    return [[env["is_success"] for env in json.loads(path.read_text())] for path in paths]


def windows(outcomes: Sequence[Sequence[bool]]) -> list[TaskSums]:
    return [TaskSums("", START_NS + day * DAY_NS, len(trial), sum(trial)) for day, trial in enumerate(outcomes)]


def single(outcomes: Sequence[Sequence[bool]]) -> list[TaskSums]:
    step = DAY_NS // 1_000
    return [
        TaskSums("", START_NS + day * DAY_NS + at * step, 1, int(success))
        for day, trial in enumerate(outcomes)
        for at, success in enumerate(trial)
    ]


@pytest.mark.parametrize("by", [windows, single])
@pytest.mark.parametrize(
    ("runs", "verdict"),
    [("dev/alfworld_runs/root/base_run_logs/*.json", "improving"), ("dev/webshop_runs/*/*.json", "stable")],
)
def test_reflexion_learns_in_alfworld_and_not_in_webshop(by: object, runs: str, verdict: str) -> None:
    outcomes = trials(runs)
    result = analyze_learning(by(outcomes))  # type: ignore[operator]
    print(f"{runs.split('/')[1]}: {[sum(trial) for trial in outcomes]} -> {result.verdict}")
    assert result.verdict == verdict


def test_a_faster_agent_improves_by_what_it_saves() -> None:
    result = analyze_learning(learner(1, 600, 30, speed_up=0.3))
    assert result.verdict == "improving"
    assert result.duration_trend
    assert result.duration_trend.direction == "down"
    assert result.improvement_rate == pytest.approx(0.2, abs=0.06)  # thirds lie two thirds of the way apart


def test_an_agent_that_fails_faster_does_not_improve() -> None:
    buckets = [
        replace(one, successes=one.successes * 4 // 5 if at >= 15 else one.successes)
        for at, one in enumerate(learner(2, 900, 30, speed_up=0.5))
    ]
    assert analyze_learning(buckets).verdict == "regressing"


def test_a_shift_to_easier_tasks_is_not_learning() -> None:
    draw = np.random.default_rng(3)
    buckets = []
    for day in range(30):
        for kind, count, ms in (("hard", 20 - day // 2, 6_000), ("easy", 5 + day // 2, 600)):
            buckets.append(bucket(kind, day, ms * draw.lognormal(0, 0.3, count), np.ones(count)))
    result = analyze_learning(buckets)
    assert result.initial
    assert result.current
    assert result.current.avg_duration < 0.8 * result.initial.avg_duration
    assert (result.verdict, result.duration_trend and result.duration_trend.direction) == ("stable", "none")
    assert abs(result.improvement_rate) < 0.1


def test_a_type_that_only_one_end_has_is_told() -> None:
    buckets = [*learner(4, 300, 30), bucket("new", 29, np.full(50, 10.0), np.ones(50))]
    assert any("held constant only over" in caveat for caveat in analyze_learning(buckets).caveats)


def test_a_change_of_level_is_dated_and_named() -> None:
    slow = learner(5, 600, 30)
    fast = [replace(one, start_ns=one.start_ns + 30 * DAY_NS) for one in learner(6, 600, 30, factor=0.5)]
    known = [KnownChange(START_NS + 30 * DAY_NS, "version 2"), KnownChange(START_NS + 3 * DAY_NS, "version 1")]
    result = analyze_learning([*slow, *fast], known)
    steps = [step for step in result.change_points if step.measure == "duration"]
    assert [step.time_ns for step in steps] == [START_NS + 30 * DAY_NS]
    assert steps[0].coincident_changes == ("version 2",)
    assert steps[0].after / steps[0].before == pytest.approx(0.5, rel=0.15)
    assert steps[0].p_value < 0.01
    assert any("version 2" in insight for insight in result.insights)


def test_shuffled_tasks_are_rarely_taken_for_learning() -> None:
    found = shuffled_verdicts(runs=100, tasks=300, buckets=20)
    print(found)
    # 5 % at most in truth: 12 or more of 100 would then come less than once in a hundred times.
    assert found["improving"] < 12


def test_cheaper_at_the_same_speed_improves_and_dearer_but_faster_is_neither() -> None:
    cheaper = learner(7, 600, 30, cost_factor=0.5)
    assert analyze_learning(cheaper).verdict == "improving"
    dearer = learner(8, 600, 30, speed_up=0.5, cost_factor=3.0)
    assert analyze_learning(dearer).verdict == "stable"


def test_no_tasks_give_no_windows() -> None:
    assert analyze_learning([]) == LearningResult(caveats=("There are no tasks in the period.",))


def test_one_task_is_insufficient_data() -> None:
    result = analyze_learning([bucket("", 0, np.array([5.0]), np.array([1.0]))])
    assert (result.verdict, result.initial, result.improvement_rate) == ("insufficient_data", result.current, 0.0)


def test_tasks_at_one_instant_have_no_before_and_after() -> None:
    result = analyze_learning([bucket("", 0, np.array([5.0]), np.array([1.0]))] * 50)
    assert result.verdict == "insufficient_data"
    assert "one moment" in result.caveats[0]


@pytest.mark.parametrize("success", [0.0, 1.0])
@pytest.mark.parametrize("milliseconds", [0.0, 250.0])
def test_tasks_that_are_all_alike_are_stable(success: float, milliseconds: float) -> None:
    buckets = [bucket("", day, np.full(5, milliseconds), np.full(5, success)) for day in range(30)]
    result = analyze_learning(buckets)
    assert (result.verdict, result.improvement_rate, result.change_points) == ("stable", 0.0, [])


def test_too_few_tasks_get_figures_but_no_verdict() -> None:
    result = analyze_learning(learner(9, 19, 19, speed_up=0.9))
    assert result.verdict == "insufficient_data"
    assert result.initial
    assert any("19 tasks are too few" in caveat for caveat in result.caveats)


def test_ten_years_are_a_curve_of_bounded_length() -> None:
    buckets = learner(10, 7_300, 3_650)
    result = analyze_learning(buckets, bucket_ns=DAY_NS)
    assert len(result.curve) == CURVE_POINTS_MAX
    assert sum(point.task_count for point in result.curve) == 7_300
    assert result.current
    assert result.current.end_ns == START_NS + 3_650 * DAY_NS


def test_a_few_prices_missing_are_told() -> None:
    buckets = learner(11, 300, 30)
    buckets[0] = replace(buckets[0], costs=Moments())
    assert any("have a price" in caveat for caveat in analyze_learning(buckets).caveats)


@st.composite
def any_buckets(draw: st.DrawFn) -> list[TaskSums]:
    def held() -> Iterator[TaskSums]:
        for _ in range(draw(st.integers(0, 12))):
            tasks = draw(st.integers(0, 20))
            durations = draw(st.lists(st.floats(0, 1e9), min_size=tasks, max_size=tasks))
            costs = draw(st.lists(st.floats(0, 1e3), max_size=tasks))
            yield TaskSums(
                draw(st.sampled_from(["a", "b"])),
                draw(st.integers(0, 400)) * DAY_NS,
                tasks,
                draw(st.integers(0, tasks)),
                durations_ms=Moments.of(durations),
                log_durations=Moments.of(math.log(max(value, DURATION_MS_MIN)) for value in durations),
                costs=Moments.of(costs),
            )

    return list(held())


@settings(deadline=None, max_examples=60)
@given(any_buckets())
def test_every_history_has_an_answer_of_finite_numbers(buckets: list[TaskSums]) -> None:
    result = analyze_learning(buckets)
    assert result.verdict in {"improving", "stable", "regressing", "insufficient_data"}
    found = [trend for trend in (result.duration_trend, result.success_trend, result.cost_trend) if trend]
    numbers = [
        result.improvement_rate,
        *(value for one in found for value in (one.slope_per_day, one.slope_lower, one.slope_upper, one.p_value)),
    ]
    assert all(math.isfinite(number) for number in numbers)
    assert sum(point.task_count for point in result.curve) == sum(one.tasks for one in buckets)
    assert (
        Counter(point.success_lower <= point.success_rate <= point.success_upper for point in result.curve)[False] == 0
    )
