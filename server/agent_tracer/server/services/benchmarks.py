"""Use cases: rank agents on task types, and read earlier rankings."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from agent_tracer.server.domain.ace.benchmark import benchmark
from agent_tracer.server.domain.ace.repeats import with_repeats
from agent_tracer.server.domain.checks import check_id
from agent_tracer.server.domain.conditions import analysis_range
from agent_tracer.server.domain.errors import BenchmarkNotFoundError, TooLargeError, Violations
from agent_tracer.server.domain.ids import AgentId, TenantId
from agent_tracer.server.domain.paging import Page, PageRequest
from agent_tracer.server.domain.task_sums import TaskSums
from agent_tracer.server.domain.telemetry import TimeRange
from agent_tracer.server.limits import BENCHMARK_AGENTS_MAX, BENCHMARK_TASK_TYPES_MAX, BENCHMARK_TASKS_MAX
from agent_tracer.server.ports.archive import KeptBenchmark, ScoreArchive
from agent_tracer.server.ports.task_statistics import TaskReader, TooManyTaskTypesError
from agent_tracer.server.services.archive_pages import page_of
from agent_tracer.server.services.settled_reads import CatchUp
from agent_tracer.server.services.task_reading import AgentTasks

PERIOD_DEFAULT: Final = "30d"
_TOO_MANY_TYPES: Final = (
    "the agents' tasks are of too many types to look at each: name the task types with counts, or a shorter period"
)
_ALONE: Final = "compare_against names nobody else: the agent is ranked against nobody"


@dataclass(frozen=True, slots=True)
class BenchmarkRequest:
    """As the caller wrote it. `tasks`: types with how many of the latest tasks of each, 0 for all of the period."""

    agent_id: str
    tasks: Sequence[tuple[str, int]] = ()
    compare_against: Sequence[str] = ()
    period: str = ""
    end_ns: int | None = None


class Benchmarks:
    """Raises InvalidFieldsError, AgentNotFoundError, NothingToScoreError, TooLargeError, BenchmarkNotFoundError.

    And what ports raise.
    """

    def __init__(
        self,
        *,
        reader: TaskReader,
        archive: ScoreArchive,
        catch_up: CatchUp,
        clock_ns: Callable[[], int],
        new_id: Callable[[], str],
    ) -> None:
        self._reader = reader
        self._archive = archive
        self._catch_up = catch_up
        self._clock_ns = clock_ns
        self._new_id = new_id

    async def create(self, tenant: TenantId, request: BenchmarkRequest) -> KeptBenchmark:
        """Rank agent_id and those it is compared against, and keep the result."""
        now_ns = self._clock_ns()
        time_range = _range(request, now_ns)
        behind = await self._catch_up()
        agents = list(dict.fromkeys(map(AgentId, (request.agent_id, *request.compare_against))))
        sums = await self._sums(tenant, agents, request.tasks, time_range)
        for agent_id in agents:
            if not sums[agent_id]:
                await AgentTasks(self._reader, tenant, agent_id, time_range).must_be_known()
        ranked = await asyncio.to_thread(benchmark, sums, [name for name, _ in request.tasks])
        repeats = await self._reader.repeats(tenant, agents, time_range)
        ranked = replace(ranked, standings=with_repeats(ranked.standings, repeats))
        told = (*behind, *((_ALONE,) if len(agents) == 1 else ()))
        ranked = replace(ranked, caveats=(*ranked.caveats, *told))
        kept = KeptBenchmark(self._new_id(), agents[0], request.period or PERIOD_DEFAULT, now_ns, ranked)
        await self._archive.keep_benchmark(tenant, kept)
        return kept

    async def _sums(
        self, tenant: TenantId, agents: Sequence[AgentId], tasks: Sequence[tuple[str, int]], time_range: TimeRange
    ) -> Mapping[AgentId, list[TaskSums]]:
        """Every agent's tasks by type: the latest where the caller counts them, else all."""
        counted = {name: count for name, count in tasks if count}
        sums: dict[AgentId, list[TaskSums]] = {agent_id: [] for agent_id in agents}
        if not tasks or len(counted) < len(tasks):
            for agent_id, whole in (await self._whole(tenant, agents, time_range)).items():
                sums[agent_id] += [of for of in whole if of.task_type not in counted]
        for task_type, count in counted.items():
            found = await self._reader.latest_task_sums(tenant, agents, task_type, count, time_range)
            for agent_id, of_type in found.items():
                sums[agent_id].append(of_type)
        return sums

    async def _whole(
        self, tenant: TenantId, agents: Sequence[AgentId], time_range: TimeRange
    ) -> Mapping[AgentId, Sequence[TaskSums]]:
        try:
            return await self._reader.sums_of_agents(tenant, agents, time_range)
        except TooManyTaskTypesError:
            raise TooLargeError(_TOO_MANY_TYPES) from None

    async def get(self, tenant: TenantId, benchmark_id: str) -> KeptBenchmark:
        """One of those that were kept."""
        found = Violations()
        check_id(found, "benchmark_id", benchmark_id)
        found.raise_any()
        kept = await self._archive.benchmark(tenant, benchmark_id)
        if kept is None:
            raise BenchmarkNotFoundError(benchmark_id)
        return kept

    async def list(self, tenant: TenantId, agent_id: str, page: PageRequest) -> Page[KeptBenchmark]:
        """Newest first; of all agents where the id is empty."""
        return await page_of(
            ("ListBenchmarks", tenant, agent_id),
            page,
            lambda limit, after: self._archive.benchmarks(tenant, agent_id, limit=limit, after=after),
            lambda kept: kept.benchmark_id,
        )


def _range(request: BenchmarkRequest, now_ns: int) -> TimeRange:
    found = Violations()
    check_id(found, "agent_id", request.agent_id)
    for index, agent_id in enumerate(request.compare_against):
        check_id(found, f"compare_against[{index}]", agent_id)
    if len(request.compare_against) >= BENCHMARK_AGENTS_MAX:
        found.add("compare_against", f"must name fewer than {BENCHMARK_AGENTS_MAX} agents")
    _check_tasks(found, request.tasks)
    time_range = analysis_range(found, request.period, PERIOD_DEFAULT, request.end_ns, now_ns)
    found.raise_any()
    return time_range


def _check_tasks(found: Violations, tasks: Sequence[tuple[str, int]]) -> None:
    if len(tasks) > BENCHMARK_TASK_TYPES_MAX:
        found.add("tasks", f"must name at most {BENCHMARK_TASK_TYPES_MAX} task types")
    if len({name for name, _ in tasks}) < len(tasks):
        found.add("tasks", "must not name a type twice")
    for index, (name, count) in enumerate(tasks):
        check_id(found, f"tasks[{index}].type", name)
        if not 0 <= count <= BENCHMARK_TASKS_MAX:
            found.add(f"tasks[{index}].count", f"must be 0 (for all of the period) to {BENCHMARK_TASKS_MAX}")
