"""The store's reads for ACE and ATLAS behind their port: each method one query of its module."""

from collections.abc import Mapping, Sequence

from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.adapters.clickhouse.quality_sums import read_quality_sums
from agent_tracer.server.adapters.clickhouse.task_sums import (
    count_tasks,
    is_agent,
    read_latest_task_sums,
    read_peer_sums,
    read_repeats,
    read_sums_of_agents,
    read_task_sums,
)
from agent_tracer.server.adapters.clickhouse.task_usage import read_changes, read_usage
from agent_tracer.server.domain.ids import AgentId, TenantId
from agent_tracer.server.domain.task_sums import QualitySums, TaskSums
from agent_tracer.server.domain.telemetry import TimeRange
from agent_tracer.server.ports.task_statistics import TaskQuery, TaskUsage


class ClickHouseTasks:
    """ports.task_statistics.TaskReader."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def is_agent(self, tenant: TenantId, agent_id: AgentId) -> bool:
        """See the port."""
        return await is_agent(self._engine, tenant, agent_id)

    async def count_tasks(self, tenant: TenantId, agent_id: AgentId, time_range: TimeRange, *, limit: int) -> int:
        """See the port."""
        return await count_tasks(self._engine, tenant, agent_id, time_range, limit)

    async def task_sums(self, tenant: TenantId, query: TaskQuery) -> Sequence[TaskSums]:
        """See the port."""
        return await read_task_sums(self._engine, tenant, query)

    async def peer_sums(
        self, tenant: TenantId, agent_id: AgentId, task_types: Sequence[str], time_range: TimeRange
    ) -> Sequence[TaskSums]:
        """See the port."""
        return await read_peer_sums(self._engine, tenant, agent_id, task_types, time_range)

    async def sums_of_agents(
        self, tenant: TenantId, agents: Sequence[AgentId], time_range: TimeRange
    ) -> Mapping[AgentId, Sequence[TaskSums]]:
        """See the port."""
        return await read_sums_of_agents(self._engine, tenant, agents, time_range)

    async def latest_task_sums(
        self, tenant: TenantId, agents: Sequence[AgentId], task_type: str, count: int, time_range: TimeRange
    ) -> Mapping[AgentId, TaskSums]:
        """See the port."""
        return await read_latest_task_sums(self._engine, tenant, agents, task_type, count, time_range)

    async def repeats(
        self, tenant: TenantId, agents: Sequence[AgentId], time_range: TimeRange
    ) -> Mapping[AgentId, Mapping[str, Sequence[tuple[int, int]]]]:
        """See the port."""
        return await read_repeats(self._engine, tenant, agents, time_range)

    async def quality_sums(self, tenant: TenantId, query: TaskQuery) -> Sequence[QualitySums]:
        """See the port."""
        return await read_quality_sums(self._engine, tenant, query)

    async def usage(self, tenant: TenantId, query: TaskQuery) -> TaskUsage:
        """See the port."""
        return await read_usage(self._engine, tenant, query)

    async def changes(self, tenant: TenantId, query: TaskQuery) -> Sequence[tuple[int, str]]:
        """See the port."""
        return await read_changes(self._engine, tenant, query)
