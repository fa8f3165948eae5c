"""When the projector looks for calls, what it does with too many, and by which versions it writes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace

import pytest

from agent_tracer.server.domain.graph.records import BUCKET_NS, GraphBucket, GraphFact
from agent_tracer.server.domain.ids import OtelTraceId, TenantId
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.ports.graph import Touched, TouchedBucket, Versions
from agent_tracer.server.ports.journal import Position, Record
from agent_tracer.server.ports.store import QueryTimeoutError, StoreDownError
from agent_tracer.server.services import graph_projector as module
from agent_tracer.server.services.graph_projector import GraphProjector
from tests.fixtures.graphs import FIRST, fact, service

ONE = TenantId("one")
COMMIT = [Record(Position(1), Position(2), Signal.TRACES, ONE, 1, b"")]


def touched_bucket(number: int) -> TouchedBucket:
    return TouchedBucket(ONE, FIRST + number * BUCKET_NS, 1)


@dataclass
class MemoryGraph:
    """ports.graph.GraphSource of buckets by number, and the GraphWriter that they are put into.

    `too_much`: numbers that cannot be made.
    """

    waiting: set[int] = field(default_factory=set)
    too_much: set[int] = field(default_factory=set)
    before: Versions = field(default_factory=lambda: Versions(0, 0))
    buckets: list[GraphBucket] = field(default_factory=list)
    facts: list[GraphFact] = field(default_factory=list)
    fails: Exception | None = None
    looks: int = 0
    looked: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def touched(self, *, after_ns: int, limit: int) -> Touched:
        async with self.looked:
            self.looks += 1
            self.looked.notify_all()
        if self.fails is not None:
            raise self.fails
        some = [touched_bucket(number) for number in sorted(self.waiting, reverse=True)]
        return Touched(some[:limit], len(some))

    async def made(self, touched: Sequence[TouchedBucket]) -> Sequence[GraphBucket]:
        numbers = [(one.start_ns - FIRST) // BUCKET_NS for one in touched]
        if self.too_much.intersection(numbers):
            raise QueryTimeoutError
        self.waiting.difference_update(numbers)
        return [GraphBucket(ONE, one.start_ns, (), ()) for one in touched]

    async def put(self, buckets: Sequence[GraphBucket]) -> None:
        self.buckets += buckets

    async def put_facts(self, facts: Sequence[GraphFact]) -> None:
        self.facts += facts

    async def versions(self) -> Versions:
        return self.before

    async def trim(self, from_ns: int) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        raise NotImplementedError

    def numbers(self) -> list[int]:
        return [(one.start_ns - FIRST) // BUCKET_NS for one in self.buckets]

    async def looked_at(self, times: int) -> None:
        async with asyncio.timeout(5), self.looked:
            await self.looked.wait_for(lambda: self.looks >= times)


async def nothing() -> None:
    """All is settled."""


@dataclass
class SlowSettling:
    """Settles a bucket once it may, or fails."""

    graph: MemoryGraph
    number: int
    fails: Exception | None = None
    may: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self) -> None:
        self.asked.set()
        if self.fails is not None:
            raise self.fails
        await self.may.wait()
        self.graph.waiting |= {self.number} - set(self.graph.numbers())


def projector(graph: MemoryGraph, now_ns: int = 100, settle: Callable[[], Awaitable[None]] = nothing) -> GraphProjector:
    return GraphProjector(source=graph, store=graph, settle=settle, clock_ns=lambda: now_ns)


@asynccontextmanager
async def running(graph: MemoryGraph, settle: Callable[[], Awaitable[None]] = nothing) -> AsyncIterator[GraphProjector]:
    made = projector(graph, settle=settle)
    task = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PACE", replace(module._PACE, seconds_min=0.001, seconds_max=0.001))


async def rested(graph: MemoryGraph) -> int:
    """How often it has looked when it looks no more."""
    before = -1
    while graph.looks > before:
        before = graph.looks
        await asyncio.sleep(0.05)
    return graph.looks


async def test_what_a_stop_left_is_projected_at_the_start_and_then_it_rests() -> None:
    graph = MemoryGraph({1, 2, 3})
    async with running(graph):
        await graph.looked_at(1)
        assert await rested(graph) == 1
    assert graph.numbers() == [3, 2, 1], "the latest first"


@pytest.mark.parametrize("call", ["committed", "forget"])
async def test_it_looks_when_something_came_and_then_rests(call: str) -> None:
    graph = MemoryGraph()
    async with running(graph) as made:
        await graph.looked_at(1)
        await rested(graph)
        graph.waiting.add(7)
        await (made.committed(COMMIT) if call == "committed" else made.forget(ONE, OtelTraceId(bytes(16))))
        await graph.looked_at(2)
        assert await rested(graph) == 2
    assert graph.numbers() == [7]


async def test_it_looks_after_what_came_is_settled_however_long_that_takes() -> None:
    graph = MemoryGraph()
    settling = SlowSettling(graph, 7)
    async with running(graph, settling), asyncio.timeout(5):
        await settling.asked.wait()
        await rested(graph)
        settling.may.set()
        await graph.looked_at(1)
        await rested(graph)
    assert graph.numbers() == [7]


async def test_a_read_does_not_wait_for_the_settling_of_the_loop() -> None:
    graph = MemoryGraph()
    settling = SlowSettling(graph, 7)
    async with running(graph, settling) as made, asyncio.timeout(5):
        await settling.asked.wait()
        assert not made._follower.turn.locked()


async def test_a_store_that_was_down_is_asked_again_to_settle() -> None:
    graph = MemoryGraph()
    settling = SlowSettling(graph, 7, fails=StoreDownError("down"))
    async with running(graph, settling), asyncio.timeout(5):
        await settling.asked.wait()
        settling.fails = None
        settling.may.set()
        await graph.looked_at(1)
        await rested(graph)
    assert graph.numbers() == [7]


async def test_a_read_is_told_of_a_store_that_is_down_and_not_of_too_much() -> None:
    graph = MemoryGraph(fails=StoreDownError("down"))
    with pytest.raises(StoreDownError):
        await projector(graph).settled()
    graph.fails = QueryTimeoutError()
    await projector(graph).settled()


async def test_five_minutes_that_are_too_much_keep_none_of_the_others_out() -> None:
    graph = MemoryGraph(set(range(10)), too_much={4})
    made = projector(graph)
    await made.settled()
    assert graph.numbers() == [9, 8, 7, 6, 5, 3, 2, 1, 0]
    assert made.waiting == 0, "it is not tried again before more of it is settled"


async def test_versions_go_on_after_those_before_though_the_clock_was_set_back() -> None:
    graph = MemoryGraph({1, 2}, before=Versions(500, 900))
    made = projector(graph, now_ns=100)
    await made.settled()
    graph.waiting.add(3)
    await made.settled()
    assert [one.version for one in graph.buckets] == [501, 502, 503]
    await made.keep_facts([])
    await made.keep_facts([fact(ONE, service("i"), service("s"), 0)] * 2)
    assert [one.version for one in graph.facts] == [901, 902]
