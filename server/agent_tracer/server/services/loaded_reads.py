"""Reads that miss nothing which was acknowledged before them."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from agent_tracer.server.ports.journal import Journal, Position
from agent_tracer.server.ports.loading import LoadProgress

Found = TypeVar("Found")


class LoadedReads:
    """Waits for the loader only where a first look finds nothing, so that most reads cost one query."""

    def __init__(
        self, journal: Journal, progress: LoadProgress, telemetry_end: Callable[[], Position] | None = None
    ) -> None:
        """`telemetry_end`: the end of the last journal record that came by OTLP, where anybody asks for it."""
        self._journal = journal
        self._progress = progress
        self._telemetry_end = telemetry_end

    def is_loaded(self, position: Position) -> bool:
        """Whether everything before the position can be read."""
        return self._progress.is_loaded(position)

    def is_telemetry_loaded(self) -> bool:
        """Whether nothing that came by OTLP waits for the loader."""
        return self._telemetry_end is not None and self._progress.is_loaded(self._telemetry_end())

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
