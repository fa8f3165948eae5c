"""Brings settled calls into the store's graph, five minutes at a time, latest first."""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog

from agent_tracer.server.domain.graph.records import GraphBucket, GraphFact
from agent_tracer.server.domain.ids import OtelTraceId, TenantId
from agent_tracer.server.limits import (
    ANALYSIS_WAIT_SECONDS_MAX,
    GRAPH_BATCH_BUCKETS,
    GRAPH_COST_FACTOR,
    GRAPH_INTERVAL_SECONDS_MAX,
    GRAPH_INTERVAL_SECONDS_MIN,
    GRAPH_REFUSED_MAX,
    GRAPH_WORK_SECONDS,
    SETTLE_OVERLAP_SECONDS,
)
from agent_tracer.server.ports.graph import GraphSource, GraphWriter, TouchedBucket
from agent_tracer.server.ports.journal import Record
from agent_tracer.server.ports.store import QueryTimeoutError, StoreDownError, TooMuchDataError
from agent_tracer.server.services.follower import LEFT, Follower
from agent_tracer.server.services.graph_replica import GraphReplica
from agent_tracer.server.services.graph_writes import GraphWrites
from agent_tracer.server.services.pacing import Pace

_log: Final = structlog.get_logger("graph")
_OVERLAP_NS: Final = SETTLE_OVERLAP_SECONDS * 1_000_000_000
"""A clock may be set back a little."""
_TOO_MUCH: Final = (QueryTimeoutError, TooMuchDataError)
_PACE: Final = Pace(
    part="graph",
    what="calls are brought into the graph",
    expected=(StoreDownError, *_TOO_MUCH),
    cost_factor=GRAPH_COST_FACTOR,
    seconds_min=GRAPH_INTERVAL_SECONDS_MIN,
    seconds_max=GRAPH_INTERVAL_SECONDS_MAX,
)


class GraphProjector:
    """CommitListener; `run` is its task. A read that needs the latest calls awaits `settled` first.

    What was done is told by the store's graph itself, so that nothing is lost or counted twice over a stop or a crash.
    """

    def __init__(
        self,
        *,
        source: GraphSource,
        store: GraphWriter,
        settle: Callable[[], Awaitable[None]],
        clock_ns: Callable[[], int],
        replica: GraphReplica | None = None,
    ) -> None:
        """`settle`: returns when all that is loaded is settled. `replica`: told of what was written, and waited for."""
        self._source = source
        self._settle = settle
        self._replica = replica
        self._writes = GraphWrites(store, clock_ns, replica)
        self._follower = Follower(_PACE, self._work, ready=settle)
        self._done_to_ns = 0
        self._refused: dict[tuple[TenantId, int], int] = {}
        self.waiting = 0
        """Buckets that were known to be not in the graph yet when it was looked last."""

    async def committed(self, records: Sequence[Record]) -> None:
        """These records can be read now."""
        await self._follower.committed(records)

    async def forget(self, _tenant: TenantId, _trace_id: OtelTraceId) -> None:
        """The store removed a trace, and noted which buckets it was part of."""
        self._follower.wake()

    async def run(self) -> None:
        """Project until cancelled, in a thirtieth of the time; nothing while nothing comes."""
        await self._follower.run()

    async def settled(self) -> None:
        """Return once everything that is loaded now is in the graph, the replica's too unless that is down.

        What takes longer than a caller waits is left for later. Raises StoreDownError.
        """
        await self._settle()
        try:
            async with self._follower.turn:
                await self._project_for(ANALYSIS_WAIT_SECONDS_MAX)
        except _TOO_MUCH as error:
            _PACE.tell(error)
        if self._replica is not None:
            await self._replica.caught_up()

    async def keep_facts(self, facts: Sequence[GraphFact]) -> None:
        """Put incidents and causes into the graph; the version is given here. Raises StoreDownError."""
        await self._writes.put_facts(facts)

    async def _work(self) -> float | None:
        await self._project_for(GRAPH_WORK_SECONDS)
        return LEFT if self.waiting else None

    async def _project_for(self, seconds: float) -> None:
        until = time.perf_counter() + seconds
        while await self._project() and time.perf_counter() < until:
            pass

    async def _project(self) -> bool:
        """One batch; whether more is waiting."""
        limit = GRAPH_BATCH_BUCKETS + len(self._refused)
        touched = await self._source.touched(after_ns=max(0, self._done_to_ns - _OVERLAP_NS), limit=limit)
        wanted = [one for one in touched.some if self._refused.get((one.tenant, one.start_ns)) != one.settled_ns]
        batch = wanted[:GRAPH_BATCH_BUCKETS]
        refused = len(touched.some) - len(wanted)
        if batch:
            await self._writes.put(await self._made(batch))
        self.waiting = touched.waiting - len(batch) - refused
        if not self.waiting:
            self._done_to_ns = max([self._done_to_ns, *(one.settled_ns for one in touched.some)])
        return self.waiting > 0 and bool(batch)

    async def _made(self, batch: Sequence[TouchedBucket]) -> Sequence[GraphBucket]:
        """All at once, or where that is too much in halves, without those that are too much alone."""
        try:
            return await self._source.made(batch)
        except _TOO_MUCH:
            if len(batch) == 1:
                self._refuse(batch[0])
                return []
        half = len(batch) // 2
        return [*await self._made(batch[:half]), *await self._made(batch[half:])]

    def _refuse(self, one: TouchedBucket) -> None:
        _log.warning("five minutes have too many calls for the graph", start_ns=one.start_ns)
        self._refused[one.tenant, one.start_ns] = one.settled_ns
        while len(self._refused) > GRAPH_REFUSED_MAX:
            del self._refused[next(iter(self._refused))]
