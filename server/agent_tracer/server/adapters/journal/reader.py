"""Readers: records in order from a durable cursor."""

import os
from collections.abc import Sequence

from agent_tracer.server.adapters.journal.catalog import Catalog, Segment
from agent_tracer.server.adapters.journal.cursor import Cursor
from agent_tracer.server.adapters.journal.frames import Damage, Walker
from agent_tracer.server.ports.journal import Position, Record


class FileJournalReader:
    """A JournalReader over segment files. Holds no file open between calls, so it need not be closed.

    Raises OSError where the disk cannot be read or written; the same call may be made again.
    """

    def __init__(self, catalog: Catalog, cursor: Cursor) -> None:
        self._catalog = catalog
        self._cursor = cursor
        self._walker = Walker()
        self._seen = self._delivered = self._next = cursor.committed

    @property
    def committed(self) -> Position:
        """Everything before this position is done with, over restarts too."""
        return self._cursor.committed

    def read(self, *, max_bytes: int, max_records: int) -> Sequence[Record]:
        """The next records in journal order; max_bytes counts payloads. See the port for the contract."""
        if max_records < 1:
            message = f"max_records must be at least 1, not {max_records}"
            raise ValueError(message)
        batch = _Batch(max(self._next, self._cursor.committed), max_bytes, max_records)
        end = self._catalog.durable_end
        while batch.position < end and not batch.is_full:
            segment = self._catalog.locate(batch.position)
            if segment is None:
                break
            self._read_segment(segment, batch)
        self._next = batch.position
        self._seen = max(self._seen, self._next)
        if batch.records:
            self._delivered = batch.records[-1].end
        elif self._cursor.committed >= self._delivered and self._cursor.committed < self._next:
            # Only damage was passed and nothing is outstanding: nobody should wait for a record that is gone.
            self._catalog.commit(self._cursor, self._next)
        return batch.records

    def commit(self, position: Position) -> None:
        """Move the durable cursor to `position`. Moving it back is not possible and does nothing.

        Raises ValueError for a position that was not read yet.
        """
        if position > self._seen:
            message = f"cannot commit position {position}: records were read up to {self._seen}"
            raise ValueError(message)
        if position > self._cursor.committed:
            self._catalog.commit(self._cursor, self._next if position == self._delivered else position)

    def rewind(self) -> None:
        """Read again from `committed`."""
        self._next = self._delivered = self._cursor.committed

    def _read_segment(self, segment: Segment, batch: "_Batch") -> None:
        first = segment.header.first
        if batch.position < first:
            if batch.position >= self._catalog.oldest:
                self._catalog.report(Damage(batch.position, first), segment.path)
            batch.position = first
        try:
            fd = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            if self._catalog.oldest <= first:
                self._catalog.report(Damage(batch.position, segment.end), segment.path)
            batch.position = segment.end
            return
        try:
            for item in self._walker.walk(fd, segment.header, batch.position, segment.end):
                if isinstance(item, Damage):
                    self._catalog.report(item, segment.path)
                    batch.position = item.end
                elif not batch.take(item):
                    break
        finally:
            os.close(fd)


class _Batch:
    """Records being collected, up to the limits of one read."""

    __slots__ = ("_bytes_left", "_records_left", "is_full", "position", "records")

    def __init__(self, position: Position, max_bytes: int, max_records: int) -> None:
        self.position = position
        self.records: list[Record] = []
        self.is_full = False
        self._bytes_left = max_bytes
        self._records_left = max_records

    def take(self, record: Record) -> bool:
        """Add a record; False where it does not fit any more, or where nothing will after it."""
        size = len(record.payload)
        if self.records and size > self._bytes_left:
            self.is_full = True
            return False
        self.records.append(record)
        self.position = record.end
        self._bytes_left -= size
        self._records_left -= 1
        self.is_full = self._records_left == 0 or self._bytes_left <= 0
        return not self.is_full
