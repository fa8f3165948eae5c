"""Files of the journal's directory: names, and writes that are whole or not there."""

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from agent_tracer.server.adapters.journal.segment import SegmentHeader, encode_segment_header
from agent_tracer.server.ports.journal import Position

_SEGMENT_NAME: Final = re.compile(r"([0-9]{20})\.segment")
_TEMPORARY_SUFFIX: Final = ".tmp"
_DAMAGED_SUFFIX: Final = ".damaged"
_MODE: Final = 0o600
_IOV_MAX: Final = os.sysconf("SC_IOV_MAX")


def segment_path(directory: Path, first: Position) -> Path:
    """The file of the segment that starts at `first`; names sort in journal order."""
    return directory / f"{first:020d}.segment"


def segment_files(directory: Path) -> list[tuple[Position, Path]]:
    """First position, by name, and path of every segment file, in journal order."""
    matches = ((_SEGMENT_NAME.fullmatch(path.name), path) for path in directory.iterdir())
    return sorted((Position(int(match[1])), path) for match, path in matches if match)


def create_segment(directory: Path, header: SegmentHeader) -> Path:
    """Create a segment file with its header, durable on return. Replaces one of the same position."""
    path = segment_path(directory, header.first)
    write_new(path, encode_segment_header(header))
    return path


def write_new(path: Path, data: bytes) -> None:
    """Put a file there as a whole, durable on return. Raises OSError; then nothing is left of it."""
    temporary = path.with_name(path.name + _TEMPORARY_SUFFIX)
    try:
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _MODE)
        try:
            write_all(fd, [data], 0)
            os.fsync(fd)
        finally:
            os.close(fd)
        temporary.rename(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise
    sync_directory(path.parent)


def write_all(fd: int, parts: Sequence[bytes], offset: int) -> None:
    """Write all parts one behind the other at `offset`. Raises OSError; then some of it may be there."""
    for first in range(0, len(parts), _IOV_MAX):
        batch = parts[first : first + _IOV_MAX]
        size = sum(map(len, batch))
        written = os.pwritev(fd, batch, offset)
        if written < size:
            _write_rest(fd, batch, offset, written)
        offset += size


def _write_rest(fd: int, batch: Sequence[bytes], offset: int, written: int) -> None:
    """After a short write (a nearly full disk): the rest, until it is done or the error shows."""
    rest = memoryview(b"".join(batch))
    while written < len(rest):
        written += os.pwrite(fd, rest[written:], offset + written)


def sync_directory(directory: Path) -> None:
    """Make created and renamed names of a directory durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def remove_temporaries(directory: Path) -> None:
    """Remove what a crash left of files that were never put in place."""
    for path in directory.glob("*" + _TEMPORARY_SUFFIX):
        path.unlink(missing_ok=True)


def set_aside(path: Path) -> None:
    """Keep a damaged file for a person to look at, out of the journal's way."""
    path.rename(path.with_name(path.name + _DAMAGED_SUFFIX))
