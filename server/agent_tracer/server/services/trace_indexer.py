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
    INDEX_FORGOTTEN_MAX,
    INDEX_INTERVAL_SECONDS_MIN,
    INDEX_RETRY_SECONDS,
    INDEX_SAVE_SECONDS,
    INDEX_UPKEEP_SECONDS,
    SETTLE_OVERLAP_SECONDS,
    SETTLED_WAIT_SECONDS_MAX,
    SIMILAR_TRACES_MAX,
    SIMILAR_TRACES_SLACK,
)
from agent_tracer.server.ports.journal import Record
from agent_tracer.server.ports.outlines import OutlinedTrace, OutlineReader, Progress, ProgressKeeper
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
from agent_tracer.server.services.pacing import Pace
from agent_tracer.server.services.received_ranges import WaitingRanges, range_of_commit

_log: Final = structlog.get_logger("similar")
_OVERLAP_NS: Final = SETTLE_OVERLAP_SECONDS * 1_000_000_000
_EVER: Final = ReceivedRange(0, 2**62)
"""To the year 2116, since records may carry the time of a clock that was ahead."""
_DAY_NS: Final = 86_400 * 1_000_000_000
_DOWN: Final = (StoreDownError, QueryTimeoutError, TooMuchDataError, VectorsDownError, EmbedderDownError, OSError)
"""Later it may work."""

_PACE: Final = Pace(
    part="similar",
    what="traces are made findable",
    expected=_DOWN,
    cost_factor=INDEX_COST_FACTOR,
    retry_seconds=INDEX_RETRY_SECONDS,
    seconds_min=INDEX_INTERVAL_SECONDS_MIN,
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
        self._progress = progress
        self._clock_ns = clock_ns
        self._retention_ns = retention_days * _DAY_NS
        self._waiting = WaitingRanges()
        self._reached_ns: int | None = None
        self._embedder_id = ""
        # None: not asked yet, so that an index which nobody needs is not opened.
        self._points: int | None = None
        self._is_mixed = False
        self._is_continued = False
        self._saved_at = self._kept_up_at = -INDEX_UPKEEP_SECONDS
        self._is_changed = False
        self._turn = asyncio.Lock()
        self._wake = asyncio.Event()
        self._forgotten: dict[tuple[TenantId, OtelTraceId], None] = {}

    async def committed(self, records: Sequence[Record]) -> None:
        """These records can be read now."""
        received = range_of_commit(records, self._reached_ns)
        if received is not None:
            # The last commit's, not the latest: after a clock was set back those times are what a restart needs.
            self._reached_ns = received.end_ns
            self._waiting.add(received)
            self._wake.set()

    async def run(self) -> None:
        """Index until cancelled, in a tenth of the time. What is down is asked again; nothing is skipped meanwhile."""
        pause_seconds = INDEX_INTERVAL_SECONDS_MIN
        try:
            while True:
                await asyncio.sleep(pause_seconds)
                pause_seconds = await self._work_timed()
                with suppress(TimeoutError):
                    async with asyncio.timeout(INDEX_SAVE_SECONDS):
                        await self._wake.wait()
        finally:
            with suppress(*_DOWN):
                async with self._turn:
                    await self._save()

    async def settled(self) -> None:
        """Index what is loaded now, latest first, for about SETTLED_WAIT_SECONDS_MAX. What is down stays for later."""
        until = time.perf_counter() + SETTLED_WAIT_SECONDS_MAX
        with suppress(*_DOWN):
            async with self._turn:
                await self._start()
                while self._waiting and time.perf_counter() < until:
                    await self._index_latest()

    async def forget(self, tenant: TenantId, trace_id: OtelTraceId) -> None:
        """Remove a trace that the store has removed. Where the index is slow or down, it is done when that is well."""
        # Again after the batch under way, which may have read it from the store before.
        self._forgotten[tenant, trace_id] = None
        while len(self._forgotten) > INDEX_FORGOTTEN_MAX:
            del self._forgotten[next(iter(self._forgotten))]
        self._wake.set()
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

    async def _work_timed(self) -> float:
        """Seconds of the pause that is due after it."""
        return await _PACE.pause_after(self._in_turn, self._wake)

    async def _in_turn(self) -> None:
        async with self._turn:
            await self._work()

    async def _work(self) -> None:
        """One batch, and what is due."""
        self._wake.clear()
        await self._start()
        await self._delete_forgotten()
        if self._waiting:
            await self._index_latest()
        if self._is_mixed and not self._waiting:
            await self._index.keep_only(self._embedder_id)
            self._embedders.forget_former()
            self._points, self._is_mixed = await self._index.count(), False
            _log.info("every trace is embedded anew", embedder=self._embedder_id, traces=self._points)
        await self._learn()
        await self._keep_up()
        if self._waiting:
            self._wake.set()
        if time.perf_counter() - self._saved_at >= INDEX_SAVE_SECONDS:
            await self._save()

    async def _start(self) -> None:
        """What was left at the last stop, or everything where that is not known of these vectors."""
        current = self._embedders.current.id
        if self._embedder_id == current:
            return
        kept = await asyncio.to_thread(self._progress.load)
        self._is_continued = kept is not None and kept.maker == current
        if kept is None or kept.maker != current:
            self._waiting.add(_EVER)
        else:
            self._reached_ns = self._reached_ns if self._reached_ns is not None else kept.reached_ns
            for left in (*kept.left, ReceivedRange(max(0, kept.reached_ns - _OVERLAP_NS), _EVER.end_ns)):
                self._waiting.add(left)
        self._embedder_id, self._points = current, None

    async def _count(self) -> int:
        """How many points there are; the first time, whether they are what the progress says."""
        if self._points is None:
            points, current = await self._index.count(), await self._index.count(self._embedder_id)
            if self._is_continued and not current:
                self._waiting.add(_EVER)
            self._points, self._is_mixed = points, points > current
        return self._points

    async def _index_latest(self) -> None:
        """The latest batch of what waits. Where it fails, all of it waits on."""
        taken = self._waiting.take_latest()
        if taken is None:
            return
        try:
            batch = await self._reader.received(taken, limit=INDEX_BATCH_TRACES)
            self._waiting.add(ReceivedRange(taken.start_ns, batch.from_ns - 1))
            taken = ReceivedRange(batch.from_ns, taken.end_ns)
            for tenant, traces in _portions(batch.traces):
                await self._index_new(tenant, traces)
        except BaseException:
            self._waiting.add(taken)
            raise
        if batch.traces:
            self._reached_ns = batch.traces[0][2] if self._reached_ns is None else self._reached_ns
            self._is_changed = True
            await self._delete_forgotten()

    async def _index_new(self, tenant: TenantId, traces: dict[OtelTraceId, int]) -> None:
        """Those of which something was received since they were indexed."""
        points = await self._count()
        known = await self._index.received(tenant, self._embedder_id, list(traces))
        new = [trace_id for trace_id, last in traces.items() if known.get(trace_id, -1) < last]
        try:
            found = await self._reader.outlines(tenant, new)
        except (QueryTimeoutError, TooMuchDataError) as error:  # as they would be the next time
            _log.warning("some traces are not made findable", traces=len(new), reason=type(error).__name__)
            return
        embedder = self._embedders.current
        vectors = await embedder.embed([one.outline for one in found])
        await self._index.upsert([_point(tenant, one, embedder.id) for one in found], vectors)
        self._points = points + sum(one.trace.otel_trace_id not in known for one in found)

    async def _delete_forgotten(self) -> None:
        for tenant, of_tenant in groupby(sorted(self._forgotten), key=lambda key: key[0]):
            keys = list(of_tenant)
            await self._index.delete(tenant, [trace_id for _, trace_id in keys])
            for key in keys:
                self._forgotten.pop(key, None)

    async def _learn(self) -> None:
        """A new embedder where there are so many more traces that words mean something else."""
        if self._points is None or self._is_mixed:
            return
        wanted = self._embedders.texts_wanted(self._points)
        if not wanted:
            return
        latest = (await self._reader.received(_EVER, limit=wanted)).traces
        texts: list[str] = []
        for tenant, traces in _portions(latest):
            texts += [one.outline.text for one in await self._reader.outlines(tenant, list(traces))]
        await self._embedders.learn(texts, self._points)
        _log.info("words are weighted anew", texts=len(texts), traces=self._points)
        await self._start()

    async def _keep_up(self) -> None:
        """Remove what is too old or too much, from time to time."""
        if self._points is None:
            return
        is_full = self._points > SIMILAR_TRACES_MAX + SIMILAR_TRACES_SLACK
        if not is_full and time.perf_counter() - self._kept_up_at < INDEX_UPKEEP_SECONDS:
            return
        oldest_ns = self._clock_ns() - self._retention_ns
        cut_ns = await self._index.trim(keep=SIMILAR_TRACES_MAX, received_from_ns=oldest_ns)
        self._waiting.drop_before(oldest_ns if cut_ns is None else cut_ns)
        self._kept_up_at = time.perf_counter()
        before, self._points = self._points, await self._index.count()
        if before and not self._points:
            self._waiting.add(_EVER)  # somebody emptied it

    async def _save(self) -> None:
        """Durable vectors first: what is saved as done must be there."""
        if self._is_changed and self._reached_ns is not None:
            await self._index.flush()
            progress = Progress(self._embedder_id, self._reached_ns, self._waiting.all())
            await asyncio.to_thread(self._progress.save, progress)
            self._is_changed = False
        self._saved_at = time.perf_counter()


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
