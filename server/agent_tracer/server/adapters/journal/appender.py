"""The end of the journal: groups of frames written to the active segment, whole or not at all. Blocking."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from agent_tracer.server.adapters.journal.catalog import Catalog, Segment
from agent_tracer.server.adapters.journal.files import create_segment, write_all
from agent_tracer.server.adapters.journal.segment import (
    SEGMENT_HEADER_BYTES,
    Entry,
    SegmentHeader,
    encode_frame_header,
)
from agent_tracer.server.ports.journal import Position

_log = structlog.get_logger(__name__)


def begin_segment(directory: Path, first: Position, first_sequence: int) -> Segment:
    """Create an empty segment, durable on return. Raises OSError; then there is none."""
    header = SegmentHeader(first, first_sequence, int.from_bytes(os.urandom(4), "little"))
    return Segment(header, create_segment(directory, header), first)


def _open(segment: Segment) -> int:
    return os.open(segment.path, os.O_RDWR | os.O_CLOEXEC)


class Appender:
    """Writes to the catalog's active segment and begins new ones. Used by one thread."""

    def __init__(
        self,
        directory: Path,
        catalog: Catalog,
        *,
        sequence: int,
        segment_bytes: int,
        clock: Callable[[], float],
    ) -> None:
        self._directory = directory
        self._catalog = catalog
        self._sequence = sequence
        self._segment_bytes = segment_bytes
        self._clock = clock
        self._fd = _open(catalog.active)
        self._sound = True
        self.appended_records = 0
        self.appended_bytes = 0
        self.sync_count = 0
        self.sync_seconds = 0.0

    def append(self, entries: Sequence[Entry]) -> list[Position]:
        """Write entries under one fdatasync; returns their ends. Raises OSError; then nothing is kept."""
        size = sum(entry.frame_bytes for entry in entries)
        self._roll_for(size)
        active = self._catalog.active
        parts, ends = self._encode(entries, active)
        try:
            write_all(self._fd, parts, SEGMENT_HEADER_BYTES + active.end - active.header.first)
            self._sync()
        except BaseException:
            self._take_back(active)
            raise
        self._sequence += len(entries)
        self._catalog.extend(ends[-1])
        self.appended_records += len(entries)
        self.appended_bytes += size
        return ends

    def roll(self) -> None:
        """Begin a new segment at the end of the active one. Raises OSError; then nothing has changed."""
        segment = begin_segment(self._directory, self._catalog.durable_end, self._sequence)
        fd = _open(segment)
        os.close(self._fd)
        self._fd, self._sound = fd, True
        self._catalog.begin(segment)

    def close(self) -> None:
        """Close the active segment's file; everything appended is durable already."""
        os.close(self._fd)

    def _roll_for(self, size: int) -> None:
        active = self._catalog.active
        is_full = active.end > active.header.first and active.held_bytes + size > self._segment_bytes
        if is_full or not self._sound:
            self.roll()

    def _encode(self, entries: Sequence[Entry], active: Segment) -> tuple[list[bytes], list[Position]]:
        parts: list[bytes] = []
        ends: list[Position] = []
        position: int = active.end
        for sequence, entry in enumerate(entries, self._sequence):
            parts += (encode_frame_header(entry, position, sequence, active.header.salt), entry.payload)
            position += entry.frame_bytes
            ends.append(Position(position))
        return parts, ends

    def _sync(self) -> None:
        # What the page cache holds after a failed sync need not be what the disk holds, and a second sync may
        # report success for it: such a segment is not written again (Rebello et al., USENIX ATC 2020).
        self._sound = False
        began = self._clock()
        os.fdatasync(self._fd)
        self.sync_seconds += self._clock() - began
        self.sync_count += 1
        self._sound = True

    def _take_back(self, active: Segment) -> None:
        """Cut a failed group off. Where even that fails, the next segment's start bounds this one."""
        try:
            os.ftruncate(self._fd, SEGMENT_HEADER_BYTES + active.end - active.header.first)
            os.fsync(self._fd)
        except OSError as error:
            self._sound = False
            _log.error("journal.write_not_taken_back", segment=active.path.name, errno=error.errno)
