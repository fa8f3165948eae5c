"""Settles the traces that commits touched: tasks, calls between services and what aggregates count."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import structlog

from agent_tracer.server.limits import (
    ROLL_INTERVAL_SECONDS,
    SETTLE_INTERVAL_COST_FACTOR,
    SETTLE_INTERVAL_SECONDS_MAX,
    SETTLE_INTERVAL_SECONDS_MIN,
    SETTLE_OVERLAP_SECONDS,
)
from agent_tracer.server.ports.journal import Record
from agent_tracer.server.ports.settling import ReceivedRange, TraceSettler
from agent_tracer.server.ports.store import StoreDownError
from agent_tracer.server.services.received_ranges import range_of_commit, received_from

_log: Final = structlog.get_logger("settler")
_OVERLAP_NS: Final = SETTLE_OVERLAP_SECONDS * 1_000_000_000


class Settler:
    """CommitListener; `run` is its task. A read that needs what the settler makes awaits `settled` first."""

    def __init__(self, store: TraceSettler) -> None:
        self._store = store
        self._pending: ReceivedRange | None = None
        self._last_received_ns: int | None = None
        self._is_started = False
        self._turn = asyncio.Lock()
        self._touched = asyncio.Event()
        self._pass_seconds = 0.0

    async def committed(self, records: Sequence[Record]) -> None:
        """These records can be read now."""
        received = range_of_commit(records)
        if received is not None:
            # The last commit's, not the latest: after a clock was set back those times are what a restart needs.
            self._last_received_ns = received.end_ns
            self._add(received)

    async def run(self) -> None:
        """Settle until cancelled. A store that is down is asked again; nothing is skipped meanwhile."""
        while True:
            try:
                await self.settled()
                await self._roll()
            except StoreDownError:
                _log.warning("store is down; traces are settled later", retry_seconds=SETTLE_INTERVAL_SECONDS_MAX)
                await asyncio.sleep(SETTLE_INTERVAL_SECONDS_MAX)
            else:
                await self._wait()

    async def settled(self) -> None:
        """Return once everything that is loaded now is settled; at once where it is. Raises StoreDownError."""
        async with self._turn:
            await self._start()
            received, self._pending = self._pending, None
            if received is not None:
                self._touched.clear()
                await self._settle(received, self._last_received_ns)

    async def _start(self) -> None:
        """What was loaded before a stop may not have been settled."""
        if not self._is_started:
            self._add(received_from(await self._store.settled_to() or 0))
            self._is_started = True

    async def _settle(self, received: ReceivedRange, last_received_ns: int | None) -> None:
        started = time.perf_counter()
        left = received
        try:
            done = await self._store.settle(left)
            while done.end_ns < left.end_ns:
                left = ReceivedRange(done.end_ns, left.end_ns)
                done = await self._store.settle(left)
            reached_ns = done.last_received_ns if last_received_ns is None else last_received_ns
            if reached_ns is not None:
                await self._store.advance(max(0, reached_ns - _OVERLAP_NS))
        except BaseException:
            self._add(left)
            raise
        self._pass_seconds = time.perf_counter() - started

    def _add(self, received: ReceivedRange) -> None:
        if self._pending is not None:
            received = ReceivedRange(
                min(received.start_ns, self._pending.start_ns), max(received.end_ns, self._pending.end_ns)
            )
        self._pending = received
        self._touched.set()

    async def _roll(self) -> None:
        """Sum up quiet hours, until none is left or there are traces to settle: then some of them all the same."""
        is_more = True
        while is_more:
            async with self._turn:  # Of a few hours each, for reads wait for theirs meanwhile.
                is_more = await self._store.roll(time.time_ns()) > 0 and not self._touched.is_set()

    async def _wait(self) -> None:
        """Leave time for more spans of the same traces to come, then wait for some."""
        seconds = self._pass_seconds * SETTLE_INTERVAL_COST_FACTOR
        await asyncio.sleep(min(max(seconds, SETTLE_INTERVAL_SECONDS_MIN), SETTLE_INTERVAL_SECONDS_MAX))
        with suppress(TimeoutError):
            async with asyncio.timeout(ROLL_INTERVAL_SECONDS):
                await self._touched.wait()
