"""The services that answer calls, put together over one store. Part of the composition root (app.py)."""

import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from agent_tracer.server.adapters.clickhouse.archive import ClickHouseArchive
from agent_tracer.server.adapters.clickhouse.busy_agents import ClickHouseBusyAgents
from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.adapters.clickhouse.failures import ClickHouseFailures
from agent_tracer.server.adapters.clickhouse.related import ClickHouseRelated
from agent_tracer.server.adapters.clickhouse.store import ClickHouseStore
from agent_tracer.server.adapters.clickhouse.task_store import ClickHouseTasks
from agent_tracer.server.adapters.clickhouse.telemetry import ClickHouseTelemetry
from agent_tracer.server.adapters.clickhouse.telemetry.span_errors import ClickHouseSpanFailures
from agent_tracer.server.adapters.clickhouse.work import ClickHouseWork
from agent_tracer.server.api.ace_service import AceServicer, AceUseCases
from agent_tracer.server.api.atlas_service import AtlasServicer, AtlasUseCases
from agent_tracer.server.api.correlation_service import CorrelationServicer, CorrelationUseCases
from agent_tracer.server.api.grpc_server import (
    Service,
    ace_service,
    atlas_service,
    correlation_service,
    trace_service,
)
from agent_tracer.server.api.trace_service import TraceServicer, TraceUseCases
from agent_tracer.server.correlation import Correlating
from agent_tracer.server.domain.ids import OtelTraceId, TenantId
from agent_tracer.server.limits import ANALYSIS_WAIT_SECONDS_MAX, DETECTED_WAIT_SECONDS_MAX, INDEXED_WAIT_SECONDS_MAX
from agent_tracer.server.ports.server_metrics import ScoreMetrics
from agent_tracer.server.services.agent_scores import AgentScores
from agent_tracer.server.services.benchmarks import Benchmarks
from agent_tracer.server.services.correlations import Correlations
from agent_tracer.server.services.evaluations import Evaluations
from agent_tracer.server.services.failures import Failures
from agent_tracer.server.services.incidents import Incidents
from agent_tracer.server.services.ingest import Ingest
from agent_tracer.server.services.learning import LearningAnalytics
from agent_tracer.server.services.loaded_reads import LoadedReads
from agent_tracer.server.services.root_causes import RootCauses
from agent_tracer.server.services.score_publisher import ScorePublisher
from agent_tracer.server.services.service_graphs import ServiceGraphs
from agent_tracer.server.services.settled_reads import CatchUp, SettledReads
from agent_tracer.server.services.settler import Settler
from agent_tracer.server.services.similar_traces import SimilarTraces
from agent_tracer.server.services.trace_export import TraceExport
from agent_tracer.server.services.trace_feed import TraceBroadcast
from agent_tracer.server.services.trace_statistics import TraceStatistics
from agent_tracer.server.services.trace_watch import TraceWatch
from agent_tracer.server.services.traces import Traces
from agent_tracer.server.services.version_comparisons import VersionComparisons
from agent_tracer.server.services.workflows import Workflows
from agent_tracer.server.similarity import Similarity


@dataclass(frozen=True, slots=True)
class Shared:
    """What more than one service stands on."""

    engine: Engine
    ingest: Ingest
    loaded: LoadedReads
    settler: Settler
    similarity: Similarity
    correlating: Correlating
    feed: TraceBroadcast
    scores: ScoreMetrics
    evaluation_weights: Mapping[str, float]


def services_on(shared: Shared) -> Sequence[Service]:
    """All four, ready to register."""
    return [
        trace_service(TraceServicer(_traces(shared))),
        ace_service(AceServicer(_ace(shared))),
        atlas_service(AtlasServicer(_atlas(shared))),
        correlation_service(CorrelationServicer(_correlation(shared))),
    ]


def _traces(shared: Shared) -> TraceUseCases:
    store, loaded = ClickHouseStore(shared.engine), shared.loaded
    return TraceUseCases(
        traces=Traces(
            reader=store,
            writer=store,
            ingest=shared.ingest,
            loaded=loaded,
            clock_ns=time.time_ns,
            forget=_forgetting(shared),
        ),
        statistics=TraceStatistics(store, time.time_ns, SettledReads(loaded, shared.settler).catch_up),
        watch=TraceWatch(store, shared.feed),
        export=TraceExport(store, loaded, time.time_ns),
        evaluations=Evaluations(reader=store, store=store, loaded=loaded, clock_ns=time.time_ns, new_id=_new_id),
    )


def _forgetting(shared: Shared) -> Callable[[TenantId, OtelTraceId], Awaitable[None]]:
    """Everybody who keeps anything of a trace outside of the store's own tables of traces."""

    async def forget(tenant: TenantId, trace_id: OtelTraceId) -> None:
        await shared.similarity.indexer.forget(tenant, trace_id)
        await shared.correlating.projector.forget(tenant, trace_id)

    return forget


def _ace(shared: Shared) -> AceUseCases:
    reader, archive = ClickHouseTasks(shared.engine), ClickHouseArchive(shared.engine)
    clock_ns, catch_up = time.time_ns, _settled_well(shared)
    return AceUseCases(
        scores=_agent_scores(shared.engine, shared.scores, shared.evaluation_weights, catch_up),
        benchmarks=Benchmarks(reader=reader, archive=archive, catch_up=catch_up, clock_ns=clock_ns, new_id=_new_id),
        comparisons=VersionComparisons(reader=reader, archive=archive, catch_up=catch_up, clock_ns=clock_ns),
    )


def _agent_scores(
    engine: Engine, metrics: ScoreMetrics, weights: Mapping[str, float], catch_up: CatchUp
) -> AgentScores:
    return AgentScores(
        reader=ClickHouseTasks(engine),
        archive=ClickHouseArchive(engine),
        metrics=metrics,
        catch_up=catch_up,
        clock_ns=time.time_ns,
        new_id=_new_id,
        evaluation_weights=weights,
    )


def score_publisher(
    engine: Engine, settler: Settler, metrics: ScoreMetrics, weights: Mapping[str, float]
) -> ScorePublisher:
    """Not running yet."""
    return ScorePublisher(
        agents=ClickHouseBusyAgents(engine),
        scorer=_agent_scores(engine, metrics, weights, _nobody_waits),
        settled=settler.settled,
        clock_ns=time.time_ns,
    )


def _atlas(shared: Shared) -> AtlasUseCases:
    clock_ns, catch_up = time.time_ns, _settled_well(shared)
    return AtlasUseCases(
        learning=LearningAnalytics(reader=ClickHouseTasks(shared.engine), catch_up=catch_up, clock_ns=clock_ns),
        workflows=Workflows(
            reader=ClickHouseWork(shared.engine), loaded=shared.loaded, catch_up=catch_up, clock_ns=clock_ns
        ),
        similar=_similar(shared),
    )


def _similar(shared: Shared) -> SimilarTraces:
    return SimilarTraces(
        reader=ClickHouseStore(shared.engine),
        index=shared.similarity.index,
        indexer=shared.similarity.indexer,
        loaded=shared.loaded,
        catch_up=SettledReads(shared.loaded, shared.similarity.indexer, INDEXED_WAIT_SECONDS_MAX).catch_up,
        clock_ns=time.time_ns,
    )


def _correlation(shared: Shared) -> CorrelationUseCases:
    clock_ns, catch_up = time.time_ns, _settled_well(shared)
    reader, telemetry = ClickHouseStore(shared.engine), ClickHouseTelemetry(shared.engine)
    correlating = shared.correlating
    incidents = correlating.incidents
    return CorrelationUseCases(
        correlations=Correlations(
            telemetry=telemetry,
            reader=reader,
            related=ClickHouseRelated(shared.engine),
            similar=_similar(shared),
            incidents=incidents,
            loaded=shared.loaded,
            catch_up=catch_up,
            clock_ns=clock_ns,
        ),
        failures=Failures(
            store=ClickHouseFailures(shared.engine),
            loaded=shared.loaded,
            catch_up=SettledReads(shared.loaded, shared.correlating.signer, ANALYSIS_WAIT_SECONDS_MAX).catch_up,
            is_behind=lambda: shared.correlating.signer.is_behind,
            clock_ns=clock_ns,
        ),
        incidents=Incidents(
            store=incidents,
            catch_up=_watched(shared),
            clock_ns=clock_ns,
            new_id=_new_id,
            writing=correlating.writing,
        ),
        root_causes=RootCauses(
            telemetry=telemetry,
            failures=ClickHouseSpanFailures(shared.engine),
            incidents=incidents,
            reader=reader,
            graph=correlating.incident_graph,
            catch_up=catch_up,
            clock_ns=clock_ns,
        ),
        graphs=ServiceGraphs(
            store=correlating.graph,
            projector=correlating.projector,
            replica=correlating.replica,
            catch_up=SettledReads(shared.loaded, correlating.projector, ANALYSIS_WAIT_SECONDS_MAX).catch_up,
            clock_ns=clock_ns,
        ),
    )


def _watched(shared: Shared) -> Callable[[], Awaitable[object]]:
    if shared.correlating.detector is None:
        return shared.loaded.catch_up
    return SettledReads(shared.loaded, shared.correlating.detector, DETECTED_WAIT_SECONDS_MAX).catch_up


def _settled_well(shared: Shared) -> CatchUp:
    return SettledReads(shared.loaded, shared.settler, ANALYSIS_WAIT_SECONDS_MAX).catch_up


async def _nobody_waits() -> Sequence[str]:
    return ()


def _new_id() -> str:
    return uuid.uuid4().hex
