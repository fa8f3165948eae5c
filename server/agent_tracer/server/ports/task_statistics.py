"""What ACE and ATLAS ask of the store about an agent's tasks. Times are UTC nanoseconds; calls are of one tenant."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from agent_tracer.server.domain.ids import AgentId, TenantId
from agent_tracer.server.domain.task_sums import QualitySums, TaskSums
from agent_tracer.server.domain.telemetry import TimeRange


@dataclass(frozen=True, slots=True)
class TaskQuery:
    """Which tasks of an agent, and how they are summed up.

    `bucket_ns`: the width of buckets, rounded up to whole hours where sums of hours are read; None for one bucket over
    the range, 0 for every task by itself. `attribute`: "agent_version", "model", "prompt_version" or an attribute of
    the task's span whose values tell variants apart; `values` are those wanted. A task of several models has each.
    """

    agent_id: AgentId
    time_range: TimeRange
    task_type: str = ""
    bucket_ns: int | None = None
    attribute: str = ""
    values: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class TaskUsage:
    """What an agent's tasks used in a range. Cost in US dollars, None where one of the calls has no price.

    `busy_ns`: how long at least one task ran; `peak`: the most tasks that ran at once. `metrics`: means of the metrics
    that the agent sent itself, by name.
    """

    calls: int
    tool_calls: int
    input_tokens: int
    output_tokens: int
    cost: float | None
    busy_ns: int
    peak: int
    metrics: Mapping[str, float] = field(default_factory=dict)


class TaskReader(Protocol):
    """Sees what has been settled. Raises StoreDownError, StoreBusyError, QueryTimeoutError, TooMuchDataError."""

    async def is_agent(self, tenant: TenantId, agent_id: AgentId) -> bool:
        """Whether a task of the agent is stored, of whatever time."""
        ...

    async def count_tasks(self, tenant: TenantId, agent_id: AgentId, time_range: TimeRange, *, limit: int) -> int:
        """How many tasks there are, up to `limit`. A task that was settled twice may count twice."""
        ...

    async def task_sums(self, tenant: TenantId, query: TaskQuery) -> Sequence[TaskSums]:
        """Ordered by bucket, then type, then variant. Raises TooManyTaskTypesError past TASK_SUMS_MAX rows."""
        ...

    async def peer_sums(
        self, tenant: TenantId, agent_id: AgentId, task_types: Sequence[str], time_range: TimeRange
    ) -> Sequence[TaskSums]:
        """The tasks of all other agents of these types, a bucket a type."""
        ...

    async def sums_of_agents(
        self, tenant: TenantId, agents: Sequence[AgentId], time_range: TimeRange
    ) -> Mapping[AgentId, Sequence[TaskSums]]:
        """The tasks of each agent, a bucket a type; agents without any are left out. One read for all of them.

        Raises TooManyTaskTypesError past TASK_SUMS_MAX buckets in all.
        """
        ...

    async def latest_task_sums(
        self, tenant: TenantId, agents: Sequence[AgentId], task_type: str, count: int, time_range: TimeRange
    ) -> Mapping[AgentId, TaskSums]:
        """The last `count` tasks of a type of each agent; agents without one are left out."""
        ...

    async def repeats(
        self, tenant: TenantId, agents: Sequence[AgentId], time_range: TimeRange
    ) -> Mapping[AgentId, Mapping[str, Sequence[tuple[int, int]]]]:
        """(tries, successes) of each task that was tried more than once, told apart by its id, by agent and type.

        Of agents with up to REPEATED_TASKS_MAX tasks in the range; others, and tasks without an id, are left out.
        """
        ...

    async def quality_sums(self, tenant: TenantId, query: TaskQuery) -> Sequence[QualitySums]:
        """Judgements of the agent's tasks.

        A judgement belongs to the task whose span it names, else to the agent's tasks of its trace, unless it names a
        span of another agent. Of EVALUATIONS_SCORED_MAX at most, the latest; buckets are those of the query.
        """
        ...

    async def usage(self, tenant: TenantId, query: TaskQuery) -> TaskUsage:
        """What the tasks used, and the agent's own metrics."""
        ...

    async def changes(self, tenant: TenantId, query: TaskQuery) -> Sequence[tuple[int, str]]:
        """When versions, models and prompt versions were met first in the range, but for its first ones: time, text."""
        ...


class TooManyTaskTypesError(Exception):
    """An agent's tasks are of so many types that they cannot be held constant; one type, or a shorter period, can."""
