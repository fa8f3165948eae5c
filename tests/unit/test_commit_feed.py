"""What live tails are told of commits, and what holding up nobody else means."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from agent_tracer.server.domain.ids import OtelTraceId, TenantId
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.ports.journal import Position, Record
from agent_tracer.server.ports.store import StoreDownError
from agent_tracer.server.services.commit_feed import CommitFeed
from agent_tracer.server.services.trace_feed import TraceBroadcast

ONE, TWO = TenantId("one"), TenantId("two")
TRACE = OtelTraceId(bytes(16))


def record(received_ns: int, tenant: TenantId = ONE, signal: Signal = Signal.TRACES) -> Record:
    return Record(Position(1), Position(2), signal, tenant, received_ns, b"")


@dataclass
class SlowReader:
    """A TraceReader, as far as the feed uses one, that answers when it may."""

    asked: list[tuple[TenantId, int, int]] = field(default_factory=list)
    may: asyncio.Event = field(default_factory=asyncio.Event)
    fails: Exception | None = None

    async def touched(self, tenant: TenantId, from_ns: int, to_ns: int) -> Sequence[OtelTraceId]:
        self.asked.append((tenant, from_ns, to_ns))
        await self.may.wait()
        if self.fails is not None:
            raise self.fails
        return [TRACE]

    async def was_asked(self, times: int) -> None:
        async with asyncio.timeout(5):
            while len(self.asked) < times:
                await asyncio.sleep(0)


@asynccontextmanager
async def running(reader: SlowReader, publisher: TraceBroadcast) -> AsyncIterator[CommitFeed]:
    feed = CommitFeed(reader, publisher)  # type: ignore[arg-type]
    task = asyncio.create_task(feed.run())
    try:
        yield feed
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_nobody_waits_for_the_store_and_commits_meanwhile_are_told_together() -> None:
    reader, publisher = SlowReader(), TraceBroadcast()
    with publisher.subscribe(ONE) as tail:
        async with running(reader, publisher) as feed, asyncio.timeout(5):
            await feed.committed([record(5), record(7), record(9, signal=Signal.LOGS)])
            await reader.was_asked(1)
            await feed.committed([record(20)])
            await feed.committed([record(12)])
            reader.may.set()
            await reader.was_asked(2)
            assert await tail.touched(limit=5) == [TRACE]
    assert reader.asked == [(ONE, 5, 7), (ONE, 12, 20)]


async def test_the_store_is_asked_for_those_alone_whom_somebody_follows() -> None:
    reader, publisher = SlowReader(), TraceBroadcast()
    with publisher.subscribe(ONE):
        async with running(reader, publisher) as feed:
            await feed.committed([record(5, TWO), record(7)])
            await reader.was_asked(1)
    assert reader.asked == [(ONE, 7, 7)]


async def test_after_a_store_that_was_down_tails_are_told_again() -> None:
    reader, publisher = SlowReader(fails=StoreDownError("down")), TraceBroadcast()
    reader.may.set()
    with publisher.subscribe(ONE) as tail:
        async with running(reader, publisher) as feed, asyncio.timeout(5):
            await feed.committed([record(5)])
            await reader.was_asked(1)
            reader.fails = None
            await feed.committed([record(6)])
            assert await tail.touched(limit=5) == [TRACE]
    assert reader.asked == [(ONE, 5, 5), (ONE, 6, 6)]
