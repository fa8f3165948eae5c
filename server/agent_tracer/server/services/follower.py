"""Work in the background that follows what comes: turn by turn, at a pace, again after a failure."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.ports.journal import Record
from agent_tracer.server.services.pacing import Pace

Work = Callable[[], Awaitable[float | None]]
"""Seconds until it is due again though nothing comes. LEFT: there is more to do; None: then it is not due."""

LEFT: Final = 0.0


class Follower:
    """The loop around a piece of work. Whoever makes the work due calls `wake`, and is never missed.

    One at a time is at the work: the loop, or a caller who wants it done before the loop comes to it.
    """

    def __init__(self, pace: Pace, work: Work, *, ready: Callable[[], Awaitable[None]] | None = None) -> None:
        """`ready` is awaited before each turn of the loop, and counts for nothing in its pace: others do that work."""
        self.turn = asyncio.Lock()
        """Of whoever is at the work."""
        self.woken_at = float("-inf")
        """When somebody called `wake` last, by time.monotonic."""
        self._pace = pace
        self._work = work
        self._ready = ready
        self._wake = asyncio.Event()
        self._idle_seconds: float | None = LEFT

    async def committed(self, records: Sequence[Record]) -> None:
        """CommitListener: traces make the work due."""
        if any(record.signal is Signal.TRACES for record in records):
            self.wake()

    def wake(self) -> None:
        """Something came."""
        self.woken_at = time.monotonic()
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled: at the start, and whenever something has come or is left."""
        await asyncio.sleep(self._pace.seconds_first)
        while True:
            pause_seconds = await self.step()
            if not self._pace.gathers:
                await asyncio.sleep(pause_seconds)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._idle_seconds):
                    await self._wake.wait()
            if self._pace.gathers:
                await asyncio.sleep(pause_seconds)

    async def step(self) -> float:
        """One turn of the loop; seconds of the pause that is due. Where the work failed, it is left."""
        started = time.perf_counter()
        try:
            self._wake.clear()  # What comes while it gets ready calls for another turn.
            if self._ready is not None:
                await self._ready()
                started = time.perf_counter()
            async with self.turn:
                self._idle_seconds = await self._work()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with this part, the server must go on
            self._pace.tell(error)
            self._idle_seconds = LEFT
            return self._pace.after_failure(time.perf_counter() - started)
        return self._pace.after_work(time.perf_counter() - started)

    async def now(self, work: Work) -> None:
        """Do this work before the loop's next turn. Where it fails as expected, the loop makes up for it."""
        with suppress(*self._pace.expected):
            async with self.turn:
                if await work() == LEFT:
                    self._wake.set()
