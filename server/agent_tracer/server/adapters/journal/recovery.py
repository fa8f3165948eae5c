"""Opening a journal's directory: finding its end, and cutting what a crash left unfinished."""

import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import structlog

from agent_tracer.server.adapters.journal.catalog import Catalog, Segment
from agent_tracer.server.adapters.journal.cursor import Cursor, create_cursor, load_cursors
from agent_tracer.server.adapters.journal.files import (
    remove_temporaries,
    segment_files,
    set_aside,
    sync_directory,
)
from agent_tracer.server.adapters.journal.frames import Damage, Walker, sequence_at
from agent_tracer.server.adapters.journal.segment import (
    SEGMENT_HEADER_BYTES,
    SegmentHeader,
    decode_segment_header,
)
from agent_tracer.server.ports.journal import Position, Record

_log = structlog.get_logger(__name__)

_CURSORS: Final = "cursors"


@dataclass(frozen=True, slots=True)
class Recovered:
    """A directory as it was found: what it holds, and what the next record gets."""

    segments: list[Segment]
    cursors: list[Cursor]
    next_position: Position
    next_sequence: int
    damage: list[tuple[Damage, Path]]

    def catalog(self, directory: Path, bytes_max: int) -> Catalog:
        """The catalog to work with. A last segment must have been begun by then."""
        catalog = Catalog(directory / _CURSORS, self.segments, self.cursors, bytes_max)
        for damage, path in self.damage:
            catalog.report(damage, path)
        return catalog


def recover(directory: Path) -> Recovered:
    """Read a directory's segments and cursors; cut the last segment behind its last good frame.

    Creates the directory where there is none. Everything found is durable on return: a record that a killed
    process had written but not yet synced counts as accepted. Positions handed out before are not used again,
    even where files are missing: the next one is past every segment and every cursor.
    Raises JournalFormatError for a format version this server cannot read, OSError for an unusable directory.
    """
    (directory / _CURSORS).mkdir(parents=True, exist_ok=True)
    sync_directory(directory)
    remove_temporaries(directory)
    remove_temporaries(directory / _CURSORS)
    segments, past_damaged = _segments(directory)
    damage: list[tuple[Damage, Path]] = []
    next_sequence = 0
    if segments:
        last, next_sequence, ranges = _cut(segments.pop())
        damage = [(item, last.path) for item in ranges]
        segments.append(last)
    end = segments[-1].end if segments else Position(0)
    oldest = segments[0].header.first if segments else Position(max(end, past_damaged))
    cursors = _cursors(directory / _CURSORS, oldest)
    next_position = Position(max([end, past_damaged, *(cursor.committed for cursor in cursors)]))
    return Recovered(segments, cursors, next_position, next_sequence, damage)


def _segments(directory: Path) -> tuple[list[Segment], int]:
    """The readable segments, and the position past every file that had to be set aside."""
    segments: list[Segment] = []
    past_damaged = 0
    for first, path in segment_files(directory):
        with path.open("rb") as file:
            header = decode_segment_header(file.read(SEGMENT_HEADER_BYTES))
        size = path.stat().st_size
        if header is None or header.first != first:
            past_damaged = max(past_damaged, first + size)
            set_aside(path)
            _log.error("journal.segment_set_aside", segment=path.name, bytes=size)
        else:
            segments.append(Segment(header, path, Position(first + size - SEGMENT_HEADER_BYTES)))
    # A refused write that could not be taken back lies beyond the start of the segment that followed it.
    bounded = [
        Segment(segment.header, segment.path, min(segment.end, following.header.first))
        for segment, following in pairwise(segments)
    ]
    return bounded + segments[-1:], past_damaged


def _cut(segment: Segment) -> tuple[Segment, int, list[Damage]]:
    """The last segment without its torn tail, the next sequence number, and the damage before the tail."""
    header, last = segment.header, None
    ranges: list[Damage] = []
    tail: list[Damage] = []
    fd = os.open(segment.path, os.O_RDWR | os.O_CLOEXEC)
    try:
        for item in Walker().walk(fd, header, header.first, segment.end):
            if isinstance(item, Record):
                last = item
                ranges += tail
                tail = []
            else:
                tail.append(item)
        end = last.end if last else header.first
        if end < segment.end:
            os.ftruncate(fd, SEGMENT_HEADER_BYTES + end - header.first)
            _log.warning("journal.tail_cut", segment=segment.path.name, position=end, bytes=segment.end - end)
        os.fsync(fd)
        sequence = _next_sequence(fd, header, last)
    finally:
        os.close(fd)
    return Segment(header, segment.path, end), sequence, ranges


def _next_sequence(fd: int, header: SegmentHeader, last: Record | None) -> int:
    found = sequence_at(fd, header, last.start) if last else None
    return header.first_sequence if found is None else found + 1


def _cursors(directory: Path, oldest: Position) -> list[Cursor]:
    cursors, damaged = load_cursors(directory)
    for name in damaged:
        # Whether it was required is not known: nothing may be taken from it until its owner says.
        cursor = Cursor(name, required=True, committed=oldest)
        create_cursor(directory, cursor)
        cursors.append(cursor)
        _log.error("journal.cursor_damaged", reader=name, reads_again_from=oldest)
    for cursor in cursors:
        cursor.committed = max(cursor.committed, oldest)
    return cursors
