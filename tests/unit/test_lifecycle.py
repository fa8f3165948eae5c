"""What /readyz says of each part, and what becomes of a part that ends by itself."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from agent_tracer.server.adapters.journal.stats import JournalState, JournalStats
from agent_tracer.server.lifecycle import (
    PartFailedError,
    Parts,
    StoreCheck,
    ended,
    journal_health,
    loader_health,
    watch,
)
from agent_tracer.server.limits import JOURNAL_SEGMENT_BYTES, LOADER_LAG_SECONDS_MAX
from agent_tracer.server.ports.journal import Position
from agent_tracer.server.ports.store import QueryTimeoutError, StoreBusyError, StoreDownError
from agent_tracer.server.services.health import Component, Readiness
from agent_tracer.server.services.loader import LoaderState

MUCH = 10 * JOURNAL_SEGMENT_BYTES


def stats(state: JournalState) -> JournalStats:
    return JournalStats(
        state=state,
        held_bytes=0,
        bytes_max=1,
        oldest=Position(0),
        durable_end=Position(0),
        queued_bytes=0,
        appended_records=0,
        appended_bytes=0,
        refused_records=0,
        sync_count=0,
        sync_seconds=0.0,
        damaged_ranges=0,
        readers=(),
    )


@pytest.mark.parametrize(
    ("state", "lag_bytes", "free_bytes", "trouble"),
    [
        (JournalState.ACCEPTING, 10**9, 0, ""),
        (JournalState.BUDGET_FULL, 1, MUCH, "journal.max_bytes"),
        (JournalState.BUDGET_FULL, 0, MUCH, ""),
        (JournalState.DISK_FAILING, 0, 0, "data_dir"),
        (JournalState.DISK_FAILING, 0, MUCH, ""),
        (JournalState.CLOSED, 0, MUCH, "closed"),
    ],
)
def test_a_refusing_journal_is_told_until_its_cause_is_gone(
    state: JournalState,
    lag_bytes: int,
    free_bytes: int,
    trouble: str,
) -> None:
    # Nobody sends to a server that is not ready, so that the state itself would never change.
    health = journal_health(stats(state), lag_bytes=lag_bytes, free_bytes=free_bytes)
    assert health.ok is (trouble == "")
    assert trouble in health.detail


@pytest.mark.parametrize(
    ("behind_seconds", "trouble", "told"),
    [
        (0, "", ""),
        (LOADER_LAG_SECONDS_MAX - 1, "", ""),
        (LOADER_LAG_SECONDS_MAX + 1, "", "reads lack"),
        (0, "no answer", "no answer"),
    ],
)
def test_a_loader_in_trouble_or_far_behind_is_told(
    behind_seconds: float,
    trouble: str,
    told: str,
) -> None:
    health = loader_health(LoaderState(Position(0), behind_seconds, trouble))
    assert health.ok is (told == "")
    assert told in health.detail


def answering(*answers: Exception | None) -> Callable[[], Awaitable[object]]:
    left = iter(answers)

    async def ask() -> object:
        if (answer := next(left)) is not None:
            raise answer
        return None

    return ask


async def test_a_store_that_is_down_is_told_and_one_that_is_busy_is_not() -> None:
    check = StoreCheck(
        answering(None, StoreDownError("down"), StoreBusyError("busy"), QueryTimeoutError("slow"), None), every=2
    )
    told = [(await check()).ok for _ in range(9)]
    assert told == [True, True, False, False, False, False, False, False, True]


async def test_the_watch_reports_each_part() -> None:
    readiness = Readiness()

    async def check() -> Component:
        return Component(ok=False, detail="why")

    task = asyncio.create_task(watch(readiness, [("part", check)]))
    async with asyncio.timeout(60):
        while not readiness.components:
            await asyncio.sleep(0.01)
    await ended(task)
    assert readiness.components == {"part": Component(ok=False, detail="why")}


async def test_a_part_that_fails_fails_the_server_and_one_that_is_ended_does_not() -> None:
    parts = Parts()

    async def fails() -> None:
        raise ValueError("a defect")

    async def lasts() -> None:
        await asyncio.Event().wait()

    await ended(parts.start(lasts(), "one that lasts"), None)
    assert not parts.failure.done()
    parts.start(fails(), "the failing part")
    with pytest.raises(PartFailedError, match="the failing part"):
        await parts.failure
