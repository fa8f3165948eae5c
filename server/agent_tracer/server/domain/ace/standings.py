"""What a benchmark says of an agent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from agent_tracer.server.domain.ids import AgentId
from agent_tracer.server.domain.statistics.intervals import Interval
from agent_tracer.server.domain.task_sums import TaskSums


@dataclass(frozen=True, slots=True)
class TaskStanding:
    """On one task type: success rate, its 95 % interval, and 1 plus the number of agents that are better for certain.

    Agents that the data cannot tell apart thus share a rank (see benchmark.type_standings). `pass_k`: the chance that
    all of k tries of the same task succeed, for k = 1, 2, ... (repeats.py); empty where no task was tried twice.
    """

    score: float
    rank: int
    interval: Interval
    task_count: int
    success_count: int
    pass_k: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """Over all task types compared. `overall_rank` goes by the score alone; equal scores share the better rank.

    `rank_lower` to `rank_upper` hold the true rank with 95 % confidence. Cost is in US dollars, duration in
    milliseconds, both means over the tasks of each type, then over types; None where nothing is known.
    """

    agent_id: AgentId
    scores: Mapping[str, TaskStanding]
    overall_score: float
    overall_rank: int
    rank_lower: int
    rank_upper: int
    cost_per_task: float | None = None
    duration_per_task: float | None = None
    dominated: bool = False


def mean_cost(totals: Mapping[str, TaskSums], task_types: Sequence[str]) -> float | None:
    """US dollars a task, the mean over types of the means over priced tasks; None where a type has none."""
    held = [totals[name].costs for name in task_types]
    return sum(costs.mean for costs in held) / len(held) if held and all(costs.count for costs in held) else None


def mean_duration(totals: Mapping[str, TaskSums], task_types: Sequence[str]) -> float | None:
    """Milliseconds a task, the mean over types of their means; None where a type has none."""
    held = [totals[name].durations_ms for name in task_types]
    return sum(times.mean for times in held) / len(held) if held and all(times.count for times in held) else None


def with_dominated(standings: Sequence[Standing]) -> list[Standing]:
    """The same, each marked where another is at least as good, cheap and fast, and better in one of these (Pareto)."""
    return [
        replace(item, dominated=any(_dominates(other, item, standings) for other in standings)) for item in standings
    ]


def _dominates(first: Standing, second: Standing, everyone: Sequence[Standing]) -> bool:
    """A figure that only some agents have proves nothing for those without it; one that none has is not compared."""
    pairs = [(first.overall_score, second.overall_score)]
    for figures in (
        (first.cost_per_task, second.cost_per_task, any(item.cost_per_task is not None for item in everyone)),
        (
            first.duration_per_task,
            second.duration_per_task,
            any(item.duration_per_task is not None for item in everyone),
        ),
    ):
        own, other, told = figures
        if told and (own is None or other is None):
            return False
        if own is not None and other is not None:
            pairs.append((-own, -other))
    return all(own >= other for own, other in pairs) and any(own > other for own, other in pairs)
