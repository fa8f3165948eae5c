"""Use cases: score an agent, and list earlier scores."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from agent_tracer.server.domain.ace.score_checks import check_figures, check_weights
from agent_tracer.server.domain.ace.scores import AgentMetrics, AgentScore, ScoringWeights
from agent_tracer.server.domain.ace.scoring import score_agent
from agent_tracer.server.domain.checks import check_id
from agent_tracer.server.domain.conditions import analysis_range
from agent_tracer.server.domain.errors import Violations
from agent_tracer.server.domain.ids import AgentId, TenantId
from agent_tracer.server.domain.paging import Page, PageRequest
from agent_tracer.server.domain.task_sums import TaskSums
from agent_tracer.server.domain.telemetry import TimeRange
from agent_tracer.server.ports.archive import KeptScore, ScoreArchive
from agent_tracer.server.ports.server_metrics import ScoreMetrics
from agent_tracer.server.ports.task_statistics import TaskReader
from agent_tracer.server.services.archive_pages import page_of
from agent_tracer.server.services.settled_reads import CatchUp
from agent_tracer.server.services.task_reading import AgentTasks, all_quality

PERIOD_DEFAULT: Final = "24h"


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """As the caller wrote it. `end_ns` None: now; weights None: ScoringWeights()."""

    agent_id: str
    period: str = ""
    end_ns: int | None = None
    metrics: AgentMetrics | None = None
    weights: ScoringWeights | None = None


class AgentScores:
    """Raises InvalidFieldsError, AgentNotFoundError, NothingToScoreError, TooLargeError, and what the ports raise."""

    def __init__(  # noqa: PLR0913 - its collaborators, each used once
        self,
        *,
        reader: TaskReader,
        archive: ScoreArchive,
        metrics: ScoreMetrics,
        catch_up: CatchUp,
        clock_ns: Callable[[], int],
        new_id: Callable[[], str],
        evaluation_weights: Mapping[str, float],
    ) -> None:
        """`evaluation_weights`: how much judgements of a name count; 1 where absent."""
        self._reader = reader
        self._archive = archive
        self._metrics = metrics
        self._catch_up = catch_up
        self._clock_ns = clock_ns
        self._new_id = new_id
        self._evaluation_weights = evaluation_weights

    async def score(self, tenant: TenantId, request: ScoreRequest) -> KeptScore:
        """The agent's score, kept and published."""
        now_ns = self._clock_ns()
        time_range = _range(request, now_ns)
        behind = await self._catch_up()
        score = await self._score(tenant, request, time_range)
        score = replace(score, caveats=(*score.caveats, *behind))
        kept = KeptScore(self._new_id(), AgentId(request.agent_id), request.period or PERIOD_DEFAULT, now_ns, score)
        await self._archive.keep_score(tenant, kept)
        self._metrics.scored(kept.agent_id, score.present)
        return kept

    async def publish(self, tenant: TenantId, agent_id: AgentId) -> None:
        """Publish the score of the last day, of what is settled; it is not kept, since nobody asked for it."""
        request = ScoreRequest(agent_id)
        score = await self._score(tenant, request, _range(request, self._clock_ns()))
        self._metrics.scored(agent_id, score.present)

    async def _score(self, tenant: TenantId, request: ScoreRequest, time_range: TimeRange) -> AgentScore:
        agent_id = AgentId(request.agent_id)
        agent = AgentTasks(self._reader, tenant, agent_id, time_range)
        tasks, judged = await asyncio.gather(agent.in_time(), agent.quality())
        if not tasks and request.metrics is None:
            await agent.must_be_known()
        peers, earlier = await self._yardsticks(tenant, agent_id, tasks, time_range)
        return await asyncio.to_thread(
            score_agent,
            tasks,
            peers=peers,
            earlier=earlier,
            judged=all_quality(tasks, judged),
            metrics=request.metrics,
            weights=request.weights,
            evaluation_weights=self._evaluation_weights,
        )

    async def _yardsticks(
        self, tenant: TenantId, agent_id: AgentId, tasks: list[TaskSums], time_range: TimeRange
    ) -> tuple[list[TaskSums], list[TaskSums]]:
        """The peers' tasks of the same types, and the agent's own of as long a time before."""
        types = sorted({of.task_type for of in tasks})
        if not types:
            return [], []
        length_ns = time_range.end_ns - time_range.start_ns
        before = TimeRange(max(0, time_range.start_ns - length_ns), time_range.start_ns)
        peers, earlier = await asyncio.gather(
            self._reader.peer_sums(tenant, agent_id, types, time_range),
            AgentTasks(self._reader, tenant, agent_id, before).in_all(),
        )
        return list(peers), earlier

    async def list(self, tenant: TenantId, agent_id: str, page: PageRequest) -> Page[KeptScore]:
        """Newest first; of all agents where the id is empty."""
        return await page_of(
            ("ListScores", tenant, agent_id),
            page,
            lambda limit, after: self._archive.scores(tenant, agent_id, limit=limit, after=after),
            lambda kept: kept.score_id,
        )


def _range(request: ScoreRequest, now_ns: int) -> TimeRange:
    found = Violations()
    check_id(found, "agent_id", request.agent_id)
    time_range = analysis_range(found, request.period, PERIOD_DEFAULT, request.end_ns, now_ns)
    check_weights(found, request.weights or ScoringWeights())
    check_figures(found, request.metrics or AgentMetrics())
    found.raise_any()
    return time_range
