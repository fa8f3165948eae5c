"""Reads of what is made out of commits, as fresh as waiting a moment can make them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, Protocol

from agent_tracer.server.limits import SETTLED_WAIT_SECONDS_MAX
from agent_tracer.server.ports.store import StoreDownError
from agent_tracer.server.services.loaded_reads import LoadedReads

BEHIND: Final = "the server has not caught up: what was sent in the last moments may be missing"
"""The caveat of an answer that did not wait for everything."""

CatchUp = Callable[[], Awaitable[Sequence[str]]]
"""Waits a moment for what was acknowledged before; gives the caveats of an answer that comes without all of it."""


class Settles(Protocol):
    """Makes something out of what the loader commits."""

    async def settled(self) -> None:
        """Return once everything that is loaded now is made use of. Raises StoreDownError."""
        ...


class SettledReads:
    """On a quiet server whatever was acknowledged before the call is counted; on a busy one the last seconds miss."""

    def __init__(self, loaded: LoadedReads, settler: Settles, wait_seconds: float = SETTLED_WAIT_SECONDS_MAX) -> None:
        self._loaded = loaded
        self._settler = settler
        self._wait_seconds = wait_seconds
        self._running: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None

    async def catch_up(self) -> Sequence[str]:
        """Return once everything durable is settled, or after the wait: then with the caveat that is due."""
        _, pending = await asyncio.wait((self._begun_from_now_on(),), timeout=self._wait_seconds)
        return (BEHIND,) if pending else ()

    def _begun_from_now_on(self) -> asyncio.Task[None]:
        """A run that callers share. One that is under way may have begun before this caller's writes."""
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._settle())
            return self._running
        if self._next is None or self._next.done():
            self._next = asyncio.create_task(self._settle_after(self._running))
        return self._next

    async def _settle_after(self, running: asyncio.Task[None]) -> None:
        await asyncio.wait((running,))
        self._running, self._next = asyncio.current_task(), None
        await self._settle()

    async def _settle(self) -> None:
        with suppress(StoreDownError):  # The read itself will say so.
            await self._loaded.catch_up()
            await self._settler.settled()


async def is_behind(catch_up: Callable[[], Awaitable[object]], seconds_max: float) -> bool:
    """Wait for what was sent before; whether that takes longer than a caller should wait, who then must be told."""
    try:
        async with asyncio.timeout(seconds_max):
            await catch_up()
    except TimeoutError:
        return True
    return False
