"""What waits to be worked off, and what a restart may rely on."""

import asyncio
import time
from dataclasses import dataclass, field

import pytest

from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.limits import SETTLE_OVERLAP_SECONDS
from agent_tracer.server.ports.journal import Position, Record
from agent_tracer.server.ports.outlines import Progress
from agent_tracer.server.ports.settling import ReceivedRange
from agent_tracer.server.ports.store import StoreDownError
from agent_tracer.server.services.backlog import Backlog, Done
from agent_tracer.server.services.received_ranges import EVER
from tests.fixtures.memory_vectors import MemoryProgress

S = 1_000_000_000
NOW = 1_790_000_000
ME = "me"


def record(second: int, signal: Signal = Signal.TRACES) -> Record:
    return Record(Position(1), Position(2), signal, TenantId("t"), second * S, b"")


@dataclass
class Worker:
    """Works off what was received at `seconds`, one of them a batch; outlives its backlogs."""

    seconds: list[int] = field(default_factory=list)
    progress: MemoryProgress = field(default_factory=MemoryProgress)
    asked: list[ReceivedRange] = field(default_factory=list)
    order: list[int] = field(default_factory=list)
    flushed: int = 0
    fails: Exception | None = None
    gate: asyncio.Event | None = None

    def backlog(self, save_seconds: float = 3600.0) -> Backlog:
        return Backlog(self.progress, self.work, save_seconds=save_seconds, flush=self.flush)

    async def begun(self, maker: str = ME) -> Backlog:
        """One that has caught up."""
        backlog = self.backlog()
        await backlog.begin(maker)
        await backlog.work_off_until(time.perf_counter() + 5)
        self.asked.clear()
        return backlog

    async def work(self, received: ReceivedRange) -> Done:
        self.asked.append(received)
        if self.gate is not None:
            await self.gate.wait()
        if self.fails is not None:
            raise self.fails
        found = [one for one in self.seconds if received.start_ns <= one * S <= received.end_ns]
        if not found:
            return Done(received.start_ns, None)
        self.order.append(max(found))
        return Done(received.start_ns if len(found) == 1 else max(found) * S, max(found) * S)

    async def flush(self) -> None:
        if self.fails is not None:
            raise self.fails
        self.flushed += 1


async def test_everything_waits_at_the_first_start_and_the_latest_is_done_first() -> None:
    worker = Worker([NOW, NOW - 10, NOW - 5])
    backlog = worker.backlog()
    assert backlog.is_behind, "what there is is not known yet"
    assert await backlog.begin(ME)
    assert not await backlog.begin(ME), "once"
    await backlog.work_off()
    assert worker.asked == [EVER]
    assert worker.order == [NOW]
    assert backlog.is_behind
    await backlog.work_off_until(time.perf_counter() + 5)
    assert worker.order == [NOW, NOW - 5, NOW - 10]
    assert worker.asked[1] == ReceivedRange(0, NOW * S - 1), "all of a batch's time is done"
    assert not backlog.is_behind
    await backlog.work_off()
    assert len(worker.asked) == 3, "nothing waits"


async def test_nothing_is_begun_when_the_time_is_over() -> None:
    worker = Worker([NOW])
    backlog = worker.backlog()
    await backlog.begin(ME)
    await backlog.work_off_until(time.perf_counter())
    assert worker.asked == []


async def test_commits_of_traces_wait_and_others_do_not() -> None:
    backlog = await Worker().begun()
    assert not backlog.committed([record(NOW, Signal.LOGS), record(NOW, Signal.METRICS)])
    assert not backlog.is_behind
    assert backlog.committed([record(NOW, Signal.LOGS), record(NOW - 7), record(NOW - 9)])
    assert backlog.is_behind


async def test_it_is_behind_while_the_last_batch_is_made_and_what_comes_meanwhile_waits() -> None:
    worker = Worker()
    backlog = await worker.begun()
    worker.gate = asyncio.Event()
    backlog.committed([record(NOW)])
    working = asyncio.create_task(backlog.work_off())
    while not worker.asked:
        await asyncio.sleep(0)
    assert backlog.is_behind
    assert not backlog
    backlog.committed([record(NOW)])
    worker.gate.set()
    await working
    assert backlog, "received at the same time, but behind what the batch has read"


@pytest.mark.parametrize("how", ["fails", "is given up"])
async def test_a_batch_that_is_not_made_waits_on(how: str) -> None:
    worker = Worker()
    backlog = await worker.begun()
    backlog.committed([record(NOW)])
    if how == "fails":
        worker.fails = StoreDownError("down")
        with pytest.raises(StoreDownError):
            await backlog.work_off()
    else:
        worker.gate = asyncio.Event()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await backlog.work_off()
    worker.fails = worker.gate = None
    await backlog.work_off()
    assert worker.asked == [ReceivedRange(NOW * S, NOW * S)] * 2
    assert not backlog.is_behind


async def test_a_restart_goes_on_a_little_before_with_what_was_left() -> None:
    worker = Worker([NOW, NOW - 5000])
    backlog = worker.backlog()
    await backlog.begin(ME)
    await backlog.work_off()
    await backlog.save()
    again = worker.backlog()
    worker.asked.clear()
    await again.begin(ME)
    assert again.is_continued
    await again.work_off_until(time.perf_counter() + 5)
    assert worker.asked[0] == EVER, "what was left and the overlap are one range"
    assert set(worker.order) == {NOW, NOW - 5000}
    await again.save()
    last = worker.backlog()
    worker.asked.clear()
    await last.begin(ME)
    await last.work_off()
    assert worker.asked == [ReceivedRange((NOW - SETTLE_OVERLAP_SECONDS) * S, EVER.end_ns)]


async def test_what_another_one_made_is_made_anew() -> None:
    worker = Worker([NOW], MemoryProgress(Progress("another", NOW * S, ())))
    backlog = worker.backlog()
    assert await backlog.begin(ME)
    assert not backlog.is_continued
    await backlog.work_off()
    assert worker.asked == [EVER]


async def test_a_clock_that_was_set_back_sets_a_restart_back() -> None:
    worker = Worker()
    backlog = await worker.begun()
    backlog.committed([record(NOW)])
    backlog.committed([record(NOW - 9000)])
    await backlog.save()
    assert worker.progress.kept is not None
    assert worker.progress.kept.reached_ns == (NOW - 9000) * S


async def test_what_is_made_is_durable_before_it_is_remembered_and_only_if_something_is() -> None:
    worker = Worker()
    backlog = await worker.begun()
    await backlog.save()
    assert worker.flushed == 0
    assert worker.progress.kept is None
    backlog.committed([record(NOW)])
    worker.fails = StoreDownError("down")
    with pytest.raises(StoreDownError):
        await backlog.save()
    assert worker.progress.kept is None
    worker.fails = None
    await backlog.save()
    assert worker.progress.kept == Progress(ME, NOW * S, (ReceivedRange(NOW * S, NOW * S),))
    await backlog.save()
    assert worker.flushed == 1


async def test_it_is_not_remembered_before_it_is_known_what_was_left() -> None:
    kept = Progress(ME, NOW * S, (ReceivedRange(1, 2),))
    worker = Worker(progress=MemoryProgress(kept))
    backlog = worker.backlog()
    backlog.committed([record(NOW + 1)])
    await backlog.save()
    assert worker.progress.kept == kept


@pytest.mark.parametrize(("seconds", "is_saved"), [(0.0, True), (3600.0, False)])
async def test_it_is_saved_from_time_to_time(seconds: float, is_saved: bool) -> None:
    worker = Worker()
    backlog = worker.backlog(seconds)
    await backlog.begin(ME)
    backlog.committed([record(NOW)])
    await backlog.save_in_time()
    assert (worker.progress.kept is not None) == is_saved


async def test_old_receipts_can_be_dropped_and_all_can_wait_again() -> None:
    worker = Worker()
    backlog = await worker.begun()
    backlog.committed([record(NOW)])
    backlog.drop_before((NOW + 1) * S)
    assert not backlog
    backlog.again()
    await backlog.work_off()
    assert worker.asked == [EVER]
