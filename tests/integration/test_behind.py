"""Analyses that could not wait for everything say so: the last tasks may be missing from their figures."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from prometheus_client import CollectorRegistry

from agent_tracer.server.adapters.clickhouse.archive import ClickHouseArchive
from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.adapters.clickhouse.task_store import ClickHouseTasks
from agent_tracer.server.adapters.clickhouse.work import ClickHouseWork
from agent_tracer.server.adapters.score_metrics import PrometheusScores
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.services.agent_scores import AgentScores, ScoreRequest
from agent_tracer.server.services.benchmarks import BenchmarkRequest, Benchmarks
from agent_tracer.server.services.learning import LearningAnalytics, LearningRequest
from agent_tracer.server.services.loaded_reads import LoadedReads
from agent_tracer.server.services.settled_reads import BEHIND, SettledReads
from agent_tracer.server.services.version_comparisons import ComparisonRequest, VersionComparisons
from agent_tracer.server.services.workflows import OptimizationRequest, Workflows
from tests.fixtures.ingesting import waiting_requests
from tests.fixtures.memory_journal import MemoryJournal
from tests.fixtures.settled import settle
from tests.fixtures.trees import NOON_NS, SECOND_NS, Node, agent

NOW_NS = NOON_NS + 60 * SECOND_NS


class AtOnce:
    """LoadProgress where nothing waits."""

    def is_loaded(self, position: int) -> bool:
        return True

    async def wait_loaded(self, position: int) -> None:
        pass


class Settling:
    """Settles."""

    def __init__(self) -> None:
        self.done = asyncio.Event()

    async def settled(self) -> None:
        await self.done.wait()


class Analyses:
    """Each over one agent with one task, behind a settler that ends when it is told to."""

    def __init__(self, engine: Engine, tenant: TenantId, wait_seconds: float) -> None:
        self.settler = Settling()
        loaded = LoadedReads(MemoryJournal(), AtOnce(), waiting_requests())
        catch_up = SettledReads(loaded, self.settler, wait_seconds).catch_up
        reader, archive = ClickHouseTasks(engine), ClickHouseArchive(engine)
        self._tenant = tenant
        self._scores = AgentScores(
            reader=reader,
            archive=archive,
            metrics=PrometheusScores(CollectorRegistry()),
            catch_up=catch_up,
            clock_ns=lambda: NOW_NS,
            new_id=lambda: "id",
            evaluation_weights={},
        )
        self._benchmarks = Benchmarks(
            reader=reader, archive=archive, catch_up=catch_up, clock_ns=lambda: NOW_NS, new_id=lambda: "id"
        )
        self._comparisons = VersionComparisons(
            reader=reader, archive=archive, catch_up=catch_up, clock_ns=lambda: NOW_NS
        )
        self._learning = LearningAnalytics(reader=reader, catch_up=catch_up, clock_ns=lambda: NOW_NS)
        self._workflows = Workflows(
            reader=ClickHouseWork(engine), loaded=loaded, catch_up=catch_up, clock_ns=lambda: NOW_NS
        )

    async def score(self) -> Sequence[str]:
        return (await self._scores.score(self._tenant, ScoreRequest("worker"))).score.caveats

    async def benchmark(self) -> Sequence[str]:
        return (await self._benchmarks.create(self._tenant, BenchmarkRequest("worker"))).benchmark.caveats

    async def comparison(self) -> Sequence[str]:
        return (await self._comparisons.compare(self._tenant, ComparisonRequest("worker", "1", "2"))).caveats

    async def learning(self) -> Sequence[str]:
        return (await self._learning.analyze(self._tenant, LearningRequest("worker"))).result.caveats

    async def workflow(self) -> Sequence[str]:
        return (await self._workflows.optimize(self._tenant, OptimizationRequest("ship"))).analysis.caveats


EVERY = pytest.mark.parametrize(
    "analysis",
    [Analyses.score, Analyses.benchmark, Analyses.comparison, Analyses.learning, Analyses.workflow],
    ids=lambda analysis: analysis.__name__,
)
Analysis = Callable[[Analyses], Awaitable[Sequence[str]]]


@pytest.fixture
async def worked(engine: Engine, tenant: TenantId) -> None:
    await settle(engine, tenant, [Node(1, attributes=agent("worker", workflow__id="ship"))])


@EVERY
async def test_an_answer_without_the_last_tasks_says_so(
    engine: Engine, tenant: TenantId, worked: None, analysis: Analysis
) -> None:
    assert BEHIND in await analysis(Analyses(engine, tenant, wait_seconds=0.01))


@EVERY
async def test_an_answer_with_everything_says_nothing_of_it(
    engine: Engine, tenant: TenantId, worked: None, analysis: Analysis
) -> None:
    analyses = Analyses(engine, tenant, wait_seconds=60)
    analyses.settler.done.set()
    assert BEHIND not in await analysis(analyses)
