"""Use case: components and the calls between them."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from agent_tracer.server.domain.conditions import analysis_range
from agent_tracer.server.domain.errors import Violations
from agent_tracer.server.domain.graph.records import Graph, GraphLimit
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.telemetry import TimeRange
from agent_tracer.server.limits import (
    GRAPH_ANSWER_SECONDS_MAX,
    GRAPH_EDGES_MAX,
    GRAPH_NODES_MAX,
    GRAPH_REPLICA_HOURS_MAX,
)
from agent_tracer.server.ports.graph import GraphDownError, GraphReader
from agent_tracer.server.services.graph_projector import GraphProjector
from agent_tracer.server.services.graph_replica import GraphReplica
from agent_tracer.server.services.settled_reads import CatchUp

PERIOD_DEFAULT: Final = "1h"
_HOUR_NS: Final = 3600 * 1_000_000_000
_LIMIT: Final = GraphLimit(GRAPH_NODES_MAX, GRAPH_EDGES_MAX)
_FROM_STORE: Final = "{}; the graph is read from the store instead"
_SLOW: Final = "the graph database does not answer in time"
_LEFT_OUT: Final = "{} components or edges with the fewest calls are left out"
_WAITING: Final = "calls of {} stretches of five minutes, of this period or others, are not counted yet"


@dataclass(frozen=True, slots=True)
class ServiceGraph:
    """What called what in the period, and what the answer lacks."""

    graph: Graph
    caveats: Sequence[str]


class ServiceGraphs:
    """Raises InvalidFieldsError, and what ports.store raises."""

    def __init__(
        self,
        *,
        store: GraphReader,
        projector: GraphProjector,
        replica: GraphReplica | None,
        catch_up: CatchUp,
        clock_ns: Callable[[], int],
    ) -> None:
        """`replica`: the graph database's, where there is one."""
        self._store = store
        self._projector = projector
        self._replica = replica
        self._catch_up = catch_up
        self._clock_ns = clock_ns

    async def graph(self, tenant: TenantId, period: str) -> ServiceGraph:
        """Of the period back from now, to whole five minutes; GRAPH_NODES_MAX and GRAPH_EDGES_MAX at most."""
        found = Violations()
        time_range = analysis_range(found, period, PERIOD_DEFAULT, None, self._clock_ns())
        found.raise_any()
        caveats = list(await self._catch_up())
        graph = await self._of_replica(tenant, time_range, caveats)
        if graph is None:
            graph = await self._store.graph(tenant, time_range, _LIMIT)
        if graph.left_out:
            caveats.append(_LEFT_OUT.format(graph.left_out))
        if self._projector.waiting:
            caveats.append(_WAITING.format(self._projector.waiting))
        return ServiceGraph(graph, caveats)

    async def _of_replica(self, tenant: TenantId, time_range: TimeRange, caveats: list[str]) -> Graph | None:
        """None where the store has to answer; why is a caveat, unless that is as it should be."""
        replica = self._replica
        # Its end is ahead of now, for clocks that are.
        hours = (self._clock_ns() - time_range.start_ns) / _HOUR_NS
        if replica is None or hours > GRAPH_REPLICA_HOURS_MAX:
            return None
        problem = replica.problem
        if not problem:
            try:
                async with asyncio.timeout(GRAPH_ANSWER_SECONDS_MAX):
                    return await replica.reader.graph(tenant, time_range, _LIMIT)
            except TimeoutError:
                problem = _SLOW
            except GraphDownError as error:
                replica.failed(error)
                problem = str(error)
        caveats.append(_FROM_STORE.format(problem))
        return None
