"""The data directory: one server at a time, and where each part keeps its files."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from agent_tracer.server.adapters.journal.cursor import Cursor, create_cursor, load_cursors, save_cursor
from agent_tracer.server.ports.journal import Position

_INTENT: Final = "load-intent"

_log: Final = structlog.get_logger("data_directory")


class DataDirectoryError(Exception):
    """The data directory cannot be used; the text says why and which setting to change."""


@dataclass(frozen=True, slots=True)
class DataDirectory:
    """Paths below it."""

    root: Path

    @property
    def journal(self) -> Path:
        """The write-ahead log."""
        return self.root / "journal"

    @property
    def store(self) -> Path:
        """The embedded store."""
        return self.root / "store"

    @property
    def temporary(self) -> Path:
        """For files of one run; emptied at the next."""
        return self.root / "tmp"


@contextmanager
def locked_directory(root: Path) -> Iterator[DataDirectory]:
    """Create the directory where needed and hold its lock. Raises DataDirectoryError.

    The lock is the kernel's and goes with the process, however that ends. Its paths are absolute: the embedded engine
    changes the process's working directory while it opens.
    """
    root = root.absolute()
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(root, error) from None
    try:
        _lock(lock, root)
        yield DataDirectory(root)
    finally:
        os.close(lock)


@contextmanager
def files_usable(directory: DataDirectory) -> Iterator[None]:
    """Around what opens files there: raises DataDirectoryError for an OSError."""
    try:
        yield
    except OSError as error:
        raise _unusable(directory.root, error) from None


def _unusable(root: Path, error: OSError) -> DataDirectoryError:
    place = error.filename or root
    return DataDirectoryError(
        f"the data directory {root} cannot be used: {place}: {error.strerror}. Make it writable, or choose another one "
        "by data_dir in the configuration file, --data-dir, or AGENT_TRACER__DATA_DIR in the environment."
    )


@contextmanager
def own_temporary_files(directory: DataDirectory) -> Iterator[None]:
    """Let this process's temporary files lie in the data directory: the store's driver writes requests to them.

    A killed server leaves some behind, with prompts in them; in /tmp they would stay. Raises OSError.
    """
    shutil.rmtree(directory.temporary, ignore_errors=True)
    directory.temporary.mkdir(mode=0o700, exist_ok=True)
    before, tempfile.tempdir = tempfile.tempdir, str(directory.temporary)
    try:
        yield
    finally:
        tempfile.tempdir = before


def _lock(lock: int, root: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(lock, 20, 0).decode(errors="replace").strip() or "unknown"
        raise DataDirectoryError(
            f"another server (process {owner}) uses the data directory {root} already. Stop it, or choose another "
            "directory by --data-dir."
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)


class FileLoadIntent:
    """ports.loading.LoadIntent in a file of two slots, made and kept as the journal's cursors are.

    A plan overwrites blocks that the file has already: on a full disk the loader must go on, or no room would come.
    """

    def __init__(self, folder: Path) -> None:
        """Raises OSError where the folder cannot be used."""
        self._folder = folder
        cursors, damaged = load_cursors(folder)
        if damaged:
            _log.error("what the loader was doing at the last end is not known; some of it may be stored twice")
        self._cursor = next((cursor for cursor in cursors if cursor.name == _INTENT), None)

    def planned_end(self) -> Position | None:
        """See the port."""
        return None if self._cursor is None else self._cursor.committed

    def plan(self, end: Position) -> None:
        """See the port. Raises OSError."""
        if self._cursor is None:
            made = Cursor(_INTENT, required=True, committed=end)
            create_cursor(self._folder, made)
            self._cursor = made
        else:
            save_cursor(self._folder, self._cursor, end)
            self._cursor.committed = end
