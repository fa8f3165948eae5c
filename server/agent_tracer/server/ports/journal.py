"""The journal: where an accepted request becomes durable, and where its readers take it from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NewType, Protocol

from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.signals import Signal

Position = NewType("Position", int)
"""A place in the journal. Positions grow with every record, over restarts too, and are never used twice."""


@dataclass(frozen=True, slots=True)
class Record:
    """One accepted export request, as it came in."""

    start: Position
    end: Position
    signal: Signal
    tenant: TenantId
    received_ns: int
    payload: bytes


class JournalFullError(Exception):
    """The disk budget is used up, or the disk is full. Nothing of the request was kept.

    `retry_seconds` says when to try again.
    """

    def __init__(self, message: str, retry_seconds: float) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds


class JournalClosedError(Exception):
    """The server is stopping; nothing of the request was kept."""


class JournalReader(Protocol):
    """A named reader with a durable cursor. Not shared between threads; calls block, so run them in a worker."""

    @property
    def committed(self) -> Position:
        """Everything before this position is done with, over restarts too."""
        ...

    def read(self, *, max_bytes: int, max_records: int) -> Sequence[Record]:
        """The next records in journal order, from where the last `read` ended.

        Complete: every record that was durable when the call began is returned by this call or a later one.
        At least one record is returned where there is any, even if it alone passes max_bytes; empty at the end.
        After a restart reading begins at `committed`, so records may be seen twice, never skipped.
        """
        ...

    def commit(self, position: Position) -> None:
        """Move the durable cursor to `position` (the `end` of a record that was read). Durable on return."""
        ...

    def rewind(self) -> None:
        """Read again from `committed`."""
        ...


class Journal(Protocol):
    """An append-only, checksummed, fsync'd log of requests.

    Durability: when `append` returns, the record survives kill -9 and power loss. Appends of many callers
    share one fsync. Order: records are read in the order of their positions; two appends of one task keep
    their order. Space: a segment is deleted when every registered reader has committed past it. When the
    byte budget is reached, optional readers (exporters) lose their oldest segments, counted; the required
    reader (the loader) never does: appends are refused instead.
    """

    async def append(self, signal: Signal, tenant: TenantId, received_ns: int, payload: bytes) -> Position:
        """Store one request; returns its end position once it is durable.

        Raises JournalFullError or JournalClosedError; then nothing of it is kept and it will never be read.
        """
        ...

    @property
    def durable_end(self) -> Position:
        """The end of the last durable record: a reader that committed this far has seen all acknowledged ones."""
        ...

    def reader(self, name: str, *, required: bool) -> JournalReader:
        """Open or create the reader of that name; a new one starts at the oldest record still kept."""
        ...

    async def wait_beyond(self, position: Position) -> None:
        """Return as soon as `durable_end` is past `position`."""
        ...
