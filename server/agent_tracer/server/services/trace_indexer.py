"""Makes traces findable by similarity: embeds those that commits touched, latest first, and keeps the index tidy."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Final

import structlog

from agent_tracer.server.domain.ids import OtelTraceId, TenantId
from agent_tracer.server.limits import (
    INDEX_BATCH_TRACES,
    INDEX_COST_FACTOR,
    INDEX_INTERVAL_SECONDS_MIN,
    INDEX_RETRY_SECONDS,
    INDEX_SAVE_SECONDS,
    SETTLED_WAIT_SECONDS_MAX,
)
from agent_tracer.server.ports.journal import Record
from agent_tracer.server.ports.outlines import OutlinedTrace, OutlineReader, ProgressKeeper
from agent_tracer.server.ports.settling import ReceivedRange
from agent_tracer.server.ports.store import QueryTimeoutError, StoreDownError, TooMuchDataError
from agent_tracer.server.ports.vectors import (
    EmbedderDownError,
    Embedders,
    Vector,
    VectorIndex,
    VectorPoint,
    VectorsDownError,
)
from agent_tracer.server.services.backlog import Backlog, Done
from agent_tracer.server.services.follower import LEFT, Follower
from agent_tracer.server.services.index_upkeep import IndexUpkeep
from agent_tracer.server.services.pacing import Pace
from agent_tracer.server.services.received_ranges import EVER

_log: Final = structlog.get_logger("similar")
_PACE: Final = Pace(
    part="similar",
    what="traces are made findable",
    expected=(StoreDownError, QueryTimeoutError, TooMuchDataError, VectorsDownError, EmbedderDownError, OSError),
    cost_factor=INDEX_COST_FACTOR,
    seconds_min=INDEX_INTERVAL_SECONDS_MIN,
    retry_seconds=INDEX_RETRY_SECONDS,
    seconds_first=INDEX_INTERVAL_SECONDS_MIN,
    gathers=True,
)


class TraceIndexer:
    """CommitListener; `run` is its task. A read that needs the latest traces awaits `settled` first.

    Of more than SIMILAR_TRACES_MAX traces, the first received are left out.
    """

    def __init__(  # noqa: PLR0913 - its collaborators, by name
        self,
        *,
        reader: OutlineReader,
        index: VectorIndex,
        embedders: Embedders,
        progress: ProgressKeeper,
        clock_ns: Callable[[], int],
        retention_days: int,
    ) -> None:
        self._reader = reader
        self._index = index
        self._embedders = embedders
        self._backlog = Backlog(progress, self._index_batch, save_seconds=INDEX_SAVE_SECONDS, flush=index.flush)
        self._follower = Follower(_PACE, self._work)
        self._upkeep = IndexUpkeep(
            index=index,
            embedders=embedders,
            backlog=self._backlog,
            clock_ns=clock_ns,
            retention_days=retention_days,
        )

    async def committed(self, records: Sequence[Record]) -> None:
        """These records can be read now."""
        if self._backlog.committed(records):
            self._follower.wake()

    async def run(self) -> None:
        """Index until cancelled, in a tenth of the time. What is down is asked again; nothing is skipped meanwhile."""
        try:
            await self._follower.run()
        finally:
            await self._follower.now(self._backlog.save)

    async def settled(self) -> None:
        """Index what is loaded now, latest first, for about SETTLED_WAIT_SECONDS_MAX. What is down stays for later."""
        until = time.perf_counter() + SETTLED_WAIT_SECONDS_MAX
        await self._follower.now(lambda: self._index_until(until))

    async def forget(self, tenant: TenantId, trace_id: OtelTraceId) -> None:
        """Remove a trace that the store has removed. Where the index is slow or down, it is done when that is well."""
        # Again after the batch under way, which may have read it from the store before.
        self._upkeep.forget(tenant, trace_id)
        self._follower.wake()
        with suppress(TimeoutError, VectorsDownError):
            async with asyncio.timeout(SETTLED_WAIT_SECONDS_MAX):
                await self._index.delete(tenant, [trace_id])

    async def embedded(self, tenant: TenantId, trace_id: OtelTraceId) -> Sequence[tuple[str, Vector]] | None:
        """The trace's vector by the id of the embedder, for each embedder in use; None where it is not stored.

        Raises EmbedderDownError, and what the reader raises.
        """
        found = await self._reader.outlines(tenant, [trace_id])
        if not found:
            return None
        former = self._embedders.former
        embedders = [self._embedders.current, *([former] if former is not None else ())]
        return [(one.id, (await one.embed([found[0].outline]))[0]) for one in embedders]

    async def _work(self) -> float:
        """One batch, and what is due."""
        await self._begin()
        await self._upkeep.delete_forgotten()
        await self._backlog.work_off()
        await self._upkeep.end_mixture()
        await self._learn()
        await self._upkeep.trim()
        await self._backlog.save_in_time()
        return LEFT if self._backlog else INDEX_SAVE_SECONDS

    async def _begin(self) -> None:
        """With the embedder in use: another one's vectors are none of this one's."""
        if await self._backlog.begin(self._embedders.current.id):
            self._upkeep.points = None

    async def _index_until(self, until: float) -> None:
        await self._begin()
        await self._upkeep.delete_forgotten()  # a trace of the same id may have come since
        await self._backlog.work_off_until(until)

    async def _index_batch(self, received: ReceivedRange) -> Done:
        batch = await self._reader.received(received, limit=INDEX_BATCH_TRACES)
        for tenant, traces in _portions(batch.traces):
            await self._index_new(tenant, traces)
        await self._upkeep.delete_forgotten()
        return Done(batch.from_ns, batch.traces[0][2] if batch.traces else None)

    async def _index_new(self, tenant: TenantId, traces: dict[OtelTraceId, int]) -> None:
        """Those of which something was received since they were indexed."""
        points = await self._upkeep.count()
        known = await self._index.received(tenant, self._backlog.maker, list(traces))
        new = [trace_id for trace_id, last in traces.items() if known.get(trace_id, -1) < last]
        try:
            found = await self._reader.outlines(tenant, new)
        except (QueryTimeoutError, TooMuchDataError) as error:  # as they would be the next time
            _log.warning("some traces are not made findable", traces=len(new), reason=type(error).__name__)
            return
        embedder = self._embedders.current
        vectors = await embedder.embed([one.outline for one in found])
        await self._index.upsert([_point(tenant, one, embedder.id) for one in found], vectors)
        self._upkeep.points = points + sum(one.trace.otel_trace_id not in known for one in found)

    async def _learn(self) -> None:
        """A new embedder where there are so many more traces that words mean something else."""
        points = self._upkeep.points
        if points is None or self._upkeep.is_mixed:
            return
        wanted = self._embedders.texts_wanted(points)
        if not wanted:
            return
        latest = (await self._reader.received(EVER, limit=wanted)).traces
        texts: list[str] = []
        for tenant, traces in _portions(latest):
            texts += [one.outline.text for one in await self._reader.outlines(tenant, list(traces))]
        await self._embedders.learn(texts, points)
        _log.info("words are weighted anew", texts=len(texts), traces=points)
        await self._begin()


def _portions(
    traces: Sequence[tuple[TenantId, OtelTraceId, int]],
) -> Iterator[tuple[TenantId, dict[OtelTraceId, int]]]:
    """When each trace was received, by tenant, INDEX_BATCH_TRACES at most at once."""
    for tenant, of_tenant in groupby(sorted(traces), key=lambda trace: trace[0]):
        received = [(trace_id, last) for _, trace_id, last in of_tenant]
        for first in range(0, len(received), INDEX_BATCH_TRACES):
            yield tenant, dict(received[first : first + INDEX_BATCH_TRACES])


def _point(tenant: TenantId, found: OutlinedTrace, embedder: str) -> VectorPoint:
    trace = found.trace
    return VectorPoint(
        tenant=tenant,
        trace_id=trace.otel_trace_id,
        embedder=embedder,
        agent_id=trace.agent_id,
        operation=trace.operation,
        status=trace.status,
        start_ns=trace.start_ns,
        received_ns=found.received_ns,
    )
