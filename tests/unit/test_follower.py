"""When work in the background is done, by whom, how often, and what is said where it fails."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace

import pytest
from structlog.testing import capture_logs

from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.ports.journal import Position, Record
from agent_tracer.server.ports.store import StoreDownError
from agent_tracer.server.services.follower import LEFT, Follower
from agent_tracer.server.services.pacing import Pace

LONG = 3600.0
AT_ONCE = Pace(part="part", what="it is done", expected=(StoreDownError,), cost_factor=0, seconds_min=0)


def record(signal: Signal) -> Record:
    return Record(Position(1), Position(2), signal, TenantId("t"), 1, b"")


@dataclass
class Working:
    """A follower whose work says what it is told to say, and counts."""

    pace: Pace = AT_ONCE
    says: float | None = None
    fails: Exception | None = None
    turns: int = 0
    meanwhile: Callable[[], Awaitable[None]] | None = None
    done: asyncio.Condition = field(default_factory=asyncio.Condition)

    def __post_init__(self) -> None:
        self.follower = Follower(self.pace, self.work)

    async def work(self) -> float | None:
        async with self.done:
            self.turns += 1
            self.done.notify_all()
        if self.meanwhile is not None:
            await self.meanwhile()
        if self.fails is not None:
            raise self.fails
        return self.says

    async def reached(self, turns: int) -> None:
        async with asyncio.timeout(5), self.done:
            await self.done.wait_for(lambda: self.turns >= turns)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.follower.run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def passed() -> None:
    """Whatever could go on has gone on."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_the_first_turn_waits_for_nobody_and_the_next_for_traces() -> None:
    working = Working()
    async with working.running():
        await working.reached(1)
        await working.follower.committed([record(Signal.LOGS), record(Signal.METRICS)])
        await passed()
        assert working.turns == 1, "nothing came that it works on"
        await working.follower.committed([record(Signal.LOGS), record(Signal.TRACES)])
        await working.reached(2)
        await passed()
        assert working.turns == 2, "once"


async def test_it_goes_on_while_something_is_left() -> None:
    working = Working(says=LEFT)
    async with working.running():
        await working.reached(5)
        working.says = None
        await passed()
        last = working.turns
        await passed()
        assert working.turns == last


async def test_it_is_due_again_after_a_time_though_nothing_comes() -> None:
    working = Working(says=0.001)
    async with working.running():
        await working.reached(3)


async def test_what_comes_during_a_turn_is_met_by_the_next() -> None:
    working = Working()

    async def once() -> None:
        working.meanwhile = None
        working.follower.wake()

    working.meanwhile = once
    async with working.running():
        await working.reached(2)


@pytest.mark.parametrize(("gathers", "turns"), [(False, 2), (True, 1)])
async def test_work_that_gathers_pauses_before_what_came_other_work_behind_what_is_done(
    gathers: bool, turns: int
) -> None:
    working = Working(replace(AT_ONCE, seconds_min=0.2, gathers=gathers))
    async with working.running():
        await working.reached(1)
        await asyncio.sleep(0.25)
        working.follower.wake()
        await passed()
        assert working.turns == turns
        await working.reached(2)


async def test_the_first_turn_may_wait_for_more_to_gather() -> None:
    working = Working(replace(AT_ONCE, seconds_first=LONG))
    async with working.running():
        await passed()
        assert working.turns == 0


async def test_pauses_follow_from_what_the_work_cost_within_bounds() -> None:
    working = Working(replace(AT_ONCE, cost_factor=10, seconds_max=0.9))
    working.meanwhile = lambda: asyncio.sleep(0.05)
    assert 0.5 <= await working.follower.step() <= 0.9
    working.meanwhile = lambda: asyncio.sleep(0.1)
    assert await working.follower.step() == 0.9
    working.meanwhile = None
    assert await Working(replace(AT_ONCE, seconds_min=7)).follower.step() == 7


async def test_what_failed_is_tried_again_and_said_without_its_text() -> None:
    working = Working(replace(AT_ONCE, retry_seconds=0.001), fails=StoreDownError("a secret"))
    with capture_logs() as logs:
        async with working.running():
            await working.reached(2)
            working.fails = ZeroDivisionError("a secret")
            await working.reached(4)
            working.fails = None
            await working.reached(5)
    said = {"event": "it is done later", "retry_seconds": 0.001}
    assert logs[0] == {**said, "reason": "StoreDownError", "log_level": "warning"}
    assert logs[-1] == {**said, "reason": "ZeroDivisionError", "log_level": "error"}


async def test_without_a_time_of_its_own_a_retry_comes_after_the_pause_of_any_work() -> None:
    working = Working(replace(AT_ONCE, seconds_min=3), fails=StoreDownError("down"))
    with capture_logs() as logs:
        assert await working.follower.step() == 3
    assert logs == [{"event": "it is done later", "reason": "StoreDownError", "log_level": "warning"}]


async def test_a_caller_and_the_loop_are_at_work_one_after_the_other() -> None:
    gate = asyncio.Event()
    working = Working()

    async def hold() -> None:
        await gate.wait()

    working.meanwhile = hold
    async with working.running():
        await working.reached(1)
        caller = asyncio.create_task(working.follower.now(working.work))
        await passed()
        assert working.turns == 1
        gate.set()
        await caller
        assert working.turns == 2


async def test_what_a_caller_leaves_is_done_by_the_loop() -> None:
    working = Working()
    async with working.running():
        await working.reached(1)
        await passed()
        working.says = LEFT
        await working.follower.now(working.work)
        await working.reached(3)


async def test_a_caller_is_spared_what_was_to_be_expected_and_told_of_faults() -> None:
    working = Working(fails=StoreDownError("down"))
    await working.follower.now(working.work)
    working.fails = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        await working.follower.now(working.work)
