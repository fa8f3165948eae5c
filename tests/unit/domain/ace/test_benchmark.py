"""Ranks: published orders rebuilt, ties told, costs weighed."""

import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from agent_tracer.server.domain.ace.benchmark import Benchmark, benchmark
from agent_tracer.server.domain.ace.standings import Standing
from agent_tracer.server.domain.errors import NothingToScoreError
from agent_tracer.server.domain.ids import AgentId
from agent_tracer.server.domain.statistics.intervals import wilson
from agent_tracer.server.domain.task_sums import TaskSums
from tests.evaluation.ace_verdicts import rank_coverage
from tests.evaluation.published import rootcausebench, tau2
from tests.fixtures.task_sums import histories, task, tasks

A, B, C = AgentId("a"), AgentId("b"), AgentId("c")


def by_agent(found: Benchmark) -> dict[AgentId, Standing]:
    return {item.agent_id: item for item in found.standings}


def bucket(successes: int, total: int, task_type: str = "answer") -> TaskSums:
    return TaskSums(task_type, 0, total, successes)


@pytest.mark.parametrize("task_type", ["", "root cause"], ids=["by incident", "as one type"])
def test_rootcausebench_is_ranked_as_its_trials_have_it(task_type: str) -> None:
    agents, truth = rootcausebench(task_type)
    found = benchmark(agents)
    scores = [item.overall_score for item in found.standings]
    expected = [truth[item.agent_id] for item in found.standings]
    assert scipy.stats.kendalltau(scores, expected).statistic >= 0.95
    best, worst = found.standings[0], found.standings[-1]
    assert best.rank_upper < worst.rank_lower
    assert sum(item.dominated for item in found.standings) == 5


def test_tau2_is_ranked_as_published() -> None:
    agents, truth = tau2()
    domains = ("airline", "retail", "telecom")
    complete = {agent: held for agent, held in agents.items() if set(domains) <= truth[agent].keys()}
    found = benchmark(complete, domains)
    expected = [sum(truth[item.agent_id][domain] for domain in domains) / 3 for item in found.standings]
    assert len(complete) > 30
    assert scipy.stats.kendalltau([item.overall_score for item in found.standings], expected).statistic >= 0.95


def test_submissions_that_share_no_domain_are_ranked_through_others_and_told_so() -> None:
    agents, truth = tau2()
    found = benchmark(agents)
    assert any("Bradley-Terry" in caveat for caveat in found.caveats)
    assert len(found.standings) == len(agents)
    banking = [item for item in found.standings if "banking_knowledge" in truth[item.agent_id]]
    order = [item.overall_score for item in banking]
    published = [truth[item.agent_id]["banking_knowledge"] for item in banking]
    assert scipy.stats.kendalltau(order, published).statistic > 0.8


def test_rates_intervals_and_counts_are_told_by_type() -> None:
    found = by_agent(benchmark({A: [bucket(8, 10), bucket(1, 4, "code")], B: [bucket(5, 10), bucket(1, 4, "code")]}))
    held = found[A].scores["answer"]
    assert (held.score, held.interval, held.task_count, held.success_count) == (0.8, wilson(8, 10), 10, 8)
    assert found[A].overall_score == pytest.approx((0.8 + 0.25) / 2)


def test_agents_that_the_data_cannot_tell_apart_share_a_type_rank() -> None:
    found = by_agent(benchmark({A: [bucket(90, 100)], B: [bucket(88, 100)], C: [bucket(20, 100)]}))
    assert [found[agent].scores["answer"].rank for agent in (A, B, C)] == [1, 1, 3]
    assert [(found[agent].rank_lower, found[agent].rank_upper) for agent in (A, B, C)] == [(1, 2), (1, 2), (3, 3)]
    assert [found[agent].overall_rank for agent in (A, B, C)] == [1, 2, 3]


def test_equal_scores_share_the_better_rank() -> None:
    found = benchmark({A: [bucket(5, 10)], B: [bucket(50, 100)], C: [bucket(1, 10)]})
    assert [item.overall_rank for item in found.standings] == [1, 1, 3]


def test_types_not_all_have_are_left_out_of_the_overall_score_and_told() -> None:
    found = benchmark({A: [bucket(8, 10), bucket(0, 90, "hard")], B: [bucket(5, 10)]})
    assert by_agent(found)[A].overall_score == 0.8
    assert found.task_types == ("answer",)
    assert any("hard" in caveat for caveat in found.caveats)


def test_only_the_types_asked_for_are_compared() -> None:
    agents = {A: [bucket(8, 10), bucket(0, 9, "code")], B: [bucket(5, 10), bucket(9, 9, "code")]}
    assert benchmark(agents, ["code"]).standings[0].agent_id == B


def test_an_agent_without_tasks_is_left_out_and_told() -> None:
    found = benchmark({A: [bucket(8, 10)], B: []})
    assert [item.agent_id for item in found.standings] == [A]
    assert any("b" in caveat for caveat in found.caveats)
    with pytest.raises(NothingToScoreError):
        benchmark({A: [], B: []})


def test_a_worse_dearer_and_slower_agent_is_dominated_and_no_other() -> None:
    found = by_agent(
        benchmark(
            {
                A: tasks(9, 1, duration_ms=100.0, cost=1.0),
                B: tasks(8, 2, duration_ms=200.0, cost=2.0),
                C: tasks(1, 9, duration_ms=50.0, cost=0.5),
            }
        )
    )
    assert [found[agent].dominated for agent in (A, B, C)] == [False, True, False]
    assert found[B].cost_per_task == pytest.approx(2.0)


def test_an_unknown_price_dominates_nothing_and_is_told() -> None:
    found = benchmark({A: tasks(9, 1, duration_ms=100.0), B: tasks(8, 2, duration_ms=200.0, cost=2.0)})
    assert not any(item.dominated for item in found.standings)
    assert by_agent(found)[A].cost_per_task is None
    assert any("price" in caveat for caveat in found.caveats)


def test_equal_agents_do_not_dominate_each_other() -> None:
    assert not any(item.dominated for item in benchmark({A: [task(cost=1.0)], B: [task(cost=1.0)]}).standings)


@given(st.dictionaries(st.sampled_from([A, B, C, AgentId("d")]), histories(), min_size=1))
def test_any_histories_give_ranks_within_their_sets(agents: dict[AgentId, list[TaskSums]]) -> None:
    found = benchmark(agents)
    assert len(found.standings) == len(agents)
    for item in found.standings:
        assert 0 <= item.overall_score <= 1
        assert 1 <= item.rank_lower <= item.overall_rank <= item.rank_upper <= len(agents)


def test_rank_intervals_hold_the_true_rank() -> None:
    coverage, span = rank_coverage(benchmarks=200, seed=3)
    assert coverage >= 0.95
    assert span < 0.7
