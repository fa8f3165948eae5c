"""Verdicts on versions: found where there is something, not made where there is nothing."""

import math

import pytest
from hypothesis import given

from agent_tracer.server.domain.ace.comparison import (
    VersionComparison,
    compare_versions,
    look_alpha,
)
from agent_tracer.server.domain.ace.estimates import Estimate
from agent_tracer.server.domain.statistics.combine import difference, share
from agent_tracer.server.domain.task_sums import Moments, QualitySums, TaskSums
from tests.evaluation.ace_verdicts import drop_of_ten_points, same_version, shifted_mix, verdict_rate
from tests.fixtures.task_sums import histories, tasks


def told(found: VersionComparison) -> dict[str, str]:
    return {item.measure: item.verdict for item in found.measures}


def estimate(found: VersionComparison, measure: str) -> Estimate:
    return next(item.estimate for item in found.measures if item.measure == measure)


def judged(*scores: float, name: str = "correct") -> list[QualitySums]:
    return [QualitySums(name, "answer", 0, Moments.of(scores))]


def test_one_task_type_gives_newcombes_interval() -> None:
    held = estimate(compare_versions(tasks(48, 32), tasks(56, 14)), "success_rate")
    expected = difference(share(56, 70), share(48, 80))
    assert (held.interval.lower, held.interval.upper) == pytest.approx((expected.lower, expected.upper))
    assert (held.base, held.candidate, held.difference) == pytest.approx((0.6, 0.8, 0.2))
    assert (held.base_count, held.candidate_count) == (80, 70)


def test_a_clear_drop_in_success_is_worse() -> None:
    found = compare_versions(tasks(180, 20), tasks(140, 60))
    assert (found.verdict, told(found)["success_rate"]) == ("worse", "worse")


def test_a_faster_candidate_is_better_and_told_in_milliseconds() -> None:
    found = compare_versions(tasks(70, 0, duration_ms=1000.0), tasks(70, 0, duration_ms=800.0))
    held = estimate(found, "duration")
    assert (found.verdict, told(found)["duration"]) == ("better", "better")
    assert held.base == pytest.approx(1000 * 1.02**3)
    assert held.difference == pytest.approx(-0.2 * held.base)
    assert held.interval.lower < held.difference < held.interval.upper < 0


def test_better_and_dearer_is_mixed() -> None:
    found = compare_versions(tasks(70, 70, cost=0.01), tasks(130, 10, cost=0.02))
    assert found.verdict == "mixed"
    assert (told(found)["success_rate"], told(found)["cost"]) == ("better", "worse")


def test_what_is_certain_but_too_small_to_matter_is_no_difference() -> None:
    million = TaskSums("answer", 0, 1_000_000, 900_000)
    found = compare_versions([million], [TaskSums("answer", 0, 1_000_000, 905_000)])
    assert estimate(found, "success_rate").p_value < 1e-9
    assert found.verdict == "no_difference"


def test_no_difference_says_what_it_cannot_rule_out() -> None:
    found = compare_versions(tasks(15, 15), tasks(14, 16))
    assert any("success_rate: a difference from" in caveat for caveat in found.caveats)


def test_few_tasks_are_insufficient_with_their_numbers() -> None:
    found = compare_versions(tasks(4, 0), tasks(0, 4))
    assert found.verdict == "insufficient_data"
    assert any("4 of the base and 4 of the candidate" in caveat for caveat in found.caveats)


@pytest.mark.parametrize(("base", "candidate"), [([], []), (tasks(20, 0), []), (tasks(20, 0), tasks(20, 0, "code"))])
def test_nothing_in_common_is_insufficient(base: list[TaskSums], candidate: list[TaskSums]) -> None:
    found = compare_versions(base, candidate)
    assert (found.verdict, found.measures) == ("insufficient_data", ())
    assert "no task type in common" in found.caveats[0]


def test_task_types_of_one_version_are_left_out_and_told() -> None:
    found = compare_versions(tasks(20, 20), tasks(20, 20) + tasks(0, 200, "hard"))
    assert estimate(found, "success_rate").difference == 0
    assert any("candidate" in caveat and "'hard'" in caveat for caveat in found.caveats)


def test_the_mix_is_the_candidates() -> None:
    base = tasks(90, 10, "easy") + tasks(1, 9, "hard")
    candidate = tasks(9, 1, "easy") + tasks(10, 90, "hard")
    held = estimate(compare_versions(base, candidate), "success_rate")
    assert held.base == pytest.approx(held.candidate)


def test_judgements_decide_quality() -> None:
    base, candidate = judged(*[0.4, 0.5, 0.6] * 20), judged(*[0.7, 0.8, 0.9] * 20)
    found = compare_versions(tasks(60, 0), tasks(60, 0), base_judged=base, candidate_judged=candidate)
    assert told(found)["quality"] == "better"
    assert estimate(found, "quality").difference == pytest.approx(0.3)


def test_equal_judgements_are_compared_without_dividing_by_nothing() -> None:
    same = judged(*[1.0] * 30)
    held = estimate(compare_versions(tasks(30, 0), tasks(30, 0), base_judged=same, candidate_judged=same), "quality")
    assert held.difference == 0
    assert held.p_value == pytest.approx(1)


def test_names_that_only_one_version_was_judged_by_are_left_out() -> None:
    found = compare_versions(
        tasks(30, 0), tasks(30, 0), base_judged=judged(*[0.5] * 20), candidate_judged=judged(*[0.9] * 20, name="tone")
    )
    assert "quality" not in told(found)


def test_all_looks_together_spend_no_more_than_a_twentieth() -> None:
    assert look_alpha(1) == 0.04
    assert look_alpha(2) == 0.005
    assert math.fsum(map(look_alpha, range(1, 200))) <= 0.05 + 1e-12
    with pytest.raises(ValueError, match="counted from 1"):
        look_alpha(0)


def test_a_later_look_asks_for_more_and_says_so() -> None:
    base, candidate = tasks(140, 60), tasks(118, 82)
    assert compare_versions(base, candidate).verdict == "worse"
    later = compare_versions(base, candidate, look=4)
    assert later.verdict == "no_difference"
    assert any(caveat.startswith("look 4") for caveat in later.caveats)


@given(histories(0), histories(0))
def test_any_histories_give_finite_figures_within_their_intervals(
    base: list[TaskSums], candidate: list[TaskSums]
) -> None:
    for item in compare_versions(base, candidate).measures:
        held = item.estimate
        figures = (held.base, held.candidate, held.difference, held.interval.lower, held.interval.upper)
        assert 0 <= held.p_value <= 1 + 1e-9
        assert all(not math.isnan(figure) for figure in figures)
        assert held.interval.lower <= held.difference + 1e-9 * abs(held.difference)
        assert held.difference - 1e-9 * abs(held.difference) <= held.interval.upper


def test_verdicts_come_by_chance_in_at_most_a_twentieth() -> None:
    # At a rate of .04, 600 pairs stay under .06 but for 1 in 100 seeds; make eval runs more.
    assert verdict_rate(600, 5, same_version) <= 0.06


def test_a_shift_of_the_mix_of_task_types_alone_is_no_verdict() -> None:
    assert verdict_rate(400, 5, shifted_mix) <= 0.063


def test_a_drop_of_ten_points_is_found_in_400_tasks_a_side() -> None:
    # At a rate of .82, 400 pairs stay above .775 but for 1 in 100 seeds.
    assert verdict_rate(400, 5, drop_of_ten_points, frozenset({"worse"})) >= 0.775
