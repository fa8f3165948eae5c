"""Reads an agent's tasks for an analysis: every task by itself while they are few, buckets of them from then on."""

from dataclasses import replace

from agent_tracer.server.domain.errors import AgentNotFoundError, TooLargeError
from agent_tracer.server.domain.ids import AgentId, TenantId
from agent_tracer.server.domain.task_sums import QualitySums, TaskSums, described_quality
from agent_tracer.server.domain.telemetry import TimeRange
from agent_tracer.server.limits import TASK_BUCKETS, TASKS_SINGLE_MAX
from agent_tracer.server.ports.task_statistics import TaskQuery, TaskReader, TooManyTaskTypesError

_TOO_MANY_TYPES = "the agent's tasks are of too many types to look at each: give one task_type, or a shorter period"


class AgentTasks:
    """One agent's tasks in a range. Raises what TaskReader raises, and TooLargeError for too many task types."""

    def __init__(self, reader: TaskReader, tenant: TenantId, agent_id: AgentId, time_range: TimeRange) -> None:
        self._reader = reader
        self._tenant = tenant
        self._query = TaskQuery(agent_id, time_range)

    async def in_time(self, task_type: str = "") -> list[TaskSums]:
        """In the order of time, fine enough for trends."""
        return await self._sums(await self.query_in_time(task_type))

    async def query_in_time(self, task_type: str = "") -> TaskQuery:
        """What `in_time` asks."""
        at = self._query.time_range
        count = await self._reader.count_tasks(self._tenant, self._query.agent_id, at, limit=TASKS_SINGLE_MAX)
        width_ns = 0 if count < TASKS_SINGLE_MAX else -(-(at.end_ns - at.start_ns) // TASK_BUCKETS)
        return replace(self._query, task_type=task_type, bucket_ns=width_ns)

    async def in_all(self) -> list[TaskSums]:
        """By task type alone."""
        return await self._sums(self._query)

    async def by_variant(self, attribute: str, values: tuple[str, ...], task_type: str = "") -> list[TaskSums]:
        """By task type and value of an attribute."""
        return await self._sums(replace(self._query, attribute=attribute, values=values, task_type=task_type))

    async def quality(
        self, attribute: str = "", values: tuple[str, ...] = (), task_type: str = ""
    ) -> list[QualitySums]:
        """Judgements, by name, task type and value of an attribute."""
        query = replace(self._query, attribute=attribute, values=values, task_type=task_type)
        return list(await self._reader.quality_sums(self._tenant, query))

    async def must_be_known(self) -> None:
        """Raises AgentNotFoundError where no task of the agent is stored, of whatever time."""
        if not await self._reader.is_agent(self._tenant, self._query.agent_id):
            raise AgentNotFoundError(self._query.agent_id)

    async def _sums(self, query: TaskQuery) -> list[TaskSums]:
        try:
            return list(await self._reader.task_sums(self._tenant, query))
        except TooManyTaskTypesError:
            raise TooLargeError(_TOO_MANY_TYPES) from None


def all_quality(tasks: list[TaskSums], judged: list[QualitySums]) -> list[QualitySums]:
    """Judgements, and what the tasks' own metadata says."""
    return [*judged, *described_quality(tasks)]
