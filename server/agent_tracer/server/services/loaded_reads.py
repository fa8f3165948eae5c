"""Reads that miss nothing which was acknowledged before them."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from agent_tracer.server.domain.ids import OtelTraceId, TenantId
from agent_tracer.server.ports.journal import Journal, Position
from agent_tracer.server.ports.loading import LoadProgress
from agent_tracer.server.services.waiting_requests import Waiting, WaitingRequests

Found = TypeVar("Found")


class LoadedReads:
    """Waits for the loader only where something that was asked for may wait for it too: most reads cost one query."""

    def __init__(self, journal: Journal, progress: LoadProgress, waiting: WaitingRequests) -> None:
        self._journal = journal
        self._progress = progress
        self._waiting = waiting

    def is_loaded(self, position: Position) -> bool:
        """Whether everything before the position can be read."""
        return self._progress.is_loaded(position)

    async def waiting(self, tenant: TenantId, trace_id: OtelTraceId) -> Waiting:
        """How much of a trace waits for the loader."""
        return await self._waiting.naming(tenant, trace_id)

    async def find_whole(
        self, tenant: TenantId, trace_id: OtelTraceId, look: Callable[[], Awaitable[Found | None]]
    ) -> Found | None:
        """What `look` finds of a trace, with all of it that was acknowledged before the call.

        Where more waits than WaitingRequests holds, a trace that is there in part is shown as it is.
        """
        # First this, then the look: what is loaded in between is seen by the look.
        if (await self.waiting(tenant, trace_id)).requests:
            return await self.find_late(look)
        return await self.find(look)

    async def find(self, look: Callable[[], Awaitable[Found | None]]) -> Found | None:
        """What `look` finds, the second time after everything that is durable now has been loaded."""
        found = await look()
        return await self.find_late(look) if found is None else found

    async def find_late(self, look: Callable[[], Awaitable[Found | None]]) -> Found | None:
        """What `look` finds after everything that is durable now has been loaded."""
        await self.catch_up()
        return await look()

    async def catch_up(self) -> None:
        """Return once everything that is durable now can be read. Raises StoreDownError."""
        await self._progress.wait_loaded(self._journal.durable_end)
