"""Efficiency: against whom, and by how much."""

import math

import pytest
from hypothesis import given

from agent_tracer.server.domain.ace.effect_size import Sample, common_language, less_than_reference
from agent_tracer.server.domain.ace.efficiency import efficiency
from agent_tracer.server.domain.ace.scores import AgentMetrics, Component, Dimension
from agent_tracer.server.domain.task_sums import Moments, TaskSums
from tests.fixtures.task_sums import histories, task, tasks

NOTHING_GIVEN = AgentMetrics()


def named(found: Dimension) -> dict[str, Component]:
    return {item.name: item for item in found.components}


def test_the_effect_size_is_that_of_mcgraw_and_wongs_example() -> None:
    # Heights in inches of young adults: 64.3 (2.6) and 69.7 (2.8); a man is taller than a woman in 92 of 100 pairs.
    women, men = Sample(64.3, 1000, 2.6**2, 999), Sample(69.7, 1000, 2.8**2, 999)
    assert common_language(women, men).value == pytest.approx(0.92, abs=0.005)


def test_on_par_is_one_half_and_the_interval_is_even() -> None:
    logs = Moments.of([1.0, 2.0, 3.0, 4.0])
    part = less_than_reference({"a": logs}, {"a": logs})
    assert part is not None
    assert part.value == 0.5
    assert part.interval.lower + part.interval.upper == pytest.approx(1)


def test_half_the_time_of_peers_scores_high_and_twice_the_time_as_low() -> None:
    peers = tasks(40, 0, duration_ms=1000.0)
    fast = named(efficiency(tasks(40, 0, duration_ms=500.0), peers, [], NOTHING_GIVEN))["duration_vs_peers"]
    slow = named(efficiency(tasks(40, 0, duration_ms=2000.0), peers, [], NOTHING_GIVEN))["duration_vs_peers"]
    assert fast.value > 0.95
    assert fast.value + slow.value == pytest.approx(1)


def test_a_steady_agent_a_little_slower_than_steady_peers_is_near_par() -> None:
    peers = tasks(40, 0, duration_ms=1000.0)
    slower = named(efficiency(tasks(40, 0, duration_ms=1050.0), peers, [], NOTHING_GIVEN))["duration_vs_peers"]
    assert 0.4 < slower.value < 0.5


def test_a_slow_task_type_does_not_punish_its_agent() -> None:
    peers = tasks(90, 0, "quick", duration_ms=100.0) + tasks(10, 0, "slow", duration_ms=60_000.0)
    own = tasks(7, 0, "quick", duration_ms=100.0) + tasks(70, 0, "slow", duration_ms=60_000.0)
    assert named(efficiency(own, peers, [], NOTHING_GIVEN))["duration_vs_peers"].value == pytest.approx(0.5, abs=0.1)


def test_failures_are_not_fast_tasks() -> None:
    own = tasks(20, 0, duration_ms=1000.0) + [task(success=False, duration_ms=1.0) for _ in range(200)]
    assert named(efficiency(own, tasks(20, 0, duration_ms=1000.0), [], NOTHING_GIVEN))[
        "duration_vs_peers"
    ].value == pytest.approx(0.5)


def test_an_agent_without_peers_is_held_against_its_earlier_period_and_told_so() -> None:
    found = efficiency(tasks(20, 0), tasks(20, 0, "other"), tasks(20, 0, duration_ms=3000.0), NOTHING_GIVEN)
    assert set(named(found)) == {"duration_vs_earlier"}
    assert any("earlier period" in caveat for caveat in found.caveats)


def test_without_any_yardstick_it_is_absent_and_told_so() -> None:
    found = efficiency(tasks(20, 0), [], [], NOTHING_GIVEN)
    assert found.part is None
    assert "neither peers nor an earlier period" in found.caveats[0]


def test_all_failures_leave_it_absent() -> None:
    found = efficiency(tasks(0, 20), tasks(20, 0), [], NOTHING_GIVEN)
    assert found.part is None
    assert "no successful task" in found.caveats[0]


def test_types_that_peers_lack_are_left_out_with_their_number() -> None:
    found = efficiency(tasks(20, 0) + tasks(7, 0, "rare"), tasks(20, 0), [], NOTHING_GIVEN)
    assert named(found)["duration_vs_peers"].sample_size == 20
    assert any("7 of 27" in caveat for caveat in found.caveats)


def test_unpriced_tasks_are_told_with_their_number() -> None:
    own = tasks(20, 0, cost=0.01) + tasks(5, 0)
    found = efficiency(own, tasks(30, 0, cost=0.02), [], NOTHING_GIVEN)
    assert named(found)["cost_vs_peers"].sample_size == 20
    assert any("5 of 25 successful tasks" in caveat for caveat in found.caveats)


@pytest.mark.parametrize("own", [[task()], [task(duration_ms=0.0)] * 30, [task(cost=0.0)] * 30, [task()] * 2])
def test_single_equal_and_zero_figures_give_numbers_or_nothing(own: list[TaskSums]) -> None:
    for peers in ([task()], tasks(1, 0, cost=0.0), tasks(30, 0, cost=0.1), [task(cost=0.0)] * 30):
        found = efficiency(own, peers, [], NOTHING_GIVEN)
        figures = [(item.value, item.interval.lower, item.interval.upper) for item in found.components]
        assert all(0 <= lower <= value <= upper <= 1 for value, lower, upper in figures)
        assert found.components or found.caveats


@given(histories(0), histories(0), histories(0))
def test_any_history_gives_numbers_within_their_intervals_or_nothing(
    own: list[TaskSums], peers: list[TaskSums], earlier: list[TaskSums]
) -> None:
    for item in efficiency(own, peers, earlier, NOTHING_GIVEN).components:
        assert 0 <= item.interval.lower <= item.value + 1e-9 <= item.interval.upper + 2e-9 <= 1 + 1e-8


def test_the_callers_mean_duration_takes_the_place_of_the_traced() -> None:
    peers = tasks(30, 0, duration_ms=1000.0)
    mean = math.fsum(bucket.durations_ms.total for bucket in peers) / 30
    found = named(efficiency([], peers, [], AgentMetrics(tasks_completed=100, avg_duration=mean)))["duration_vs_peers"]
    assert found.value == pytest.approx(0.5, abs=0.01)
    assert (found.source, found.sample_size) == ("request", 100)
    slow = efficiency(tasks(9, 0, duration_ms=10.0), peers, [], AgentMetrics(avg_duration=5000.0))
    assert named(slow)["duration_vs_peers"].value < 0.01


def test_a_mean_duration_of_nobody_knows_how_many_tasks_says_so() -> None:
    found = efficiency([], tasks(30, 0), [], AgentMetrics(avg_duration=1000.0))
    assert any("without a number of tasks" in caveat for caveat in found.caveats)
