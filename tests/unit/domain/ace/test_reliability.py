"""Reliability: what moves it and what must not."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from agent_tracer.server.domain.ace.reliability import WEIGHTS, reliability
from agent_tracer.server.domain.ace.scores import AgentMetrics, Component, Dimension
from agent_tracer.server.domain.ace.totals import by_type
from agent_tracer.server.domain.statistics.intervals import wilson
from agent_tracer.server.domain.task_sums import Moments, TaskSums
from tests.fixtures.task_sums import histories, task, tasks

NOTHING_GIVEN = AgentMetrics()
ROUNDING = 1e-9


def value(history: Sequence[TaskSums]) -> float:
    found = reliability(history, NOTHING_GIVEN).part
    assert found is not None
    return found.value


def component(found: Dimension, name: str) -> Component:
    return next(item for item in found.components if item.name == name)


@given(histories(), st.data())
def test_turning_failures_into_successes_never_lowers_it(history: list[TaskSums], data: st.DataObject) -> None:
    better = []
    for bucket in history:
        flipped = data.draw(st.integers(0, bucket.tasks - bucket.successes))
        left = bucket.tasks - bucket.successes - flipped
        better.append(replace(bucket, successes=bucket.successes + flipped, timeouts=min(bucket.timeouts, left)))
    assert value(better) >= value(history) - ROUNDING


@given(histories(), st.data())
def test_one_more_success_of_typical_duration_never_lowers_it(history: list[TaskSums], data: st.DataObject) -> None:
    chosen = data.draw(st.integers(0, len(history) - 1))
    bucket = history[chosen]
    typical = Moments.of([by_type(history)[bucket.task_type].log_durations.mean])
    more = list(history)
    more[chosen] = replace(
        bucket,
        tasks=bucket.tasks + 1,
        successes=bucket.successes + 1,
        log_durations=bucket.log_durations + typical,
        success_log_durations=bucket.success_log_durations + typical,
    )
    names = [{item.name for item in reliability(each, NOTHING_GIVEN).components} for each in (history, more)]
    assume(names[0] == names[1])
    assert value(more) >= value(history) - ROUNDING


@given(histories())
def test_every_figure_is_from_0_to_1_within_its_interval(history: list[TaskSums]) -> None:
    found = reliability(history, NOTHING_GIVEN)
    assert found.part is not None
    figures = [(found.part.value, found.part.interval), *((item.value, item.interval) for item in found.components)]
    for figure, interval in figures:
        assert -ROUNDING <= interval.lower <= figure + ROUNDING
        assert figure - ROUNDING <= interval.upper <= 1 + ROUNDING
    assert math.fsum(item.weight for item in found.components) == pytest.approx(1)


def test_the_success_rate_has_wilsons_interval() -> None:
    found = component(reliability(tasks(81, 182), NOTHING_GIVEN), "success_rate")
    assert (found.value, found.interval, found.sample_size) == (81 / 263, wilson(81, 263), 263)


def test_a_bad_stretch_costs_more_than_the_same_failures_spread() -> None:
    bad_end = [task(hour=hour, success=hour < 300) for hour in range(400)]
    spread = [task(hour=hour, success=hour % 4 > 0) for hour in range(400)]
    assert component(reliability(bad_end, NOTHING_GIVEN), "success_floor").value < 0.2
    assert component(reliability(spread, NOTHING_GIVEN), "success_floor").value == pytest.approx(0.75)


def test_a_slow_task_type_is_not_instability() -> None:
    steady = tasks(20, 0, "answer", duration_ms=100.0) + tasks(20, 0, "code", duration_ms=60_000.0)
    assert component(reliability(steady, NOTHING_GIVEN), "duration_stability").value > 0.99


def test_too_few_tasks_for_a_variance_leave_stability_out_instead_of_guessing() -> None:
    names = {item.name for item in reliability(tasks(5, 1), NOTHING_GIVEN).components}
    assert names == {"success_rate", "success_floor", "no_retries", "no_timeouts"}


def test_retries_and_timeouts_count() -> None:
    history = [task(retried=True), task(success=False, timeout=True), task(), task()]
    found = reliability(history, NOTHING_GIVEN)
    assert component(found, "no_retries").value == 0.75
    assert component(found, "no_timeouts").value == 0.75


def test_the_callers_counts_take_the_place_of_the_traced() -> None:
    found = reliability(tasks(1, 9), AgentMetrics(tasks_completed=200, tasks_successful=150))
    rate = component(found, "success_rate")
    assert (rate.value, rate.sample_size, rate.source) == (0.75, 200, "request")
    assert component(found, "no_retries").source == "traces"


def test_the_callers_counts_alone_are_enough() -> None:
    found = reliability([], AgentMetrics(tasks_completed=4, tasks_successful=3))
    assert [(item.name, item.weight) for item in found.components] == [("success_rate", 1.0)]


def test_without_tasks_it_is_absent() -> None:
    assert reliability([], NOTHING_GIVEN) == Dimension()


def test_success_weighs_more_than_all_else() -> None:
    assert WEIGHTS["success_rate"] > 0.5
    assert math.fsum(WEIGHTS.values()) == pytest.approx(1)
