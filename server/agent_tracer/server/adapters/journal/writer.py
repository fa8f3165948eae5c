"""The writer thread: takes everything that waits, makes it durable at once, tells the event loop once."""

import asyncio
import errno
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Final, TypeAlias

import structlog

from agent_tracer.server.adapters.journal.appender import Appender
from agent_tracer.server.adapters.journal.catalog import Catalog
from agent_tracer.server.adapters.journal.segment import SEGMENT_HEADER_BYTES, Entry
from agent_tracer.server.adapters.journal.stats import JournalState
from agent_tracer.server.limits import JOURNAL_RETRY_DISK_SECONDS
from agent_tracer.server.ports.journal import JournalFullError, Position

_log = structlog.get_logger(__name__)

_DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_REFUSALS: Final = {
    JournalState.BUDGET_FULL: (
        "the journal has reached its disk budget because the store is behind: try again later, "
        "or give it more room with the setting journal.max_bytes"
    ),
    JournalState.DISK_FAILING: (
        "the journal cannot write because the data directory's disk is full or faulty: try again later, "
        "free disk space, or lower the setting journal.max_bytes"
    ),
}


@dataclass(frozen=True, slots=True)
class Pending:
    """An entry and who waits for it."""

    entry: Entry
    future: asyncio.Future[Position]


Outcome: TypeAlias = tuple[Pending, Position | JournalFullError]
Settle: TypeAlias = Callable[[Sequence[Outcome]], None]


class GroupWriter:
    """Owns the writer thread. `settle` is called on the event loop with the outcomes of each group."""

    def __init__(self, appender: Appender, catalog: Catalog, *, group_bytes_max: int, settle: Settle) -> None:
        self._appender = appender
        self._catalog = catalog
        self._group_bytes_max = group_bytes_max
        self._settle = settle
        self._queue: SimpleQueue[Pending | None] = SimpleQueue()
        self._left_over: Pending | None = None
        self._is_closing = False
        self.state = JournalState.ACCEPTING
        self._thread = threading.Thread(target=self._run, name="journal-writer", daemon=True)
        self._thread.start()

    def submit(self, pending: Pending) -> None:
        """Hand over an entry; never blocks. The caller bounds how much waits."""
        self._queue.put(pending)

    def close(self) -> None:
        """Write what was submitted, then end the thread. Blocks."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
            self._appender.close()

    def _run(self) -> None:
        while group := self._take():
            outcomes = self._commit(group)
            try:
                group[0].future.get_loop().call_soon_threadsafe(self._settle, outcomes)
            except RuntimeError:
                _log.debug("journal.loop_closed", records=len(group))

    def _take(self) -> list[Pending]:
        """Everything that waits, up to one group; waits for the first. Empty once closed and drained."""
        first, self._left_over = self._left_over, None
        if first is None and not self._is_closing:
            first = self._queue.get()
        if first is None:
            return []
        group, size = [first], first.entry.frame_bytes
        while not self._is_closing:
            try:
                pending = self._queue.get_nowait()
            except Empty:
                break
            if pending is None:
                self._is_closing = True
                break
            size += pending.entry.frame_bytes
            if size > self._group_bytes_max:
                self._left_over = pending
                break
            group.append(pending)
        return group

    def _commit(self, group: Sequence[Pending]) -> list[Outcome]:
        """Write what the budget admits of a group; every entry gets its end or its refusal."""
        try:
            admitted, refused = self._admit(group)
            ends = self._write([pending.entry for pending in admitted]) if admitted else []
        except Exception as error:  # noqa: BLE001 - whatever it was, the waiters must hear and the thread must live
            self._enter(JournalState.DISK_FAILING, error)
            return [_refusal(pending, self.state) for pending in group]
        self._enter(JournalState.BUDGET_FULL if refused else JournalState.ACCEPTING)
        return [
            *zip(admitted, ends, strict=True),
            *(_refusal(pending, JournalState.BUDGET_FULL) for pending in refused),
        ]

    def _admit(self, group: Sequence[Pending]) -> tuple[list[Pending], list[Pending]]:
        needed = sum(pending.entry.frame_bytes for pending in group) + SEGMENT_HEADER_BYTES
        room = self._catalog.make_room(needed)
        if room < needed and self._catalog.active_is_passed():
            self._appender.roll()
            room = self._catalog.make_room(needed)
        if room >= needed:
            return list(group), []
        admitted: list[Pending] = []
        refused: list[Pending] = []
        room -= SEGMENT_HEADER_BYTES
        for pending in group:
            fits = pending.entry.frame_bytes <= room
            (admitted if fits else refused).append(pending)
            room -= pending.entry.frame_bytes if fits else 0
        return admitted, refused

    def _write(self, entries: Sequence[Entry]) -> list[Position]:
        try:
            return self._appender.append(entries)
        except OSError as error:
            wanted = sum(entry.frame_bytes for entry in entries)
            if error.errno not in _DISK_FULL or not self._catalog.take_from_optional(wanted):
                raise
        return self._appender.append(entries)

    def _enter(self, state: JournalState, error: Exception | None = None) -> None:
        """Log a change of state once, not for every refused request."""
        if state is self.state:
            return
        self.state = state
        code = error.errno if isinstance(error, OSError) else None
        if state is JournalState.ACCEPTING:
            _log.info("journal.accepting_again")
        else:
            _log.error("journal.refusing", state=str(state), error=type(error).__name__, errno=code)


def _refusal(pending: Pending, state: JournalState) -> Outcome:
    return pending, JournalFullError(_REFUSALS[state], JOURNAL_RETRY_DISK_SECONDS)
