"""Ranks of agents over task types, with what the data can tell of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agent_tracer.server.domain.ace.bradley_terry import strengths
from agent_tracer.server.domain.ace.standings import (
    Standing,
    TaskStanding,
    mean_cost,
    mean_duration,
    with_dominated,
)
from agent_tracer.server.domain.ace.totals import by_type
from agent_tracer.server.domain.errors import NothingToScoreError
from agent_tracer.server.domain.ids import AgentId
from agent_tracer.server.domain.statistics.intervals import wilson
from agent_tracer.server.domain.statistics.ranks import RankSet, competition_ranks, pairwise_quantile, rank_sets
from agent_tracer.server.domain.statistics.strata import Stratum, stratified_difference, stratified_wilson
from agent_tracer.server.domain.task_sums import TaskSums

Totals = Mapping[AgentId, Mapping[str, TaskSums]]

NAMES_SHOWN: Final = 5
"""Names that a caveat lists before it only counts."""

_NOTHING: Final = "none of the agents has a task of these types in the period"
_NO_TASKS: Final = "left out, without tasks of these types in the period: {}"
_NOT_SHARED: Final = "the overall score leaves out task types that not all agents have: {}"
_NONE_SHARED: Final = (
    "no task type is shared by all agents: the overall score is the chance to do better on a task than another agent "
    "(Bradley-Terry over the types that pairs share), not a success rate, and cost and duration are not comparable"
)
_APART: Final = "some agents share no task type, nor through others: their ranks against each other are unknown"
_UNPRICED: Final = "no cost per task, for want of known prices on some task type: {}"


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Every agent that has tasks, best first (by score, then id), and the task types that the overall score is over."""

    standings: tuple[Standing, ...]
    task_types: tuple[str, ...]
    caveats: tuple[str, ...]


def benchmark(agents: Mapping[AgentId, Sequence[TaskSums]], task_types: Sequence[str] = ()) -> Benchmark:
    """Rank the agents by the mean, each type counting the same, of success rates over the types that all have.

    `task_types`: those to compare; all where empty. Where no type is shared by all agents, the score is Bradley-Terry's
    over pairs. Raises NothingToScoreError where no agent has any task.
    """
    found = {agent: _wanted(by_type(sums), task_types) for agent, sums in agents.items()}
    totals = {agent: held for agent, held in sorted(found.items()) if held}
    if not totals:
        raise NothingToScoreError(_NOTHING)
    every = sorted({name for held in totals.values() for name in held})
    shared = [name for name in every if all(name in held for held in totals.values())]
    scores, ranks, caveats = _macro_mean(totals, shared) if shared else _across(totals)
    standings = _standings(totals, shared or every, scores, ranks)
    missing = [agent for agent, held in found.items() if not held]
    told = [_NO_TASKS.format(_names(missing))] if missing else []
    told += (
        [_NOT_SHARED.format(_names([name for name in every if name not in shared]))]
        if shared != every and shared
        else []
    )
    told += caveats
    unpriced = [item.agent_id for item in standings if item.cost_per_task is None]
    told += [_UNPRICED.format(_names(unpriced))] if unpriced else []
    return Benchmark(tuple(standings), tuple(shared or every), tuple(told))


def _wanted(totals: Mapping[str, TaskSums], task_types: Sequence[str]) -> dict[str, TaskSums]:
    return {name: total for name, total in totals.items() if not task_types or name in task_types}


def _names(names: Sequence[str]) -> str:
    listed = ", ".join(sorted(names)[:NAMES_SHOWN])
    return listed if len(names) <= NAMES_SHOWN else f"{listed} and {len(names) - NAMES_SHOWN} more"


def _macro_mean(totals: Totals, shared: Sequence[str]) -> tuple[list[float], list[RankSet], list[str]]:
    """Ranks by the stratified Newcombe intervals of all pairs' differences."""
    z = pairwise_quantile(len(totals))
    shares = [
        stratified_wilson([Stratum(held[name].successes, held[name].tasks, 1 / len(shared)) for name in shared], z)
        for held in totals.values()
    ]
    ranks = rank_sets(len(shares), lambda one, other: stratified_difference(shares[one], shares[other], z))
    return [share.value for share in shares], ranks, []


def _across(totals: Totals) -> tuple[list[float], list[RankSet], list[str]]:
    found = strengths(
        [{name: (held.successes, held.tasks) for name, held in agent.items()} for agent in totals.values()]
    )
    ranks = rank_sets(len(totals), found.difference)
    return list(found.scores), ranks, [_NONE_SHARED] if found.connected else [_NONE_SHARED, _APART]


def _standings(
    totals: Totals, compared: Sequence[str], scores: Sequence[float], ranks: Sequence[RankSet]
) -> list[Standing]:
    by_name = {
        name: type_standings(totals, name) for name in sorted({name for held in totals.values() for name in held})
    }
    standings = []
    for (agent, held), score, place, rank in zip(totals.items(), scores, competition_ranks(scores), ranks, strict=True):
        own = [name for name in compared if name in held]
        types = {name: by_name[name][agent] for name in held}
        figures = mean_cost(held, own), mean_duration(held, own)
        standings.append(Standing(agent, types, score, place, rank.lower, rank.upper, *figures))
    ordered = sorted(standings, key=lambda item: (-item.overall_score, item.agent_id))
    everywhere = all(len(held) >= len(compared) for held in totals.values())
    return with_dominated(ordered) if everywhere else ordered


def type_standings(totals: Totals, task_type: str) -> dict[AgentId, TaskStanding]:
    """The agents that have tasks of the type.

    An agent's rank is 1 and the number of agents whose success rate lies above its own for certain: those for which
    Newcombe's interval of the difference leaves 0 out, all intervals of one agent holding together with 95 %.
    """
    held = {agent: totals[agent][task_type] for agent in totals if task_type in totals[agent]}
    buckets = list(held.values())
    z = pairwise_quantile(len(buckets))
    shares = [stratified_wilson([Stratum(item.successes, item.tasks, 1.0)], z) for item in buckets]
    ranks = rank_sets(len(shares), lambda one, other: stratified_difference(shares[one], shares[other], z))
    return {
        agent: TaskStanding(
            item.successes / item.tasks, rank.lower, wilson(item.successes, item.tasks), item.tasks, item.successes
        )
        for (agent, item), rank in zip(held.items(), ranks, strict=True)
    }
