"""Durable cursors of readers: one small file each.

A cursor file has two slots, each in a block of its own, written in turn; the valid slot of the higher
generation counts. A torn write spoils the older slot only. A commit is one write and one fdatasync, and needs
no new disk block: the loader must be able to commit on a full disk, or its segments would never be freed.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import Final
from zlib import crc32

from agent_tracer.server.adapters.journal.files import write_all, write_new
from agent_tracer.server.adapters.journal.segment import JournalFormatError
from agent_tracer.server.ports.journal import Position

CURSOR_FORMAT_VERSION: Final = 1

_MAGIC: Final = b"\x89ATRCRSR"
_SLOT: Final = Struct("<8sHHQQ")
_CRC: Final = Struct("<I")
_SLOT_DISTANCE: Final = 4096
_SUFFIX: Final = ".cursor"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@dataclass(slots=True)
class Cursor:
    """A reader's place. `committed` and the counts change under the catalog's lock only."""

    name: str
    required: bool
    committed: Position
    generation: int = 0
    opened: bool = False
    skipped_records: int = 0
    skipped_bytes: int = 0


def cursor_path(directory: Path, name: str) -> Path:
    """The file of the cursor of that name. Raises ValueError for a name that is no plain file name."""
    if _NAME.fullmatch(name) is None:
        message = f"a journal reader's name is 1 to 64 of a-z, 0-9, - and _, not {name!r}"
        raise ValueError(message)
    return directory / (name + _SUFFIX)


def create_cursor(directory: Path, cursor: Cursor) -> None:
    """Write a new cursor file, durable on return."""
    slot = _encode(cursor, cursor.committed, cursor.generation)
    write_new(cursor_path(directory, cursor.name), slot.ljust(_SLOT_DISTANCE, b"\0") + slot)


def save_cursor(directory: Path, cursor: Cursor, committed: Position) -> None:
    """Write `committed` into the older slot, durable on return. The object's field is left to the caller.

    A write that fails is followed by one into the same slot, so that the other always holds.
    """
    generation = cursor.generation + 1
    fd = os.open(cursor_path(directory, cursor.name), os.O_WRONLY | os.O_CLOEXEC)
    try:
        write_all(fd, [_encode(cursor, committed, generation)], generation % 2 * _SLOT_DISTANCE)
        os.fdatasync(fd)
    finally:
        os.close(fd)
    cursor.generation = generation


def load_cursors(directory: Path) -> tuple[list[Cursor], list[str]]:
    """The cursors of a directory, and the names of those whose file is damaged.

    Raises JournalFormatError for a file of another format version.
    """
    cursors, damaged = [], []
    for path in sorted(directory.glob("*" + _SUFFIX)):
        cursor = _decode(path.name.removesuffix(_SUFFIX), path.read_bytes())
        if cursor is None:
            damaged.append(path.name.removesuffix(_SUFFIX))
        else:
            cursors.append(cursor)
    return cursors, damaged


def _encode(cursor: Cursor, committed: Position, generation: int) -> bytes:
    fields = _SLOT.pack(_MAGIC, CURSOR_FORMAT_VERSION, cursor.required, committed, generation)
    return fields + _CRC.pack(crc32(fields))


def _decode(name: str, data: bytes) -> Cursor | None:
    slots = [_decode_slot(name, data[offset:]) for offset in (0, _SLOT_DISTANCE)]
    return max((slot for slot in slots if slot), key=lambda slot: slot.generation, default=None)


def _decode_slot(name: str, data: bytes) -> Cursor | None:
    if len(data) < _SLOT.size + _CRC.size:
        return None
    magic, version, required, committed, generation = _SLOT.unpack_from(data)
    if magic != _MAGIC:
        return None
    if version != CURSOR_FORMAT_VERSION:
        message = (
            f"the cursor of journal reader {name!r} has format version {version}, "
            f"this server reads version {CURSOR_FORMAT_VERSION}: start the server version that wrote it"
        )
        raise JournalFormatError(message)
    if _CRC.unpack_from(data, _SLOT.size)[0] != crc32(data[: _SLOT.size]):
        return None
    return Cursor(name, bool(required), Position(committed), generation)
