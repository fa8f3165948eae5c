"""Moves journal records into the store, a group at a time, each exactly once."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import structlog

from agent_tracer.server.domain.otlp_counts import count_items
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.limits import (
    LOAD_BYTES_MAX,
    LOAD_EAGER_BYTES,
    LOAD_INTERVAL_COST_FACTOR,
    LOAD_INTERVAL_SECONDS_MAX,
    LOAD_INTERVAL_SECONDS_MIN,
    LOAD_LISTENER_SECONDS,
    LOAD_RECORDS_MAX,
    LOAD_RETRY_SECONDS,
)
from agent_tracer.server.ports.journal import Journal, JournalClosedError, JournalReader, Position, Record
from agent_tracer.server.ports.loading import LoadIntent, RequestRefusedError, StoreLoader
from agent_tracer.server.ports.server_metrics import LoadMetrics
from agent_tracer.server.ports.store import QueryTimeoutError, StoreDownError, TooMuchDataError
from agent_tracer.server.services.commits import CommitListener
from agent_tracer.server.services.price_book import PriceBook

_FAULT: Final = "bringing requests into the store fails; the server's log has the reason"

_log: Final = structlog.get_logger("loader")


@dataclass(frozen=True, slots=True)
class LoaderState:
    """For /readyz and doctor. `trouble` is empty while commits succeed, else for whoever runs the server.

    `behind_seconds`: for how long at least something has been waiting in the journal.
    """

    loaded: Position
    behind_seconds: float
    trouble: str


class Loader:
    """One task that reads the journal and commits to the store. LoadProgress for reads that must see a position."""

    def __init__(  # noqa: PLR0913 - its collaborators, each used once
        self,
        *,
        journal: Journal,
        reader: JournalReader,
        store: StoreLoader,
        intent: LoadIntent,
        prices: PriceBook,
        metrics: LoadMetrics,
        listeners: Sequence[CommitListener] = (),
    ) -> None:
        self._journal = journal
        self._reader = reader
        self._store = store
        self._intent = intent
        self._prices = prices
        self._metrics = metrics
        self._listeners = listeners
        self._loaded = reader.committed
        self._wanted = Position(0)
        self._wake = asyncio.Event()
        self._advanced = asyncio.Condition()
        self._commit_seconds = 0.0
        self._committed_at = 0.0
        self._mark = self._loaded
        self._marked_at = 0.0
        self._trouble = ""

    @property
    def state(self) -> LoaderState:
        """How the loader is doing."""
        behind = 0.0 if self._loaded >= self._mark else time.monotonic() - self._marked_at
        return LoaderState(self._loaded, behind, self._trouble)

    def is_loaded(self, position: Position) -> bool:
        """Whether everything before the position can be read."""
        return self._loaded >= position

    async def wait_loaded(self, position: Position) -> None:
        """Return once everything before `position` can be read. Raises StoreDownError while the store is down."""
        if self._loaded >= position:
            return
        self._wanted = max(self._wanted, position)
        self._wake.set()
        async with self._advanced:
            await self._advanced.wait_for(lambda: self._loaded >= position or self._trouble != "")
        if self._loaded < position:
            raise StoreDownError(self._trouble)

    async def run(self) -> None:
        """Load until the journal is closed, then what it still holds; trouble ends that.

        While the journal is open, what failed is tried again; nothing is lost or skipped meanwhile.
        """
        try:
            while True:
                await self._journal.wait_beyond(self._loaded)
                self._set_mark()
                await self._pause()
                await self._load_some()
                if self._trouble:
                    await asyncio.sleep(LOAD_RETRY_SECONDS)
        except JournalClosedError:
            await self._drain()

    async def _drain(self) -> None:
        """The store gets another chance even if it was down a moment ago."""
        while self._loaded < self._journal.durable_end:
            await self._load_some()
            if self._trouble:
                return

    async def _pause(self) -> None:
        """Leave time for more records to gather, unless enough have or a read waits for them."""
        seconds = self._commit_seconds * LOAD_INTERVAL_COST_FACTOR
        seconds = min(max(seconds, LOAD_INTERVAL_SECONDS_MIN), LOAD_INTERVAL_SECONDS_MAX)
        deadline = self._committed_at + seconds
        while self._wanted <= self._loaded and not self._is_much_waiting():
            left = deadline - time.monotonic()
            if left <= 0:
                return
            self._wake.clear()
            try:
                # In steps, because a filling journal does not wake anybody.
                async with asyncio.timeout(min(left, LOAD_INTERVAL_SECONDS_MIN)):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _set_mark(self) -> None:
        """Where the journal ends now, for `behind_seconds`; the last mark stands until it is reached."""
        if self._loaded >= self._mark:
            self._mark, self._marked_at = self._journal.durable_end, time.monotonic()

    def _is_much_waiting(self) -> bool:
        return self._journal.durable_end - self._loaded >= LOAD_EAGER_BYTES

    async def _load_some(self) -> None:
        """One commit, or the trouble that stood in its way. Whatever went wrong, the range is tried again as it is."""
        try:
            records, again = await asyncio.to_thread(self._next_group)
            if records:
                await self._commit(records, again=again)
            else:
                await asyncio.sleep(LOAD_INTERVAL_SECONDS_MIN)
            await self._report("")
        except (StoreDownError, QueryTimeoutError, TooMuchDataError) as error:
            _log.warning("store is down; the journal keeps what comes in", retry_seconds=LOAD_RETRY_SECONDS)
            await self._start_over(str(error))
        except Exception:  # noqa: BLE001 - spans must not wait for their prices
            # A server that ends would meet the same records again, and could take nothing meanwhile.
            _log.exception("loading failed; the journal keeps what comes in", retry_seconds=LOAD_RETRY_SECONDS)
            await self._start_over(_FAULT)

    async def _start_over(self, trouble: str) -> None:
        await asyncio.to_thread(self._reader.rewind)
        await self._report(trouble)

    def _next_group(self) -> tuple[Sequence[Record], bool]:
        """The next records, and whether an insert of them has begun before: then exactly these come again."""
        planned = self._intent.planned_end()
        if planned is not None and planned > self._loaded:
            if records := self._records_until(planned):
                return records, True
            self._reader.rewind()
        records = self._reader.read(max_bytes=LOAD_BYTES_MAX, max_records=LOAD_RECORDS_MAX)
        if records:
            self._intent.plan(records[-1].end)
        else:
            # Where nothing can be read of what is left, the reader has passed it.
            self._loaded = max(self._loaded, self._reader.committed)
        return records, False

    def _records_until(self, planned: Position) -> Sequence[Record]:
        records: list[Record] = []
        at = self._loaded
        while at < planned and (more := self._reader.read(max_bytes=planned - at, max_records=LOAD_RECORDS_MAX)):
            records += more
            at = more[-1].end
        # The bound is of payloads, and frames are longer, so that a read may go beyond.
        return [record for record in records if record.end <= planned]

    async def _commit(self, records: Sequence[Record], *, again: bool) -> None:
        started = time.perf_counter()
        await self._learn_prices(records)
        for signal, group in groupby(sorted(records, key=lambda r: (r.signal, r.start)), key=lambda r: r.signal):
            await self._insert(signal, list(group), again=again)
        await asyncio.to_thread(self._reader.commit, records[-1].end)
        if again:
            # It may have read beyond what was planned.
            await asyncio.to_thread(self._reader.rewind)
        self._commit_seconds = time.perf_counter() - started
        self._committed_at = time.monotonic()
        self._metrics.committed(self._commit_seconds)
        # First the listeners: whoever waited for these records asks them at once what they have made of them.
        for listener in self._listeners:
            await _tell(listener, records)
        self._loaded = self._reader.committed
        await self._report("")

    async def _learn_prices(self, records: Sequence[Record]) -> None:
        try:
            await self._prices.learn(record.payload for record in records if record.signal is Signal.TRACES)
        except (StoreDownError, QueryTimeoutError, TooMuchDataError):
            raise
        except Exception:  # noqa: BLE001 - spans must not wait for their prices
            _log.exception("prices could not be looked up; these spans stay without what they lack")

    async def _insert(self, signal: Signal, records: Sequence[Record], *, again: bool) -> None:
        """Insert; what the store refuses is halved until the one bad request stands alone.

        Halves and tokens follow from the records alone, so that a repetition after a crash meets the same ones.
        """
        first, last = records[0], records[-1]
        # With a time, because the positions of a journal that is begun anew have been there before.
        token = f"{signal.name}-{first.start}-{last.end}-{len(records)}-{first.received_ns}"
        try:
            await self._store.insert(signal, records, token, again=again)
        except RequestRefusedError as refusal:
            if len(records) == 1:
                await self._quarantine(first, str(refusal))
                return
            half = len(records) // 2
            await self._insert(signal, records[:half], again=again)
            await self._insert(signal, records[half:], again=again)
        else:
            items = await asyncio.to_thread(lambda: sum(count_items(signal, record.payload) for record in records))
            self._metrics.stored(signal, len(records), items)

    async def _quarantine(self, record: Record, reason: str) -> None:
        await self._store.quarantine(record, reason)
        self._metrics.quarantined(record.signal, count_items(record.signal, record.payload))
        _log.error("request quarantined", signal=record.signal.name, position=record.start, reason=reason)

    async def _report(self, trouble: str) -> None:
        async with self._advanced:
            self._trouble = trouble
            self._advanced.notify_all()


async def _tell(listener: CommitListener, records: Sequence[Record]) -> None:
    try:
        async with asyncio.timeout(LOAD_LISTENER_SECONDS):
            await listener.committed(records)
    except Exception as error:  # noqa: BLE001 - the commit is done, whatever becomes of those who want to know
        _log.warning("a listener missed a commit", listener=type(listener).__name__, error=type(error).__name__)
