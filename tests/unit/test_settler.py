"""When the settler settles, and what a restart may rely on."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import pytest

from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.limits import SETTLE_OVERLAP_SECONDS
from agent_tracer.server.ports.journal import Position, Record
from agent_tracer.server.ports.settling import ReceivedRange, Settled
from agent_tracer.server.ports.store import StoreDownError
from agent_tracer.server.services import settler as settler_module
from agent_tracer.server.services.settler import Settler

S = 1_000_000_000
OVERLAP_NS = SETTLE_OVERLAP_SECONDS * S


@dataclass
class RecordedStore:
    """TraceSettler that remembers what it was asked for; `slice_ns` is how far one call gets."""

    slice_ns: int = 2**63
    asked: list[ReceivedRange] = field(default_factory=list)
    watermark: int | None = None
    down: bool = False
    waiting_hours: int = 0
    rolled: int = 0
    rolls: int = 0
    rolling: Callable[[], Awaitable[None]] | None = None
    stored_ns: int = 0
    gate: asyncio.Event | None = None
    passed: asyncio.Event = field(default_factory=asyncio.Event)

    async def settle(self, received: ReceivedRange) -> Settled:
        self.asked.append(received)
        if self.gate is not None:
            await self.gate.wait()
        if self.down:
            raise StoreDownError("down")
        self.passed.set()
        return Settled(min(received.end_ns, received.start_ns + self.slice_ns), self.stored_ns or None, 0)

    async def settled_to(self) -> int | None:
        return self.watermark

    async def advance(self, received_ns: int) -> None:
        self.watermark = received_ns

    async def roll(self, now_ns: int) -> int:
        self.rolls += 1
        if self.rolling is not None:
            await self.rolling()
        found = min(self.waiting_hours, 2)
        self.waiting_hours -= found
        self.rolled += found
        return found


def record(received_ns: int, signal: Signal = Signal.TRACES) -> Record:
    return Record(Position(1), Position(2), signal, TenantId("t"), received_ns, b"")


async def started(store: RecordedStore) -> Settler:
    """A settler that has caught up with what was there before it."""
    settler = Settler(store)
    await settler.settled()
    store.asked.clear()
    return settler


async def test_a_start_settles_everything_since_the_watermark() -> None:
    store = RecordedStore(watermark=7 * S)
    await Settler(store).settled()
    assert [r.start_ns for r in store.asked] == [7 * S]
    assert store.watermark == 7 * S, "nothing was found, so that nothing is known to be settled"


async def test_without_a_watermark_everything_is_settled_and_then_remembered() -> None:
    store = RecordedStore(stored_ns=1000 * S)
    await Settler(store).settled()
    assert store.asked[0].start_ns == 0
    assert store.watermark == 1000 * S - OVERLAP_NS


async def test_commits_are_settled_together_by_their_receipt() -> None:
    store = RecordedStore()
    settler = await started(store)
    await settler.committed([record(500 * S), record(510 * S)])
    await settler.committed([record(505 * S), record(520 * S), record(900 * S, Signal.LOGS)])
    await settler.settled()
    assert store.asked == [ReceivedRange(500 * S, 520 * S)]
    assert store.watermark == 520 * S - OVERLAP_NS
    await settler.settled()
    assert len(store.asked) == 1, "nothing came since"


async def test_logs_and_metrics_wake_nobody() -> None:
    store = RecordedStore()
    settler = await started(store)
    await settler.committed([record(5, Signal.LOGS), record(6, Signal.METRICS)])
    await settler.settled()
    assert store.asked == []


async def test_a_clock_set_back_sets_the_watermark_back() -> None:
    store = RecordedStore()
    settler = await started(store)
    await settler.committed([record(5000 * S)])
    await settler.committed([record(1000 * S)])
    await settler.settled()
    assert store.watermark == 1000 * S - OVERLAP_NS


async def test_a_large_range_is_settled_in_slices_before_the_watermark_moves() -> None:
    store = RecordedStore(slice_ns=10 * S)
    settler = Settler(store)
    settler._is_started = True
    await settler.committed([record(100 * S), record(125 * S)])
    await settler.settled()
    assert [r.start_ns // S for r in store.asked] == [100, 110, 120]
    assert store.watermark == 125 * S - OVERLAP_NS


async def test_what_failed_is_settled_by_the_next_one_who_asks() -> None:
    store = RecordedStore()
    settler = await started(store)
    store.watermark = None
    await settler.committed([record(5 * S)])
    store.down = True
    with pytest.raises(StoreDownError):
        await settler.settled()
    assert store.watermark is None
    store.down = False
    await settler.committed([record(9 * S)])
    await settler.settled()
    assert store.asked[-1] == ReceivedRange(5 * S, 9 * S)


async def test_one_who_gives_up_waiting_leaves_the_work_to_the_next() -> None:
    store = RecordedStore()
    settler = await started(store)
    store.gate = asyncio.Event()
    await settler.committed([record(5 * S)])
    impatient = asyncio.create_task(settler.settled())
    while not store.asked:
        await asyncio.sleep(0)
    impatient.cancel()
    with suppress(asyncio.CancelledError):
        await impatient
    store.gate.set()
    await settler.settled()
    assert store.asked == [ReceivedRange(5 * S, 5 * S)] * 2


async def test_commits_during_a_pass_are_left_for_the_next() -> None:
    store = RecordedStore()
    settler = await started(store)
    store.gate = asyncio.Event()
    await settler.committed([record(5 * S)])
    first = asyncio.create_task(settler.settled())
    while not store.asked:
        await asyncio.sleep(0)
    await settler.committed([record(6 * S)])
    second = asyncio.create_task(settler.settled())
    store.gate.set()
    await asyncio.gather(first, second)
    assert store.asked == [ReceivedRange(5 * S, 5 * S), ReceivedRange(6 * S, 6 * S)]


async def test_run_settles_what_is_committed_and_rolls_quiet_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settler_module, "SETTLE_INTERVAL_SECONDS_MIN", 0.0)
    store = RecordedStore(waiting_hours=5)
    settler = Settler(store)
    running = asyncio.create_task(settler.run())
    await store.passed.wait()
    store.passed.clear()
    await settler.committed([record(5 * S)])
    await store.passed.wait()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert store.asked[-1] == ReceivedRange(5 * S, 5 * S)
    assert store.rolled > 0


async def test_a_read_does_not_wait_until_all_hours_are_rolled() -> None:
    store = RecordedStore(waiting_hours=1_000_000)
    settler = await started(store)
    store.rolling = partial(asyncio.sleep, 0)
    rolling = asyncio.create_task(settler._roll())
    while not store.rolls:
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await settler.settled()
    assert store.waiting_hours > 0
    rolling.cancel()
    with suppress(asyncio.CancelledError):
        await rolling


async def test_some_hours_are_rolled_though_traces_come_all_the_time() -> None:
    store = RecordedStore(waiting_hours=5)
    settler = await started(store)
    await settler.committed([record(5 * S)])
    await settler._roll()
    assert store.rolls == 1


async def test_run_outlives_a_store_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settler_module, "SETTLE_INTERVAL_SECONDS_MAX", 0.001)
    store = RecordedStore(down=True, watermark=3)
    running = asyncio.create_task(Settler(store).run())
    while len(store.asked) < 3:
        await asyncio.sleep(0.001)
    store.down = False
    await store.passed.wait()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert {r.start_ns for r in store.asked} == {3}
