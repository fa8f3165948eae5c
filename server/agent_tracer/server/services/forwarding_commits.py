"""Moves a reader's cursor, at once or some time after the backend said that it has everything before."""

import asyncio
import time
from collections import deque
from typing import Final

import structlog

from agent_tracer.server.limits import EXPORT_RETRY_SECONDS_MAX
from agent_tracer.server.ports.journal import JournalReader, Position

_log: Final = structlog.get_logger("exporters")


class HeldCommits:
    """Positions that wait for their commit. Used by one task."""

    def __init__(self, reader: JournalReader, seconds: float) -> None:
        """`seconds`: how long each waits; 0 for not at all."""
        self._reader = reader
        self._seconds = seconds
        self._waiting: deque[tuple[float, Position]] = deque()
        self._is_failing = False

    @property
    def is_holding(self) -> bool:
        """Whether a position waits."""
        return bool(self._waiting)

    async def add(self, position: Position) -> None:
        """Commit it when its time has come, and now those whose time has."""
        self._waiting.append((time.monotonic() + self._seconds, position))
        await self.release()

    async def release(self) -> None:
        """Commit the last position whose time has come. On a disk that does not take it, it waits on."""
        due: Position | None = None
        while self._waiting and self._waiting[0][0] <= time.monotonic():
            due = self._waiting.popleft()[1]
        if due is None:
            return
        try:
            await asyncio.to_thread(self._reader.commit, due)
        except OSError as error:
            self._waiting.appendleft((time.monotonic() + EXPORT_RETRY_SECONDS_MAX, due))
            if not self._is_failing:
                _log.warning("a cursor cannot be kept; after a restart, some is sent again", errno=error.errno)
            self._is_failing = True
        else:
            self._is_failing = False

    def seconds_left(self) -> float | None:
        """Until the next one's time has come; None where none waits."""
        return max(0.0, self._waiting[0][0] - time.monotonic()) if self._waiting else None

    def forget(self) -> None:
        """Commit none of them."""
        self._waiting.clear()
