"""Tells by what each failed run failed: signs the traces that commits touched, latest received first."""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
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
)
from agent_tracer.server.ports.failures import ConsideredRun, FailureStore, SignedRun
from agent_tracer.server.ports.journal import Record
from agent_tracer.server.ports.outlines import ProgressKeeper
from agent_tracer.server.ports.settling import ReceivedRange
from agent_tracer.server.ports.store import QueryTimeoutError, StoreDownError, TooMuchDataError
from agent_tracer.server.services.backlog import Backlog, Done
from agent_tracer.server.services.follower import LEFT, Follower
from agent_tracer.server.services.pacing import Pace

_PACE: Final = Pace(
    part="failures",
    what="failed runs are grouped",
    expected=(StoreDownError, QueryTimeoutError, TooMuchDataError, OSError),
    cost_factor=FAILURE_COST_FACTOR,
    seconds_min=FAILURE_INTERVAL_SECONDS_MIN,
    retry_seconds=FAILURE_RETRY_SECONDS,
    gathers=True,
)


class FailureSigner:
    """CommitListener; `run` is its task. A read that needs the latest failed runs awaits `settled` first.

    A run's signature depends on the run alone, so that doing any of it again changes nothing. Latest first, since
    lists ask for the last days; what an import of years brings is signed behind that.
    """

    def __init__(self, *, store: FailureStore, progress: ProgressKeeper) -> None:
        self._store = store
        self._backlog = Backlog(progress, self._sign, save_seconds=FAILURE_SAVE_SECONDS)
        self._follower = Follower(_PACE, self._work)

    @property
    def is_behind(self) -> bool:
        """Whether something that was received may not have been signed yet."""
        return self._backlog.is_behind

    async def committed(self, records: Sequence[Record]) -> None:
        """These records can be read now."""
        if self._backlog.committed(records):
            self._follower.wake()

    async def run(self) -> None:
        """Sign until cancelled, in a tenth of the time. What is down is asked again; nothing is skipped meanwhile."""
        try:
            await self._follower.run()
        finally:
            await self._follower.now(self._backlog.save)

    async def settled(self) -> None:
        """Sign what is loaded now, latest first, for about FAILURES_WAIT_SECONDS_MAX. What is down stays for later."""
        until = time.perf_counter() + FAILURES_WAIT_SECONDS_MAX
        await self._follower.now(lambda: self._sign_until(until))

    async def _work(self) -> float:
        """One batch."""
        await self._backlog.begin(VERSION)
        await self._backlog.work_off()
        await self._backlog.save_in_time()
        return LEFT if self._backlog else FAILURE_SAVE_SECONDS

    async def _sign_until(self, until: float) -> None:
        await self._backlog.begin(VERSION)
        await self._backlog.work_off_until(until)

    async def _sign(self, received: ReceivedRange) -> Done:
        found = await self._store.considered(received, limit=FAILURE_BATCH_TRACES)
        for portion in _portions(found.runs):
            await self._store.keep(await self._signed(portion))
        return Done(found.from_ns, max((run.received_ns for run in found.runs), default=None))

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
