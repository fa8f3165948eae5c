"""Passes journal records on to one backend, in order, at least once, however long the backend is away."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import structlog

from agent_tracer.server.domain.otlp_counts import count_items
from agent_tracer.server.domain.otlp_halving import halves
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.limits import (
    EXPORT_BATCH_BYTES,
    EXPORT_BATCH_RECORDS,
    EXPORT_FAILURES_MAX,
    EXPORT_LINGER_SECONDS,
    EXPORT_REFUSALS_MAX,
)
from agent_tracer.server.ports.export import (
    BackendDownError,
    BackendFailedError,
    BackendGoneError,
    ExportMetrics,
    ExportRefusedError,
    ExportTarget,
    Payloads,
    SignalNotTakenError,
)
from agent_tracer.server.ports.journal import Journal, JournalClosedError, JournalReader, Position, Record
from agent_tracer.server.services.forwarding_commits import HeldCommits
from agent_tracer.server.services.forwarding_left_out import LeftOut
from agent_tracer.server.services.forwarding_pauses import Pauses
from agent_tracer.server.services.forwarding_signals import LackedSignals

_log: Final = structlog.get_logger("exporters")
_FAULT: Final = "passing telemetry on fails; the server's log has the reason"
_LACKED: Final = "the backend lacks the signal"


@dataclass(frozen=True, slots=True)
class ForwarderState:
    """For /readyz, metrics and doctor. `trouble` is empty while the backend takes what it is sent.

    `lag_seconds`: the age of the oldest record that the backend does not have; 0 where it has everything.
    `notice`: what to change though telemetry goes on, mostly nothing.
    """

    trouble: str
    lag_bytes: int
    lag_seconds: float
    notice: str = ""


class _DoubtedError(BackendDownError):
    """It looks as if the backend lacked the signal; it is asked some times more before that counts."""


@dataclass(frozen=True, slots=True)
class _Request:
    signal: Signal
    payloads: Payloads


class Forwarder:
    """One task and one reader of the journal for one backend. Nothing waits for it: a dead backend costs disk only."""

    def __init__(  # noqa: PLR0913 - its collaborators, each used once
        self,
        *,
        name: str,
        signals: frozenset[Signal],
        journal: Journal,
        reader: JournalReader,
        target: ExportTarget,
        metrics: ExportMetrics,
        hold_seconds: float = 0.0,
        chance: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """`name`: below `exporters` in the settings. Records of other signals are passed over.

        `hold_seconds`: for how long the backend keeps in memory alone what it says it has. The cursor stays so far
        behind, and what it has passed since is sent again when the backend is back from being gone.
        """
        self.name = name
        self._signals = signals
        self._journal = journal
        self._reader = reader
        self._target = target
        self._metrics = metrics
        self._passed = reader.committed
        self._held = HeldCommits(reader, hold_seconds)
        self._left_out = LeftOut(name, metrics)
        self._lacked = LackedSignals(name, signals, target)
        self._was_gone = False
        self._pauses = Pauses(chance)
        self._sleep = sleep
        self._clock_ns = clock_ns
        self._waiting: deque[_Request] = deque()
        self._oldest_ns: int | None = None
        self._refusals = 0
        self._failures = 0
        self._failures_max = EXPORT_FAILURES_MAX
        self._stopping = asyncio.Event()
        self._trouble = ""
        self._told: set[str] = set()

    @property
    def state(self) -> ForwarderState:
        """How it is doing. Cheap."""
        lag_bytes = max(0, self._journal.durable_end - self._passed)
        seconds = 0.0 if self._oldest_ns is None else (self._clock_ns() - self._oldest_ns) / 1e9
        return ForwarderState(self._trouble, lag_bytes, max(0.0, seconds), self._lacked.notice)

    async def run(self) -> None:
        """Pass on until the journal is closed, then what it still holds; trouble ends that."""
        try:
            with suppress(JournalClosedError):
                while not self._stopping.is_set():
                    await self._more()
                    await self._linger()
                    await self._pass_on()
            self._stopping.set()
            await self._drain()
        finally:
            await self._target.aclose()

    def stop(self) -> None:
        """To be called once the journal is closed: pauses end, and an attempt that fails is the last."""
        self._stopping.set()

    async def _more(self) -> None:
        """Return when there is more to pass on; meanwhile the cursor follows."""
        while True:
            await self._held.release()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._held.seconds_left()):
                    return await self._journal.wait_beyond(self._passed)

    async def _drain(self) -> None:
        while self._passed < self._journal.durable_end and await self._pass_on():
            pass

    async def _linger(self) -> None:
        """Let more records gather, unless enough have."""
        waiting = self._journal.durable_end - self._passed
        if waiting < EXPORT_BATCH_BYTES and not self._stopping.is_set():
            await self._pause(EXPORT_LINGER_SECONDS)

    async def _pass_on(self) -> bool:
        """One batch. When the server stops, an attempt that fails is the last; the cursor stays before the batch."""
        try:
            records = await asyncio.to_thread(
                self._reader.read, max_bytes=EXPORT_BATCH_BYTES, max_records=EXPORT_BATCH_RECORDS
            )
            if not records:
                # Where nothing can be read of what is left, the reader has passed it.
                self._passed = max(self._passed, self._reader.committed)
                await self._sleep(EXPORT_LINGER_SECONDS)
                return True
            self._oldest_ns = records[0].received_ns
            self._refusals = self._failures = 0
            self._failures_max = EXPORT_FAILURES_MAX
            self._waiting.extend(await asyncio.to_thread(self._requests, records))
            if await self._send_all():
                await self._passed_by(records[-1].end)
                return True
        except Exception:  # noqa: BLE001 - whatever is wrong with one exporter, the server goes on
            _log.exception("passing telemetry on failed; it is tried again", exporter=self.name)
            self._trouble = _FAULT
        await self._start_over()
        await self._pause(self._pauses.following(None))
        return False

    async def _passed_by(self, end: Position) -> None:
        """The backend has everything before; once more, where it may have lost what it had."""
        self._oldest_ns = None
        if self._was_gone:
            self._was_gone = False
            if self._held.is_holding:
                _log.info("what a backend took just before it was gone is sent again", exporter=self.name)
                await self._start_over()
                return
        await self._held.add(end)
        self._passed = max(end, self._reader.committed)

    async def _start_over(self) -> None:
        self._waiting.clear()
        self._held.forget()
        await asyncio.to_thread(self._reader.rewind)
        self._passed = self._reader.committed

    def _requests(self, records: Sequence[Record]) -> list[_Request]:
        wanted = [record for record in records if record.signal in self._signals]
        wanted.sort(key=lambda record: record.signal)  # stable: within a signal the order stays
        found: list[_Request] = []
        for signal, group in groupby(wanted, key=lambda record: record.signal):
            prepared = self._target.prepare(signal, [record.payload for record in group])
            found += (_Request(signal, payloads) for payloads in prepared)
        return found

    async def _send_all(self) -> bool:
        """Send what waits, first to last, however long it takes. False when the server stops before it is done."""
        while self._waiting:
            request = self._waiting[0]
            if self._lacked.is_lacked(request.signal):
                await self._leave_out("unsupported", _LACKED)
                continue
            try:
                await self._send(request)
            except BackendDownError as error:
                if not await self._given_up(request, error) and not await self._later(request, error):
                    return False
        return True

    async def _send(self, request: _Request) -> None:
        """One attempt. What the backend will never take is left out. Raises BackendDownError."""
        try:
            taken = await self._target.send(request.signal, request.payloads)
        except ExportRefusedError as error:
            self._tell_back(request.signal)
            await self._refused(request, "refused", str(error))
        except SignalNotTakenError as error:
            is_lacked = await self._lacked.judge(request.signal, error)
            if is_lacked or self._trouble:
                self._tell_back()
            if not is_lacked:
                raise _DoubtedError(str(error)) from None
            await self._leave_out("unsupported", _LACKED)
        else:
            self._failures = 0
            self._tell_back(request.signal)
            await self._count(request, taken.rejected, taken.reason)
            self._waiting.popleft()

    async def _later(self, request: _Request, error: BackendDownError) -> bool:
        """Wait for the next attempt. False when the server stops instead."""
        self._was_gone |= isinstance(error, BackendGoneError)
        if not isinstance(error, _DoubtedError):
            self._tell_down(str(error))
        if self._stopping.is_set():
            return False
        await self._pause(self._pauses.following(error.retry_seconds))
        self._metrics.retried(request.signal)
        return True

    async def _given_up(self, request: _Request, error: BackendDownError) -> bool:
        """Whether a failure is the request's own by now. Then its parts get one attempt each."""
        if not isinstance(error, BackendFailedError):
            # Another trouble in between: it is the backend that is not well.
            self._failures, self._failures_max = 0, EXPORT_FAILURES_MAX
            return False
        self._failures += 1
        if self._failures < self._failures_max:
            return False
        self._failures, self._failures_max = 0, 1
        await self._refused(request, "failed", str(error))
        return True

    async def _count(self, request: _Request, rejected: int, reason: str) -> None:
        items = await asyncio.to_thread(_items, request)
        rejected = min(max(rejected, 0), items)
        if rejected:
            self._left_out.add(request.signal, "rejected", rejected, reason)
        self._metrics.sent(request.signal, items - rejected)

    async def _refused(self, request: _Request, kind: str, reason: str) -> None:
        """In two halves, so that only what is bad is left out; nothing of it stands in the way of what follows."""
        self._refusals += 1
        parts = await asyncio.to_thread(_parts, request) if self._refusals < EXPORT_REFUSALS_MAX else ()
        if parts:
            self._waiting.popleft()
            self._waiting.extendleft(reversed(parts))
        else:
            await self._leave_out(kind, reason)

    async def _leave_out(self, kind: str, reason: str) -> None:
        """The first of what waits."""
        request = self._waiting.popleft()
        self._left_out.add(request.signal, kind, await asyncio.to_thread(_items, request), reason)

    def _tell_down(self, problem: str) -> None:
        """Each problem once in the log, however long it takes."""
        if problem not in self._told:
            self._told.add(problem)
            _log.warning(
                "a backend takes nothing; the journal keeps what it misses", exporter=self.name, reason=problem
            )
        self._trouble = problem

    def _tell_back(self, signal: Signal | None = None) -> None:
        """The backend is there, and has a place for the signal."""
        if self._trouble:
            _log.info("a backend is back", exporter=self.name, lag_bytes=self.state.lag_bytes)
        self._trouble = ""
        self._told.clear()
        self._pauses.reset()
        if signal is not None:
            self._lacked.takes(signal)

    async def _pause(self, seconds: float) -> None:
        """The server's stop ends it."""
        stopping = asyncio.ensure_future(self._stopping.wait())
        sleeping = asyncio.ensure_future(self._sleep(seconds))
        try:
            await asyncio.wait((stopping, sleeping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            sleeping.cancel()


def _items(request: _Request) -> int:
    return sum(count_items(request.signal, payload) for payload in request.payloads)


def _parts(request: _Request) -> tuple[_Request, ...]:
    """The request in two, by the requests that it was made of or by its items; none where it is one item."""
    middle = len(request.payloads) // 2
    if middle:
        divided: Sequence[Payloads] = (request.payloads[:middle], request.payloads[middle:])
    else:
        divided = [(half,) for half in halves(request.signal, request.payloads[0]) or ()]
    return tuple(_Request(request.signal, payloads) for payloads in divided)
