"""Tells by what each failed run failed: signs the traces that commits touched, latest received first."""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Final

from agent_tracer.server.domain.failures.signatures import VERSION, Signature, signature
from agent_tracer.server.domain.failures.spans import RunSpan, run_steps
from agent_tracer.server.domain.ids import OtelTraceId
from agent_tracer.server.limits import (
    FAILURE_BATCH_TRACES,
    FAILURE_COST_FACTOR,
    FAILURE_INTERVAL_SECONDS_MIN,
    FAILURE_READ_SPANS_MAX,
    FAILURE_RETRY_SECONDS,
    FAILURE_SAVE_SECONDS,
    FAILURES_WAIT_SECONDS_MAX,
    SETTLE_OVERLAP_SECONDS,
)
from agent_tracer.server.ports.failures import ConsideredRun, FailureStore, SignedRun
from agent_tracer.server.ports.journal import Record
from agent_tracer.server.ports.outlines import Progress, ProgressKeeper
from agent_tracer.server.ports.settling import ReceivedRange
from agent_tracer.server.ports.store import QueryTimeoutError, StoreDownError, TooMuchDataError
from agent_tracer.server.services.pacing import Pace
from agent_tracer.server.services.received_ranges import WaitingRanges, range_of_commit

_OVERLAP_NS: Final = SETTLE_OVERLAP_SECONDS * 1_000_000_000
_END_OF_TIME_NS: Final = 2**62
"""A time in the year 2116, since records may carry the time of a clock that was ahead."""
_DOWN: Final = (StoreDownError, QueryTimeoutError, TooMuchDataError, OSError)
"""Later it may work."""

_PACE: Final = Pace(
    part="failures",
    what="failed runs are grouped",
    expected=_DOWN,
    cost_factor=FAILURE_COST_FACTOR,
    retry_seconds=FAILURE_RETRY_SECONDS,
    seconds_min=FAILURE_INTERVAL_SECONDS_MIN,
)


class FailureSigner:
    """CommitListener; `run` is its task. A read that needs the latest failed runs awaits `settled` first.

    A run's signature depends on the run alone, so that doing any of it again changes nothing. Latest first, since
    lists ask for the last days; what an import of years brings is signed behind that.
    """

    def __init__(self, *, store: FailureStore, progress: ProgressKeeper) -> None:
        self._store = store
        self._progress = progress
        self._waiting = WaitingRanges()
        self._reached_ns: int | None = None
        self._is_started = False
        self._is_changed = False
        self._saved_at = time.perf_counter()
        self._turn = asyncio.Lock()
        self._wake = asyncio.Event()

    @property
    def is_behind(self) -> bool:
        """Whether something that was received may not have been signed yet."""
        return bool(self._waiting) or not self._is_started

    async def committed(self, records: Sequence[Record]) -> None:
        """These records can be read now."""
        received = range_of_commit(records, self._reached_ns)
        if received is not None:
            # The last commit's, not the latest: after a clock was set back those times are what a restart needs.
            self._reached_ns = received.end_ns
            self._is_changed = True
            self._waiting.add(received)
            self._wake.set()

    async def run(self) -> None:
        """Sign until cancelled, in a tenth of the time. What is down is asked again; nothing is skipped meanwhile."""
        pause_seconds = 0.0
        try:
            while True:
                await asyncio.sleep(pause_seconds)
                pause_seconds = await self._work_timed()
                with suppress(TimeoutError):
                    async with asyncio.timeout(FAILURE_SAVE_SECONDS):
                        await self._wake.wait()
        finally:
            with suppress(*_DOWN):
                async with self._turn:
                    await self._save()

    async def settled(self) -> None:
        """Sign what is loaded now, latest first, for about FAILURES_WAIT_SECONDS_MAX. What is down stays for later."""
        until = time.perf_counter() + FAILURES_WAIT_SECONDS_MAX
        with suppress(*_DOWN):
            async with self._turn:
                await self._start()
                while self._waiting and time.perf_counter() < until:
                    await self._sign_latest()

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
        await self._sign_latest()
        if self._waiting:
            self._wake.set()
        if time.perf_counter() - self._saved_at >= FAILURE_SAVE_SECONDS:
            await self._save()

    async def _start(self) -> None:
        """What was left at the last stop, or everything where that is not known of signatures of this kind."""
        if self._is_started:
            return
        kept = await asyncio.to_thread(self._progress.load)
        if kept is None or kept.maker != VERSION:
            self._waiting.add(ReceivedRange(0, _END_OF_TIME_NS))
        else:
            self._reached_ns = self._reached_ns if self._reached_ns is not None else kept.reached_ns
            for left in (*kept.left, ReceivedRange(max(0, kept.reached_ns - _OVERLAP_NS), _END_OF_TIME_NS)):
                self._waiting.add(left)
        self._is_started = True

    async def _sign_latest(self) -> None:
        """The latest batch of what waits. Where it fails, all of it waits on."""
        taken = self._waiting.take_latest()
        if taken is None:
            return
        try:
            found = await self._store.considered(taken, limit=FAILURE_BATCH_TRACES)
            # Where all of a full batch came at one time, nothing of that time is left.
            self._waiting.add(ReceivedRange(taken.start_ns, found.from_ns - 1))
            taken = ReceivedRange(found.from_ns, taken.end_ns)
            for portion in _portions(found.runs):
                await self._store.keep(await self._signed(portion))
        except BaseException:
            self._waiting.add(taken)
            raise
        if found.runs:
            self._is_changed = True
            latest_ns = max(run.received_ns for run in found.runs)
            self._reached_ns = latest_ns if self._reached_ns is None else self._reached_ns

    async def _signed(self, runs: Sequence[ConsideredRun]) -> Sequence[SignedRun]:
        """Runs of one tenant; those that turned out well have no signature."""
        failed = {run.otel_trace_id: run.hours for run in runs if run.is_failed}
        spans: Mapping[OtelTraceId, Sequence[RunSpan]] = {}
        if failed:
            spans = await self._store.spans(runs[0].tenant, failed)
        signatures = await asyncio.to_thread(_signatures, spans)
        return [
            SignedRun(run, signatures.get(run.otel_trace_id))
            for run in runs
            if not run.is_failed or run.otel_trace_id in signatures
        ]

    async def _save(self) -> None:
        if self._is_changed and self._is_started and self._reached_ns is not None:
            await asyncio.to_thread(self._progress.save, Progress(VERSION, self._reached_ns, self._waiting.all()))
            self._is_changed = False
        self._saved_at = time.perf_counter()


def _signatures(spans: Mapping[OtelTraceId, Sequence[RunSpan]]) -> dict[OtelTraceId, Signature]:
    """CPU-bound, a millisecond or so for each."""
    found = {}
    for trace_id, of_trace in spans.items():
        run = run_steps(of_trace)
        found[trace_id] = signature(run.steps, run.others)
    return found


def _portions(runs: Sequence[ConsideredRun]) -> Iterator[list[ConsideredRun]]:
    """By tenant, together with at most FAILURE_READ_SPANS_MAX spans, or one alone."""
    for _, of_tenant in groupby(sorted(runs, key=lambda run: run.tenant), key=lambda run: run.tenant):
        portion: list[ConsideredRun] = []
        spans = 0
        for run in of_tenant:
            if portion and spans + run.span_count > FAILURE_READ_SPANS_MAX:
                yield portion
                portion, spans = [], 0
            portion.append(run)
            spans += run.span_count
        if portion:
            yield portion
