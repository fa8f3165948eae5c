"""What was received and waits for something to be made of its traces, the latest first, over restarts."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from agent_tracer.server.limits import SETTLE_OVERLAP_SECONDS
from agent_tracer.server.ports.journal import Record
from agent_tracer.server.ports.outlines import Progress, ProgressKeeper
from agent_tracer.server.ports.settling import ReceivedRange
from agent_tracer.server.services.received_ranges import EVER, WaitingRanges, range_of_commit, received_from

_OVERLAP_NS: Final = SETTLE_OVERLAP_SECONDS * 1_000_000_000


@dataclass(frozen=True, slots=True)
class Done:
    """Of a range, what was received at `from_ns` or later is done, the last of it at `last_ns` (None: was nothing)."""

    from_ns: int
    last_ns: int | None


class Backlog:
    """Which receipts wait, and how far that is remembered. A crash repeats what was done since, and loses nothing.

    One call at a time, except of `committed`; where one fails, all that waited still waits.
    """

    def __init__(
        self,
        progress: ProgressKeeper,
        work: Callable[[ReceivedRange], Awaitable[Done]],
        *,
        save_seconds: float,
        flush: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`work` does a batch, the latest of a range. `flush` makes durable what it made, before that is remembered."""
        self._progress = progress
        self._work = work
        self._flush = flush
        self._save_seconds = save_seconds
        self._saved_at = time.perf_counter()
        self._waiting = WaitingRanges()
        self._reached_ns: int | None = None
        self._is_changed = False
        self._is_at_work = False
        self.maker = ""
        """For which it was begun last."""
        self.is_continued = False
        """Whether that had made something before the last stop."""

    def __bool__(self) -> bool:
        return bool(self._waiting)

    @property
    def is_behind(self) -> bool:
        """Whether something that was received may not have been worked off yet."""
        return bool(self._waiting) or self._is_at_work or not self.maker

    def committed(self, records: Sequence[Record]) -> bool:
        """Whether there are traces among these records, which now wait."""
        received = range_of_commit(records, self._reached_ns)
        if received is None:
            return False
        # The last commit's, not the latest: after a clock was set back those times are what a restart needs.
        self._reached_ns = received.end_ns
        self._is_changed = True
        self._waiting.add(received)
        return True

    async def begin(self, maker: str) -> bool:
        """Let wait what this maker left at the last stop; everything, where nothing is known of it.

        Does nothing, and returns False, where it has begun for this maker already.
        """
        if self.maker == maker:
            return False
        kept = await asyncio.to_thread(self._progress.load)
        self.is_continued = kept is not None and kept.maker == maker
        if kept is None or kept.maker != maker:
            self._waiting.add(EVER)
        else:
            self._reached_ns = kept.reached_ns if self._reached_ns is None else self._reached_ns
            for left in (*kept.left, received_from(max(0, kept.reached_ns - _OVERLAP_NS))):
                self._waiting.add(left)
        self.maker = maker
        return True

    def again(self) -> None:
        """Everything that was ever received waits."""
        self._waiting.add(EVER)

    def drop_before(self, time_ns: int) -> None:
        """What was received before does not wait any more."""
        self._waiting.drop_before(time_ns)

    async def work_off(self) -> None:
        """The latest batch of what waits, if anything does."""
        taken = self._waiting.take_latest()
        if taken is None:
            return
        self._is_at_work, left = True, taken
        try:
            done = await self._work(taken)
            # Where all of a full batch came at one time, nothing of that time is left.
            left = ReceivedRange(taken.start_ns, done.from_ns - 1)
        finally:
            self._waiting.add(left)
            self._is_at_work = False
        if done.last_ns is not None:
            self._reached_ns = done.last_ns if self._reached_ns is None else self._reached_ns
            self._is_changed = True

    async def work_off_until(self, until: float) -> None:
        """As many batches as can be begun before that time.perf_counter."""
        while self._waiting and time.perf_counter() < until:
            await self.work_off()

    async def save_in_time(self) -> None:
        """Save, if that is due. Raises what `save` raises."""
        if time.perf_counter() - self._saved_at >= self._save_seconds:
            await self.save()

    async def save(self) -> None:
        """Remember how far it is, for a restart. Raises OSError, and what `flush` raises."""
        if self._is_changed and self.maker and self._reached_ns is not None:
            if self._flush is not None:
                await self._flush()
            progress = Progress(self.maker, self._reached_ns, self._waiting.all())
            await asyncio.to_thread(self._progress.save, progress)
            self._is_changed = False
        self._saved_at = time.perf_counter()
