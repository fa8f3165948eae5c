"""What the indexer indexes and when, what a restart may rely on, and that nothing else suffers."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import pytest

from agent_tracer.server.adapters.embedders.fixed import FixedEmbedder
from agent_tracer.server.adapters.embedders.hashed import HashedEmbedder
from agent_tracer.server.domain.atlas.embedding import Idf
from agent_tracer.server.domain.ids import OtelTraceId, TenantId
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.limits import INDEX_BATCH_TRACES, SETTLE_OVERLAP_SECONDS
from agent_tracer.server.ports.journal import Position, Record
from agent_tracer.server.ports.outlines import ReceivedTraces
from agent_tracer.server.ports.settling import ReceivedRange
from agent_tracer.server.ports.vectors import Embedder, Embedders, VectorsDownError
from agent_tracer.server.services import index_upkeep
from agent_tracer.server.services import trace_indexer as module
from agent_tracer.server.services.trace_indexer import TraceIndexer
from tests.fixtures.memory_vectors import ONE, MemoryProgress, MemoryTraces, MemoryVectors, numbers, outlined

S = 1_000_000_000
DAY = 86_400
NOW = 1_790_000_000
PLAIN = HashedEmbedder(Idf.of(()))


def key(number: int) -> OtelTraceId:
    return OtelTraceId(number.to_bytes(16, "big"))


def record(second: int, signal: Signal = Signal.TRACES) -> Record:
    return Record(Position(1), Position(2), signal, ONE, second * S, b"")


@dataclass
class Learner:
    """ports.vectors.Embedders that wants to learn at `due` traces."""

    due: int
    current: Embedder = PLAIN
    former: Embedder | None = None
    learned: list[str] = field(default_factory=list)

    def texts_wanted(self, traces: int) -> int:
        return self.due if traces >= self.due and not self.learned else 0

    async def learn(self, texts: Sequence[str], traces: int) -> None:
        self.learned = list(texts)
        self.former, self.current = self.current, HashedEmbedder(Idf.of(texts))

    def forget_former(self) -> None:
        self.former = None


@dataclass
class World:
    """What outlives an indexer."""

    traces: MemoryTraces = field(default_factory=MemoryTraces)
    vectors: MemoryVectors = field(default_factory=MemoryVectors)
    progress: MemoryProgress = field(default_factory=MemoryProgress)
    embedders: Embedders = field(default_factory=lambda: FixedEmbedder(PLAIN))
    now: int = NOW

    def indexer(self) -> TraceIndexer:
        return TraceIndexer(
            reader=self.traces,
            index=self.vectors,
            embedders=self.embedders,
            progress=self.progress,
            clock_ns=lambda: self.now * S,
            retention_days=30,
        )

    def add(self, *seconds: int, tenant: TenantId = ONE) -> None:
        """Traces numbered by when they were received."""
        self.traces.add(*(outlined(n, f"text {n}", n * S) for n in seconds), tenant=tenant)

    def found(self) -> list[int]:
        return numbers(self.vectors.points)


async def worked(indexer: TraceIndexer, turns: int = 1) -> None:
    for _ in range(turns):
        await indexer._follower.step()


async def test_the_first_start_indexes_what_is_there_latest_first() -> None:
    world = World()
    latest = range(NOW - INDEX_BATCH_TRACES, NOW)
    world.add(*range(NOW - INDEX_BATCH_TRACES - 5, NOW))
    indexer = world.indexer()
    await worked(indexer)
    assert world.found() == list(latest), "a batch is bounded"
    await worked(indexer)
    assert world.found() == list(range(NOW - INDEX_BATCH_TRACES - 5, NOW))


async def test_an_index_that_nobody_needs_is_not_opened() -> None:
    world = World()
    await worked(world.indexer(), 3)
    assert world.vectors.calls == []


async def test_what_is_committed_is_indexed_and_nothing_twice() -> None:
    world = World()
    world.add(NOW)
    indexer = world.indexer()
    await worked(indexer)
    world.add(NOW + 1)
    await indexer.committed([record(NOW), record(NOW + 1), record(NOW + 9, Signal.LOGS)])
    await indexer.settled()
    assert world.found() == [NOW, NOW + 1]
    assert world.traces.outlined_ids == [NOW, NOW + 1]
    await indexer.settled()
    assert len(world.traces.outlined_ids) == 2


async def test_a_trace_that_goes_on_is_embedded_again() -> None:
    world = World()
    world.add(NOW)
    indexer = world.indexer()
    await worked(indexer)
    world.traces.add(outlined(NOW, "another text", (NOW + 5) * S))
    await indexer.committed([record(NOW + 5)])
    await indexer.settled()
    point, _ = world.vectors.points[ONE, key(NOW)]
    assert point.received_ns == (NOW + 5) * S


async def test_tenants_are_kept_apart() -> None:
    world = World()
    world.add(NOW)
    world.add(NOW, tenant=TenantId("two"))
    await worked(world.indexer())
    assert {tenant for tenant, _ in world.vectors.points} == {"one", "two"}


async def test_a_restart_goes_on_where_the_last_stop_was() -> None:
    world = World()
    world.add(*range(NOW - INDEX_BATCH_TRACES - 200, NOW))
    first = world.indexer()
    await worked(first)
    await first._backlog.save()
    done = len(world.found())
    world.add(NOW + 10)
    world.traces.outlined_ids.clear()
    again = world.indexer()
    await worked(again, 3)
    assert len(world.found()) == INDEX_BATCH_TRACES + 201
    assert len(world.traces.outlined_ids) == INDEX_BATCH_TRACES + 201 - done, "what was done is not done again"


async def test_a_crash_before_saving_repeats_and_loses_nothing() -> None:
    world = World()
    world.add(NOW - 1000)
    first = world.indexer()
    await worked(first)
    await first._backlog.save()
    world.add(NOW)
    await first.committed([record(NOW)])
    await first.settled()  # and then it is killed
    world.add(NOW + 1)
    await worked(world.indexer())
    assert world.found() == [NOW - 1000, NOW, NOW + 1]


async def test_records_committed_late_are_within_the_overlap_of_a_restart() -> None:
    world = World()
    world.add(NOW)
    first = world.indexer()
    await first.committed([record(NOW)])
    await worked(first)
    await first._backlog.save()
    world.add(NOW - SETTLE_OVERLAP_SECONDS)
    await worked(world.indexer(), 2)
    assert world.found() == [NOW - SETTLE_OVERLAP_SECONDS, NOW]


async def test_an_index_that_was_emptied_is_filled_again() -> None:
    world = World()
    world.add(*range(NOW - 1000, NOW, 100))
    first = world.indexer()
    await worked(first, 2)
    await first._backlog.save()
    before = world.found()
    world.vectors.points.clear()
    await worked(world.indexer(), 3)
    assert world.found() == before


async def test_vectors_are_durable_before_they_are_said_to_be_done() -> None:
    world = World()
    world.add(NOW)
    indexer = world.indexer()
    await worked(indexer)
    world.add(NOW + 1)
    await indexer.committed([record(NOW + 1)])
    await indexer.settled()
    before = world.progress.kept
    world.vectors.down = True
    with pytest.raises(VectorsDownError):
        await indexer._backlog.save()
    assert world.progress.kept == before
    world.vectors.down = False
    await indexer._backlog.save()
    assert world.progress.kept != before
    assert world.vectors.calls[-1] == "flush"


@pytest.mark.parametrize("part", ["vectors", "traces"])
async def test_what_is_down_is_asked_again_and_nothing_is_skipped(part: str) -> None:
    world = World()
    world.add(NOW)
    indexer = world.indexer()
    getattr(world, part).down = True
    await worked(indexer, 2)
    await indexer.settled()
    assert world.found() == []
    world.add(NOW + 1)
    await indexer.committed([record(NOW + 1)])
    getattr(world, part).down = False
    await worked(indexer, 2)
    assert world.found() == [NOW, NOW + 1]


async def test_commits_during_a_batch_are_not_taken_for_done() -> None:
    world = World()
    world.add(NOW)
    indexer = world.indexer()
    outlines = world.traces.outlines

    async def meanwhile(*arguments: object) -> object:
        world.add(NOW + 1)
        await indexer.committed([record(NOW + 1)])
        world.traces.outlines = outlines  # type: ignore[method-assign]
        return await outlines(*arguments)  # type: ignore[arg-type]

    world.traces.outlines = meanwhile  # type: ignore[method-assign, assignment]
    await worked(indexer)
    assert world.found() == [NOW]
    await worked(indexer)
    assert world.found() == [NOW, NOW + 1]


async def test_a_forgotten_trace_is_gone_at_once() -> None:
    world = World()
    world.add(NOW, NOW + 1)
    indexer = world.indexer()
    await worked(indexer)
    del world.traces.held[ONE, key(NOW)]
    await indexer.forget(ONE, key(NOW))
    assert world.found() == [NOW + 1]


async def test_a_trace_forgotten_while_it_is_indexed_does_not_come_back() -> None:
    world = World()
    world.add(NOW)
    indexer = world.indexer()
    upsert = world.vectors.upsert

    async def meanwhile(*arguments: object) -> None:
        await indexer.forget(ONE, key(NOW))
        await upsert(*arguments)  # type: ignore[arg-type]

    world.vectors.upsert = meanwhile  # type: ignore[method-assign, assignment]
    await worked(indexer)
    assert world.found() == []


async def test_forgetting_does_not_fail_when_the_vectors_are_down_and_is_made_up_for() -> None:
    world = World()
    world.add(NOW)
    indexer = world.indexer()
    await worked(indexer)
    del world.traces.held[ONE, key(NOW)]
    world.vectors.down = True
    await indexer.forget(ONE, key(NOW))
    world.vectors.down = False
    await worked(indexer)
    assert world.found() == []


async def test_a_new_embedder_embeds_everything_anew_and_the_former_serves_until_then() -> None:
    learner = Learner(due=3)
    world = World(embedders=learner)
    world.add(NOW, NOW + 1, NOW + 2)
    indexer = world.indexer()
    await worked(indexer)
    assert sorted(learner.learned) == ["text 1790000000", "text 1790000001", "text 1790000002"]
    assert {point.embedder for point, _ in world.vectors.points.values()} == {PLAIN.id}
    served = await indexer.embedded(ONE, key(NOW))
    assert served is not None
    assert [embedder for embedder, _ in served] == [learner.current.id, PLAIN.id]
    await worked(indexer, 2)
    assert {point.embedder for point, _ in world.vectors.points.values()} == {learner.current.id}
    assert len(world.vectors.points) == 3
    assert learner.former is None
    served = await indexer.embedded(ONE, key(NOW))
    assert served is not None
    assert [embedder for embedder, _ in served] == [learner.current.id]


async def test_a_restart_amid_that_finishes_it_and_no_old_vector_stays() -> None:
    learner = Learner(due=3)
    world = World(embedders=learner)
    world.add(NOW, NOW + 1, NOW + 2)
    world.traces.add(outlined(5, "expired since", (NOW - 10) * S))
    await worked(world.indexer())
    del world.traces.held[ONE, key(5)]
    learner.former = None
    await worked(world.indexer(), 3)
    assert world.found() == [NOW, NOW + 1, NOW + 2]
    assert {point.embedder for point, _ in world.vectors.points.values()} == {learner.current.id}


async def test_what_is_past_its_retention_leaves_the_index() -> None:
    world = World()
    world.add(NOW - 29 * DAY, NOW)
    await worked(world.indexer(), 2)
    world.now += 2 * DAY
    later = world.indexer()
    await worked(later, 2)
    assert world.found() == [NOW]


async def test_of_too_many_traces_the_first_received_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_upkeep, "SIMILAR_TRACES_MAX", 10)
    monkeypatch.setattr(index_upkeep, "SIMILAR_TRACES_SLACK", 5)
    monkeypatch.setattr(module, "INDEX_BATCH_TRACES", 4)
    world = World()
    world.add(*range(NOW - 100, NOW))
    indexer = world.indexer()
    await worked(indexer, 40)
    assert world.found() == list(range(NOW - 10, NOW))
    assert not indexer._backlog, "what would leave at once is not indexed"


async def test_it_runs_until_it_is_cancelled_and_then_remembers(monkeypatch: pytest.MonkeyPatch) -> None:
    soon = replace(module._PACE, seconds_first=0.001, seconds_min=0.001, cost_factor=0)
    monkeypatch.setattr(module, "_PACE", soon)
    world = World()
    indexer = world.indexer()
    running = asyncio.create_task(indexer.run())
    for second in (NOW, NOW + 1):
        world.add(second)
        await indexer.committed([record(second)])
        async with asyncio.timeout(60):
            while second not in world.found():
                await asyncio.sleep(0.001)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert world.progress.kept is not None
    assert world.progress.kept.reached_ns == (NOW + 1) * S


async def test_a_fault_of_its_own_ends_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.add(NOW)
    indexer = world.indexer()

    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    upsert = world.vectors.upsert
    world.vectors.upsert = broken  # type: ignore[method-assign, assignment]
    await worked(indexer)
    world.vectors.upsert = upsert  # type: ignore[method-assign]
    await worked(indexer)
    assert world.found() == [NOW]


async def test_pauses_leave_nine_tenths_of_the_time_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PACE", replace(module._PACE, seconds_min=0.0))
    world = World()
    received = world.traces.received

    async def slowly(some: ReceivedRange, *, limit: int) -> ReceivedTraces:
        await asyncio.sleep(0.2)
        return await received(some, limit=limit)

    world.traces.received = slowly  # type: ignore[method-assign, assignment]
    assert await world.indexer()._follower.step() >= 0.2 * 9


async def test_commits_that_wait_are_indexed_together() -> None:
    world = World()
    indexer = world.indexer()
    await worked(indexer)
    for second in range(NOW, NOW + 30):
        world.add(second)
        await indexer.committed([record(second)])
    await worked(indexer)
    assert world.found() == list(range(NOW, NOW + 30)), "one pass for each would fall behind a commit a second"
