"""Reads of what the settler makes, as fresh as waiting a moment can make them."""

import asyncio
from contextlib import suppress

from agent_tracer.server.limits import SETTLED_WAIT_SECONDS_MAX
from agent_tracer.server.ports.store import StoreDownError
from agent_tracer.server.services.loaded_reads import LoadedReads
from agent_tracer.server.services.settler import Settler


class SettledReads:
    """On a quiet server whatever was acknowledged before the call is counted; on a busy one the last seconds miss."""

    def __init__(self, loaded: LoadedReads, settler: Settler) -> None:
        self._loaded = loaded
        self._settler = settler
        self._running: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None

    async def catch_up(self) -> None:
        """Return once everything durable is settled, or after SETTLED_WAIT_SECONDS_MAX."""
        await asyncio.wait((self._begun_from_now_on(),), timeout=SETTLED_WAIT_SECONDS_MAX)

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
