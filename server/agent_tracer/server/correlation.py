"""What is made of commits for CorrelationService: its tasks beside the loader. Part of the composition root."""

import asyncio
import time
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.adapters.clickhouse.failures import ClickHouseFailures
from agent_tracer.server.adapters.clickhouse.graph import ClickHouseGraph
from agent_tracer.server.adapters.clickhouse.graph_source import ClickHouseGraphSource
from agent_tracer.server.adapters.clickhouse.incidents import ClickHouseIncidents
from agent_tracer.server.adapters.clickhouse.watched import ClickHouseWatched
from agent_tracer.server.adapters.data_directory import DataDirectory
from agent_tracer.server.adapters.neo4j_graph.graph import Neo4jGraph
from agent_tracer.server.adapters.vectors.progress import FileProgress
from agent_tracer.server.config import Settings
from agent_tracer.server.ports.incidents import IncidentStore
from agent_tracer.server.services.commits import CommitListener
from agent_tracer.server.services.detector import Detector
from agent_tracer.server.services.failure_signer import FailureSigner
from agent_tracer.server.services.graph_projector import GraphProjector
from agent_tracer.server.services.graph_replica import GraphReplica
from agent_tracer.server.services.incident_graph import IncidentGraph, NotedIncidents
from agent_tracer.server.services.settler import Settler

Task = tuple[Coroutine[None, None, None], str]


@dataclass(frozen=True, slots=True)
class Correlating:
    """Signatures of failed runs, the graph with its copy in a graph database, incidents that are noticed.

    `writing`: held by whoever writes an incident that depends on what is kept of it.
    """

    incidents: NotedIncidents
    writing: asyncio.Lock
    incident_graph: IncidentGraph
    signer: FailureSigner
    graph: ClickHouseGraph
    projector: GraphProjector
    replica: GraphReplica | None
    detector: Detector | None

    @property
    def listeners(self) -> Sequence[CommitListener]:
        """Whom the loader tells of commits."""
        return (self.signer, self.projector, *((self.detector,) if self.detector else ()))

    def tasks(self) -> Sequence[Task]:
        """What runs as long as the server does, each with its name."""
        tasks: list[Task] = [
            (self.signer.run(), "the signer of failed runs"),
            (self.projector.run(), "the projector of the graph"),
        ]
        if self.replica:
            tasks.append((self.replica.run(), "the copier of the graph"))
        if self.detector:
            tasks.append((self.detector.run(), "the detector of incidents"))
        return tasks


def correlating_of(
    stack: AsyncExitStack, settings: Settings, directory: DataDirectory, engine: Engine, settler: Settler
) -> Correlating:
    """Nothing of it runs, or is connected, yet."""
    graph = ClickHouseGraph(engine)
    replica = _replica(stack, settings, graph)
    projector = GraphProjector(
        source=ClickHouseGraphSource(engine),
        store=graph,
        settle=settler.settled,
        clock_ns=time.time_ns,
        replica=replica,
    )
    incident_graph = IncidentGraph(projector.keep_facts)
    incidents = NotedIncidents(ClickHouseIncidents(engine), incident_graph)
    writing = asyncio.Lock()
    return Correlating(
        incidents=incidents,
        writing=writing,
        incident_graph=incident_graph,
        signer=FailureSigner(store=ClickHouseFailures(engine), progress=FileProgress(directory.root / "failures")),
        graph=graph,
        projector=projector,
        replica=replica,
        detector=_detector(settings, engine, settler, incidents, writing),
    )


def _replica(stack: AsyncExitStack, settings: Settings, graph: ClickHouseGraph) -> GraphReplica | None:
    given = settings.correlation.neo4j
    if given is None:
        return None
    target = Neo4jGraph(str(given.uri), given.user, given.password.get_secret_value())
    stack.push_async_callback(target.aclose)
    return GraphReplica(log=graph, target=target, clock_ns=time.time_ns)


def _detector(
    settings: Settings, engine: Engine, settler: Settler, incidents: IncidentStore, writing: asyncio.Lock
) -> Detector | None:
    if not settings.correlation.detector.enabled:
        return None
    return Detector(
        watched=ClickHouseWatched(engine),
        incidents=incidents,
        settled=settler.settled,
        clock_ns=time.time_ns,
        writing=writing,
    )
