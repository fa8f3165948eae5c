"""The services that answer calls, put together over one store. Part of the composition root (app.py)."""

import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.registry import CollectorRegistry

from agent_tracer.server.adapters.clickhouse.archive import ClickHouseArchive
from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.adapters.clickhouse.store import ClickHouseStore
from agent_tracer.server.adapters.clickhouse.task_store import ClickHouseTasks
from agent_tracer.server.adapters.clickhouse.work import ClickHouseWork
from agent_tracer.server.adapters.score_metrics import PrometheusScores
from agent_tracer.server.api.ace_service import AceServicer, AceUseCases
from agent_tracer.server.api.atlas_service import AtlasServicer, AtlasUseCases
from agent_tracer.server.api.grpc_server import (
    Service,
    ace_service,
    atlas_service,
    trace_service,
    unbuilt_services,
)
from agent_tracer.server.api.trace_service import TraceServicer, TraceUseCases
from agent_tracer.server.limits import ANALYSIS_WAIT_SECONDS_MAX, INDEXED_WAIT_SECONDS_MAX
from agent_tracer.server.services.agent_scores import AgentScores
from agent_tracer.server.services.benchmarks import Benchmarks
from agent_tracer.server.services.evaluations import Evaluations
from agent_tracer.server.services.ingest import Ingest
from agent_tracer.server.services.learning import LearningAnalytics
from agent_tracer.server.services.loaded_reads import LoadedReads
from agent_tracer.server.services.settled_reads import SettledReads
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
    feed: TraceBroadcast
    registry: CollectorRegistry
    evaluation_weights: Mapping[str, float]


def services_on(shared: Shared) -> Sequence[Service]:
    """All four, ready to register."""
    return [
        trace_service(TraceServicer(_traces(shared))),
        ace_service(AceServicer(_ace(shared))),
        atlas_service(AtlasServicer(_atlas(shared))),
        *unbuilt_services(),
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
            forget=shared.similarity.indexer.forget,
        ),
        statistics=TraceStatistics(store, time.time_ns, SettledReads(loaded, shared.settler).catch_up),
        watch=TraceWatch(store, shared.feed),
        export=TraceExport(store, loaded, time.time_ns),
        evaluations=Evaluations(reader=store, store=store, loaded=loaded, clock_ns=time.time_ns, new_id=_new_id),
    )


def _ace(shared: Shared) -> AceUseCases:
    reader, archive = ClickHouseTasks(shared.engine), ClickHouseArchive(shared.engine)
    clock_ns, catch_up = time.time_ns, _settled_well(shared)
    return AceUseCases(
        scores=AgentScores(
            reader=reader,
            archive=archive,
            metrics=PrometheusScores(shared.registry),
            catch_up=catch_up,
            clock_ns=clock_ns,
            new_id=_new_id,
            evaluation_weights=shared.evaluation_weights,
        ),
        benchmarks=Benchmarks(reader=reader, archive=archive, catch_up=catch_up, clock_ns=clock_ns, new_id=_new_id),
        comparisons=VersionComparisons(reader=reader, archive=archive, catch_up=catch_up, clock_ns=clock_ns),
    )


def _atlas(shared: Shared) -> AtlasUseCases:
    clock_ns, catch_up = time.time_ns, _settled_well(shared)
    return AtlasUseCases(
        learning=LearningAnalytics(reader=ClickHouseTasks(shared.engine), catch_up=catch_up, clock_ns=clock_ns),
        workflows=Workflows(
            reader=ClickHouseWork(shared.engine), loaded=shared.loaded, catch_up=catch_up, clock_ns=clock_ns
        ),
        similar=SimilarTraces(
            reader=ClickHouseStore(shared.engine),
            index=shared.similarity.index,
            indexer=shared.similarity.indexer,
            loaded=shared.loaded,
            catch_up=SettledReads(shared.loaded, shared.similarity.indexer, INDEXED_WAIT_SECONDS_MAX).catch_up,
            clock_ns=clock_ns,
        ),
    )


def _settled_well(shared: Shared) -> Callable[[], Awaitable[None]]:
    return SettledReads(shared.loaded, shared.settler, ANALYSIS_WAIT_SECONDS_MAX).catch_up


def _new_id() -> str:
    return uuid.uuid4().hex
