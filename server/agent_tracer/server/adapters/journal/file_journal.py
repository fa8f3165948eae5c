"""The journal over segment files: what the rest of the server holds."""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from zlib import crc32

from agent_tracer.server.adapters.journal.appender import Appender, begin_segment
from agent_tracer.server.adapters.journal.catalog import Catalog
from agent_tracer.server.adapters.journal.reader import FileJournalReader
from agent_tracer.server.adapters.journal.recovery import recover
from agent_tracer.server.adapters.journal.segment import Entry
from agent_tracer.server.adapters.journal.stats import JournalState, JournalStats, ReaderStats
from agent_tracer.server.adapters.journal.writer import GroupWriter, Outcome, Pending
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.limits import (
    JOURNAL_BYTES_MAX_DEFAULT,
    JOURNAL_CHECKSUM_INLINE_BYTES,
    JOURNAL_GROUP_BYTES_MAX,
    JOURNAL_QUEUE_BYTES_MAX,
    JOURNAL_RETRY_QUEUE_SECONDS,
    JOURNAL_SEGMENT_BYTES,
    JOURNAL_TENANT_BYTES_MAX,
)
from agent_tracer.server.ports.journal import JournalClosedError, JournalFullError, Position

_BUDGET_SEGMENTS: Final = 4
"""A budget holds at least this many segments, so that room comes back in steps smaller than the budget."""

_RECEIVED_NS_MAX: Final = 2**63 - 1
_CLOSED: Final = "the server is stopping: send the request to another one, or again when it is back"
_QUEUE_FULL: Final = "requests arrive faster than the journal's disk takes them: try again later"


class FileJournal:
    """A Journal in one directory. Appends and waits come from one event loop; readers from any thread."""

    def __init__(self, catalog: Catalog, appender: Appender, *, bytes_max: int, group_bytes_max: int) -> None:
        self._catalog = catalog
        self._appender = appender
        self._bytes_max = bytes_max
        self._queued_bytes = 0
        self._refused_records = 0
        self._is_closed = False
        self._watchers: dict[asyncio.Future[None], Position] = {}
        self._writer = GroupWriter(appender, catalog, group_bytes_max=group_bytes_max, settle=self._settle)

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        bytes_max: int = JOURNAL_BYTES_MAX_DEFAULT,
        segment_bytes: int = JOURNAL_SEGMENT_BYTES,
        clock: Callable[[], float] = time.perf_counter,
    ) -> Self:
        """Open or create the journal of a directory, recover it, and start its writer thread. Blocks.

        The caller holds the data directory's lock. `clock` (seconds) measures syncs.
        Raises JournalFormatError for a directory of another format version, OSError for an unusable one.
        """
        segment_bytes = min(segment_bytes, bytes_max // _BUDGET_SEGMENTS)
        found = recover(directory)
        if not found.segments or found.segments[-1].end < found.next_position:
            found.segments.append(begin_segment(directory, found.next_position, found.next_sequence))
        catalog = found.catalog(directory, bytes_max)
        catalog.drop_passed()
        appender = Appender(directory, catalog, sequence=found.next_sequence, segment_bytes=segment_bytes, clock=clock)
        group_bytes_max = min(JOURNAL_GROUP_BYTES_MAX, segment_bytes)
        return cls(catalog, appender, bytes_max=bytes_max, group_bytes_max=group_bytes_max)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Refuse further appends, make the accepted ones durable, end the writer thread. May be repeated.

        Waits end with JournalClosedError. Readers can still read and commit. Blocks; to be called in the
        event loop's thread, or when the loop has ended.
        """
        self._is_closed = True
        self._writer.close()
        self._end_waits()

    async def aclose(self) -> None:
        """`close` without blocking the event loop."""
        self._is_closed = True
        await asyncio.to_thread(self._writer.close)
        self._end_waits()

    async def append(self, signal: Signal, tenant: TenantId, received_ns: int, payload: bytes) -> Position:
        """Store one request; returns its end position once it is durable. See the port for the contract.

        Cancelling is safe; the record may still become durable.
        """
        if self._is_closed:
            raise JournalClosedError(_CLOSED)
        entry = _entry(signal, tenant, received_ns, payload)
        if self._queued_bytes + entry.frame_bytes > JOURNAL_QUEUE_BYTES_MAX:
            self._refused_records += 1
            raise JournalFullError(_QUEUE_FULL, JOURNAL_RETRY_QUEUE_SECONDS)
        future: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        self._queued_bytes += entry.frame_bytes
        self._writer.submit(Pending(entry, future))
        return await future

    @property
    def durable_end(self) -> Position:
        """The end of the last durable record."""
        return self._catalog.durable_end

    def reader(self, name: str, *, required: bool) -> FileJournalReader:
        """Open or create the reader of that name; a new one starts at the oldest record still kept. Blocks.

        A cursor of an earlier run holds its segments until its reader is opened or `forget_unopened` called.
        Raises ValueError for a name other than 1 to 64 of a-z, 0-9, - and _.
        """
        return FileJournalReader(self._catalog, self._catalog.register(name, required=required))

    def forget_unopened(self) -> list[str]:
        """Remove the cursors of readers that were not opened since `open`; returns their names. Blocks.

        To be called once every configured reader is open: an exporter that is gone stops holding disk.
        """
        return self._catalog.forget_unopened()

    async def wait_beyond(self, position: Position) -> None:
        """Return as soon as `durable_end` is past `position`. Raises JournalClosedError on close."""
        if self.durable_end > position:
            return
        if self._is_closed:
            raise JournalClosedError(_CLOSED)
        watcher: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watchers[watcher] = position
        try:
            await watcher
        finally:
            del self._watchers[watcher]

    def stats(self) -> JournalStats:
        """What /metrics, /readyz and doctor show. Cheap; from any thread."""
        end = self.durable_end
        readers = tuple(
            ReaderStats(
                name=cursor.name,
                required=cursor.required,
                committed=cursor.committed,
                lag_bytes=max(0, end - cursor.committed),
                skipped_records=cursor.skipped_records,
                skipped_bytes=cursor.skipped_bytes,
            )
            for cursor in self._catalog.cursors()
        )
        return JournalStats(
            state=JournalState.CLOSED if self._is_closed else self._writer.state,
            held_bytes=self._catalog.held_bytes,
            bytes_max=self._bytes_max,
            oldest=self._catalog.oldest,
            durable_end=end,
            queued_bytes=self._queued_bytes,
            appended_records=self._appender.appended_records,
            appended_bytes=self._appender.appended_bytes,
            refused_records=self._refused_records,
            sync_count=self._appender.sync_count,
            sync_seconds=self._appender.sync_seconds,
            damaged_ranges=self._catalog.damaged_ranges,
            readers=readers,
        )

    def _settle(self, outcomes: Sequence[Outcome]) -> None:
        """On the event loop: answer the waiters of one group."""
        for pending, result in outcomes:
            self._queued_bytes -= pending.entry.frame_bytes
            if isinstance(result, JournalFullError):
                self._refused_records += 1
                if not pending.future.done():
                    pending.future.set_exception(result)
            elif not pending.future.done():
                pending.future.set_result(result)
        end = self.durable_end
        for watcher, position in self._watchers.items():
            if position < end and not watcher.done():
                watcher.set_result(None)

    def _end_waits(self) -> None:
        for watcher in self._watchers:
            if not watcher.done() and not watcher.get_loop().is_closed():
                watcher.set_exception(JournalClosedError(_CLOSED))


def _entry(signal: Signal, tenant: TenantId, received_ns: int, payload: bytes) -> Entry:
    """Raises ValueError for what does not fit a frame: a programming error, as callers check their input."""
    encoded = tenant.encode()
    if len(encoded) > JOURNAL_TENANT_BYTES_MAX:
        message = f"a tenant id takes at most {JOURNAL_TENANT_BYTES_MAX} bytes in UTF-8, not {len(encoded)}"
        raise ValueError(message)
    if len(payload) > JOURNAL_GROUP_BYTES_MAX:
        message = f"a journal record takes at most {JOURNAL_GROUP_BYTES_MAX} bytes, not {len(payload)}"
        raise ValueError(message)
    if not 0 <= received_ns <= _RECEIVED_NS_MAX:
        message = f"received_ns must fit 63 bits, not {received_ns}"
        raise ValueError(message)
    checksum = crc32(payload) if len(payload) <= JOURNAL_CHECKSUM_INLINE_BYTES else None
    return Entry(signal, encoded, received_ns, payload, checksum)
