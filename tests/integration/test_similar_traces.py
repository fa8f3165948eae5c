"""Similar traces over the real store and the real index on disk."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.adapters.clickhouse.load import ClickHouseLoader
from agent_tracer.server.adapters.clickhouse.outlines import ClickHouseOutlines
from agent_tracer.server.adapters.clickhouse.store import ClickHouseStore
from agent_tracer.server.adapters.embedders.hashed import HashedEmbedders
from agent_tracer.server.adapters.vectors.edge import EdgeVectors
from agent_tracer.server.adapters.vectors.progress import FileProgress
from agent_tracer.server.domain.ids import OtelTraceId, TenantId
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.limits import OUTLINE_SPANS_MAX, OUTLINE_TEXT_MAX
from agent_tracer.server.ports.settling import ReceivedRange
from agent_tracer.server.services.similar_traces import SimilarRequest, SimilarTraces
from agent_tracer.server.services.trace_indexer import TraceIndexer
from tests.fixtures.engine import load, record
from tests.fixtures.trees import Node, agent, call, request, tool
from tests.unit.test_similar_traces import Loaded

EVER = ReceivedRange(0, 2**62)


def key(number: int) -> OtelTraceId:
    return OtelTraceId(bytes([7]) + number.to_bytes(15, "big"))


def run(number: int, says: str, *, fails: str = "", start: float = 0) -> list[Node]:
    """An agent that plans, calls a tool and answers; a tool that fails says how by its error type."""
    planned = agent("planner")
    asked = {**call(5), "input.value": says}
    searched = tool("search") | ({"error.type": fails} if fails else {})
    return [
        Node(1, start=start, seconds=3, name="plan trip", attributes=planned, failed=bool(fails), trace_id=key(number)),
        Node(2, 1, start=start, name="chat", attributes=asked, trace_id=key(number)),
        Node(3, 1, start=start, name="search", attributes=searched, failed=bool(fails), trace_id=key(number)),
    ]


class Similar:
    """The use case with its parts; one data directory a test."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        store = ClickHouseStore(engine)
        self.index = EdgeVectors(folder / "vectors", 384)
        self.indexer = TraceIndexer(
            reader=ClickHouseOutlines(engine),
            index=self.index,
            embedders=HashedEmbedders(folder / "words"),
            progress=FileProgress(folder / "progress"),
            clock_ns=time.time_ns,
            retention_days=30,
        )
        self.traces = SimilarTraces(
            reader=store,
            index=self.index,
            indexer=self.indexer,
            loaded=Loaded(),  # type: ignore[arg-type]
            catch_up=self.indexer.settled,
            clock_ns=time.time_ns,
        )

    async def commit(self, tenant: TenantId, *traces: Sequence[Node]) -> None:
        committed = record(tenant, Signal.TRACES, request([node for nodes in traces for node in nodes]))
        await ClickHouseLoader(self.engine).insert(Signal.TRACES, [committed], f"similar-{committed.start}")
        await self.indexer.committed([committed])

    async def find(self, tenant: TenantId, number: int, **more: object) -> list[int]:
        found = await self.traces.find(tenant, SimilarRequest(key(number).hex(), **more))  # type: ignore[arg-type]
        return [int.from_bytes(bytes.fromhex(one.trace_id)[1:]) for one in found]


@asynccontextmanager
async def similar(engine: Engine, folder: Path) -> AsyncGenerator[Similar]:
    made = Similar(engine, folder)
    try:
        yield made
    finally:
        await made.index.aclose()


async def test_traces_that_say_and_do_alike_are_found_first(engine: Engine, tenant: TenantId, tmp_path: Path) -> None:
    async with similar(engine, tmp_path) as made:
        await made.commit(
            tenant,
            run(1, "book a flight from Rome to Oslo"),
            run(2, "book a flight from Rome to Paris"),
            run(3, "book a flight from Rome to Oslo", fails="timeout"),
            run(4, "sum up the quarterly report", fails="timeout"),
            run(5, "sum up the quarterly report"),
        )
        assert (await made.find(tenant, 1))[0] == 2
        assert set((await made.find(tenant, 4))[:2]) == {3, 5}, "one failed in the same way, one had the same task"
        assert await made.find(tenant, 5, limit=1) == [4]
        assert sorted(await made.find(tenant, 1, status="error")) == [3, 4]
        (best, *_) = await made.traces.find(tenant, SimilarRequest(key(1).hex()))
        assert (best.agent_id, best.operation, best.status) == ("planner", "plan trip", "success")
        assert 0.5 < best.similarity <= 1


async def test_tenants_do_not_find_each_others_traces(engine: Engine, tenant: TenantId, tmp_path: Path) -> None:
    other = TenantId(f"{tenant}-other")
    async with similar(engine, tmp_path) as made:
        await made.commit(tenant, run(1, "a"), run(2, "a"))
        await made.commit(other, run(1, "a"), run(3, "a"))
        assert await made.find(tenant, 1) == [2]
        assert await made.find(other, 1) == [3]


async def test_a_deleted_trace_is_found_no_more(engine: Engine, tenant: TenantId, tmp_path: Path) -> None:
    async with similar(engine, tmp_path) as made:
        await made.commit(tenant, run(1, "a"), run(2, "a"), run(3, "a"))
        assert await made.find(tenant, 1) == [2, 3]
        await ClickHouseStore(engine).delete_trace(tenant, key(2))
        assert await made.find(tenant, 1) == [3], "before the index has heard of it too"
        await made.indexer.forget(tenant, key(2))
        held = await made.index.received(tenant, made.indexer._backlog.maker, [key(2), key(3)])
        assert held.keys() == {key(3)}


async def test_a_trace_that_is_deleted_and_sent_again_is_found(
    engine: Engine, tenant: TenantId, tmp_path: Path
) -> None:
    async with similar(engine, tmp_path) as made:
        await made.commit(tenant, run(1, "a"), run(2, "a"), run(3, "a"))
        assert await made.find(tenant, 1) == [2, 3]
        assert await ClickHouseStore(engine).delete_trace(tenant, key(2))
        await made.indexer.forget(tenant, key(2))
        await made.commit(tenant, run(2, "a"))  # before the loop's next turn
        assert await made.find(tenant, 1) == [2, 3]
        await made.indexer._follower.step()
        assert await made.find(tenant, 1) == [2, 3]


async def test_a_restart_goes_on_with_what_is_on_disk(engine: Engine, tenant: TenantId, tmp_path: Path) -> None:
    async with similar(engine, tmp_path) as made:
        await made.commit(tenant, run(1, "a"), run(2, "a"))
        assert await made.find(tenant, 1) == [2]
        running = asyncio.create_task(made.indexer.run())
        await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    async with similar(engine, tmp_path) as again:
        await load(engine, tenant, Signal.TRACES, [request(run(3, "a"))])  # whose commit nobody told it of
        assert await again.find(tenant, 1) == [2, 3]


async def test_spans_that_come_later_change_what_a_trace_is_like(
    engine: Engine, tenant: TenantId, tmp_path: Path
) -> None:
    async with similar(engine, tmp_path) as made:
        early = run(1, "sum up the report")
        await made.commit(tenant, early[:1], run(2, "book a flight"), run(3, "sum up the report"))
        await made.find(tenant, 2)
        await made.commit(tenant, early[1:])
        assert (await made.find(tenant, 3))[0] == 1


async def test_outlines_hold_texts_errors_and_the_tree(engine: Engine, tenant: TenantId) -> None:
    await load(engine, tenant, Signal.TRACES, [request(run(1, "book a flight", fails="timeout")[::-1])])
    (one,) = await ClickHouseOutlines(engine).outlines(tenant, [key(1), key(2)])
    assert one.trace.otel_trace_id == key(1)
    lines = one.outline.text.split("\n")
    assert lines[0] == "plan trip"
    assert "timeout" in lines[1]
    assert "book a flight" in lines
    spans = one.outline.spans
    assert [(s.name, s.parent, s.status) for s in spans] == [
        ("plan trip", -1, "error"),
        ("chat", 0, "ok"),
        ("search", 0, "error"),
    ]
    assert [s.duration_ms for s in spans] == [3000, 1000, 1000]
    assert {s.kind for s in spans} == {"internal", "llm", "tool"}


async def test_a_cycle_and_a_child_before_its_parent_are_outlined(engine: Engine, tenant: TenantId) -> None:
    nodes = [
        Node(1, 2, trace_id=key(1)),
        Node(2, 1, start=1, trace_id=key(1)),
        Node(3, 4, start=2, trace_id=key(1)),
        Node(4, 2, start=3, trace_id=key(1)),
    ]
    await load(engine, tenant, Signal.TRACES, [request(nodes)])
    (one,) = await ClickHouseOutlines(engine).outlines(tenant, [key(1)])
    assert [s.parent for s in one.outline.spans] == [-1, 0, 1, 2]


async def test_outlines_of_huge_traces_are_bounded(engine: Engine, tenant: TenantId) -> None:
    words = {**call(), "input.value": "much ado " * 200}
    nodes = [
        Node(n + 1, 1 if n else 0, start=n / 100, trace_id=key(1), attributes=words)
        for n in range(OUTLINE_SPANS_MAX + 50)
    ]
    await load(engine, tenant, Signal.TRACES, [request(nodes)])
    await load(engine, tenant, Signal.TRACES, [request(nodes)])
    (one,) = await ClickHouseOutlines(engine).outlines(tenant, [key(1)])
    assert len(one.outline.spans) == OUTLINE_SPANS_MAX, "each span once, though it came twice"
    assert len(one.outline.text) == OUTLINE_TEXT_MAX


async def test_received_traces_come_latest_first_and_in_slices_that_miss_none(engine: Engine, tenant: TenantId) -> None:
    start_ns = time.time_ns()
    for number in range(1, 7):
        await load(engine, tenant, Signal.TRACES, [request(run(number, "a"))])
    reader = ClickHouseOutlines(engine)
    seen: list[int] = []
    end_ns = EVER.end_ns
    for _ in range(10):
        found = await reader.received(ReceivedRange(start_ns, end_ns), limit=2)
        seen += [int.from_bytes(trace_id[1:]) for of, trace_id, _ in found.traces if of == tenant]
        end_ns = found.from_ns - 1
        if end_ns < start_ns:
            break
    assert seen == [6, 5, 4, 3, 2, 1]
    assert found.from_ns == start_ns


@pytest.mark.parametrize("count", [3, 4])
async def test_many_traces_of_one_moment_are_one_slice(engine: Engine, tenant: TenantId, count: int) -> None:
    start_ns = time.time_ns()
    nodes = [node for number in range(count) for node in run(number, "a")]
    await load(engine, tenant, Signal.TRACES, [request(nodes)])
    found = await ClickHouseOutlines(engine).received(ReceivedRange(start_ns, EVER.end_ns), limit=2)
    assert len(found.traces) == count
    assert found.from_ns >= start_ns
