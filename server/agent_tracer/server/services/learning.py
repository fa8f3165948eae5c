"""Use case: does an agent learn, and what does it use?"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from agent_tracer.server.domain.atlas.change_points import KnownChange
from agent_tracer.server.domain.atlas.learning import LearningResult, analyze_learning
from agent_tracer.server.domain.checks import check_id, check_length
from agent_tracer.server.domain.conditions import analysis_range
from agent_tracer.server.domain.errors import Violations
from agent_tracer.server.domain.ids import AgentId, TenantId
from agent_tracer.server.domain.telemetry import TimeRange
from agent_tracer.server.limits import TEXT_LENGTH_MAX
from agent_tracer.server.ports.task_statistics import TaskReader, TaskUsage
from agent_tracer.server.services.settled_reads import CatchUp
from agent_tracer.server.services.task_reading import AgentTasks

PERIOD_DEFAULT: Final = "30d"


@dataclass(frozen=True, slots=True)
class LearningRequest:
    """As the caller wrote it; of all task types where `task_type` is empty."""

    agent_id: str
    period: str = ""
    task_type: str = ""
    end_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Learning:
    """What the analysis says, and what the tasks used. `busy_share` is of the period, 0 to 1."""

    period: str
    result: LearningResult
    usage: TaskUsage
    busy_share: float


class LearningAnalytics:
    """Raises InvalidFieldsError, AgentNotFoundError, TooLargeError, and what the port raises."""

    def __init__(self, *, reader: TaskReader, catch_up: CatchUp, clock_ns: Callable[[], int]) -> None:
        self._reader = reader
        self._catch_up = catch_up
        self._clock_ns = clock_ns

    async def analyze(self, tenant: TenantId, request: LearningRequest) -> Learning:
        """The agent's tasks of the period, early ones against late ones."""
        time_range = _range(request, self._clock_ns())
        behind = await self._catch_up()
        agent = AgentTasks(self._reader, tenant, AgentId(request.agent_id), time_range)
        query = await agent.query_in_time(request.task_type)
        tasks, usage, changes = await asyncio.gather(
            agent.in_time(request.task_type),
            self._reader.usage(tenant, query),
            self._reader.changes(tenant, query),
        )
        if not tasks:
            await agent.must_be_known()
        known = [KnownChange(at_ns, text) for at_ns, text in changes]
        result = await asyncio.to_thread(analyze_learning, tasks, known, query.bucket_ns or 0)
        result = replace(result, caveats=(*result.caveats, *behind))
        busy_share = min(1.0, usage.busy_ns / (time_range.end_ns - time_range.start_ns))
        return Learning(request.period or PERIOD_DEFAULT, result, usage, busy_share)


def _range(request: LearningRequest, now_ns: int) -> TimeRange:
    found = Violations()
    check_id(found, "agent_id", request.agent_id)
    check_length(found, "task_type", request.task_type, TEXT_LENGTH_MAX)
    time_range = analysis_range(found, request.period, PERIOD_DEFAULT, request.end_ns, now_ns)
    found.raise_any()
    return time_range
