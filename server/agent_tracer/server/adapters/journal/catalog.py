"""What the journal holds: its segments, its readers' cursors, and which segments may go.

Shared by the writer thread and the readers' threads. Segments are immutable snapshots, replaced under one
lock; segment files are deleted outside of it.
"""

import os
import threading
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from agent_tracer.server.adapters.journal.cursor import (
    Cursor,
    create_cursor,
    cursor_path,
    save_cursor,
)
from agent_tracer.server.adapters.journal.frames import Damage, sequence_at
from agent_tracer.server.adapters.journal.segment import SEGMENT_HEADER_BYTES, SegmentHeader
from agent_tracer.server.ports.journal import Position

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment file whose frames up to `end` are durable."""

    header: SegmentHeader
    path: Path
    end: Position

    @property
    def held_bytes(self) -> int:
        """Bytes of the file that belong to the journal."""
        return SEGMENT_HEADER_BYTES + self.end - self.header.first


class Catalog:
    """Segments in order and cursors by name. The last segment is being written and is never deleted."""

    def __init__(
        self,
        cursor_directory: Path,
        segments: Sequence[Segment],
        cursors: Iterable[Cursor],
        bytes_max: int,
    ) -> None:
        self._cursor_directory = cursor_directory
        self._segments = list(segments)
        self._cursors = {cursor.name: cursor for cursor in cursors}
        self._bytes_max = bytes_max
        self._held_bytes = sum(segment.held_bytes for segment in segments)
        self._damaged: set[Position] = set()
        self._lock = threading.Lock()
        self.damaged_ranges = 0

    @property
    def durable_end(self) -> Position:
        """The end of the last durable record."""
        return self._segments[-1].end

    @property
    def active(self) -> Segment:
        """The segment being written."""
        return self._segments[-1]

    @property
    def oldest(self) -> Position:
        """The first position still kept."""
        return self._segments[0].header.first

    @property
    def held_bytes(self) -> int:
        """Bytes of all segments."""
        return self._held_bytes

    def cursors(self) -> list[Cursor]:
        """A copy of every cursor as it is now."""
        with self._lock:
            return [replace(cursor) for cursor in self._cursors.values()]

    def locate(self, position: Position) -> Segment | None:
        """The segment that holds `position`, or else the next one behind it; None at the end."""
        with self._lock:
            index = bisect_right(self._segments, position, key=lambda segment: segment.end)
            return self._segments[index] if index < len(self._segments) else None

    # Called by the writer thread.

    def extend(self, end: Position) -> None:
        """The active segment is durable up to `end`."""
        with self._lock:
            active = self._segments[-1]
            self._held_bytes += end - active.end
            self._segments[-1] = replace(active, end=end)

    def begin(self, segment: Segment) -> None:
        """`segment` is the active one from now on. An empty one of the same place gives way to it."""
        with self._lock:
            active = self._segments[-1]
            if active.header.first == segment.header.first:
                self._segments[-1] = segment
                self._held_bytes -= active.held_bytes
            else:
                self._segments.append(segment)
            self._held_bytes += segment.held_bytes

    def active_is_passed(self) -> bool:
        """Whether the active segment holds records, and every required reader is done with all of them."""
        with self._lock:
            active = self._segments[-1]
            return active.header.first < active.end <= self._required_committed()

    def make_room(self, needed: int) -> int:
        """Bytes the budget leaves, after taking the oldest segments from optional readers where need be."""
        shortfall = needed - (self._bytes_max - self._held_bytes)
        if shortfall > 0:
            self.take_from_optional(shortfall)
        return self._bytes_max - self._held_bytes

    def take_from_optional(self, wanted: int) -> int:
        """Delete oldest segments that only optional readers still hold until `wanted` bytes came free.

        Returns the bytes freed; moves the cursors of those readers to the oldest record kept.
        """
        with self._lock:
            limit, freed, count = self._required_committed(), 0, 0
            for segment in self._segments[:-1]:
                if segment.end > limit or freed >= wanted:
                    break
                freed += segment.held_bytes
                count += 1
            dropped = self._segments[:count]
            for cursor in self._cursors.values() if dropped else ():
                self._skip(cursor, dropped)
            self._drop(count)
        _unlink(dropped)
        return freed

    # Called by readers.

    def register(self, name: str, *, required: bool) -> Cursor:
        """The cursor of that name, made durable where it is new or changed its kind."""
        path = cursor_path(self._cursor_directory, name)
        with self._lock:
            cursor = self._cursors.get(name)
            if cursor is None:
                cursor = Cursor(name, required, self.oldest)
                create_cursor(path.parent, cursor)
                self._cursors[name] = cursor
            elif cursor.required != required:
                cursor.required = required
                save_cursor(path.parent, cursor, cursor.committed)
            cursor.opened = True
            return cursor

    def commit(self, cursor: Cursor, position: Position) -> None:
        """Move a cursor, durably, then delete the segments that every reader has passed."""
        save_cursor(self._cursor_directory, cursor, position)
        with self._lock:
            cursor.committed = max(cursor.committed, position)
            dropped = self._drop_passed()
        _unlink(dropped)

    def drop_passed(self) -> None:
        """Delete the segments that every reader has passed."""
        with self._lock:
            dropped = self._drop_passed()
        _unlink(dropped)

    def forget_unopened(self) -> list[str]:
        """Remove the cursors that nobody opened since the start, and what only they held; their names."""
        with self._lock:
            names = [name for name, cursor in self._cursors.items() if not cursor.opened]
            for name in names:
                cursor_path(self._cursor_directory, name).unlink(missing_ok=True)
                del self._cursors[name]
            dropped = self._drop_passed()
        _unlink(dropped)
        return names

    def report(self, damage: Damage, path: Path) -> None:
        """Count and log an unreadable range, once however many readers meet it."""
        with self._lock:
            if damage.start in self._damaged:
                return
            self._damaged.add(damage.start)
            self.damaged_ranges += 1
        _log.error(
            "journal.damaged_range_skipped",
            segment=path.name,
            start=damage.start,
            bytes=damage.end - damage.start,
        )

    # With the lock held.

    def _required_committed(self) -> int:
        """How far all required readers are; before one is known nothing may be taken: it may yet come."""
        return min((cursor.committed for cursor in self._cursors.values() if cursor.required), default=-1)

    def _drop_passed(self) -> list[Segment]:
        limit = min((cursor.committed for cursor in self._cursors.values()), default=-1)
        count = bisect_right(self._segments[:-1], limit, key=lambda segment: segment.end)
        dropped = self._segments[:count]
        self._drop(count)
        return dropped

    def _drop(self, count: int) -> None:
        self._held_bytes -= sum(segment.held_bytes for segment in self._segments[:count])
        del self._segments[:count]
        self._damaged = {start for start in self._damaged if start >= self.oldest}

    def _skip(self, cursor: Cursor, dropped: Sequence[Segment]) -> None:
        kept = self._segments[len(dropped)]
        if cursor.committed >= dropped[-1].end:
            return
        lost = [segment for segment in dropped if segment.end > cursor.committed]
        records = kept.header.first_sequence - _sequence(lost[0], cursor.committed)
        size = sum(segment.end - max(segment.header.first, cursor.committed) for segment in lost)
        cursor.skipped_records += records
        cursor.skipped_bytes += size
        cursor.committed = kept.header.first
        _log.warning("journal.reader_skipped", reader=cursor.name, records=records, bytes=size)


def _sequence(segment: Segment, position: Position) -> int:
    """The sequence number of the record at `position`; where it is unreadable, of the segment's first."""
    if position <= segment.header.first:
        return segment.header.first_sequence
    with suppress(OSError):
        fd = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            sequence = sequence_at(fd, segment.header, position)
        finally:
            os.close(fd)
        if sequence is not None:
            return sequence
    return segment.header.first_sequence


def _unlink(segments: Iterable[Segment]) -> None:
    for segment in segments:
        try:
            segment.path.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("journal.segment_not_deleted", segment=segment.path.name, errno=error.errno)
