"""Components and calls that the settler and the projector make out of traces, on the real store."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.adapters.clickhouse.graph import ClickHouseGraph
from agent_tracer.server.adapters.clickhouse.graph_source import ClickHouseGraphSource
from agent_tracer.server.adapters.clickhouse.store import ClickHouseStore
from agent_tracer.server.domain.graph.records import Direction, Graph, GraphBucket, GraphFact, NodeKey, NodeKind, Walk
from agent_tracer.server.domain.ids import OtelTraceId, TenantId
from agent_tracer.server.domain.telemetry import TimeRange
from agent_tracer.server.ports.graph import Touched
from agent_tracer.server.services.graph_projector import GraphProjector
from agent_tracer.server.services.graph_writes import GraphWrites
from tests.fixtures.graphs import AMPLE, service
from tests.fixtures.settled import settle
from tests.fixtures.trees import CLIENT, NOON_NS, SERVER, Node, agent, call, tool

EVERYBODYS_MAX = 1_000_000
HOUR = TimeRange(NOON_NS, NOON_NS + 3600 * 10**9)
SHOP, CART = service("shop"), service("cart")
PLANNER, CODER = NodeKey(NodeKind.AGENT, "planner"), NodeKey(NodeKind.AGENT, "coder")
SEARCH, MODEL = NodeKey(NodeKind.TOOL, "search"), NodeKey(NodeKind.MODEL, "m")
ORDERS = NodeKey(NodeKind.DATABASE, "postgresql/orders")


async def _nothing() -> None:
    """All is settled."""


class OfTenant(ClickHouseGraphSource):
    """One tenant's calls: other tests leave more in the store than is gone through in the time of a call."""

    def __init__(self, engine: Engine, tenant: TenantId) -> None:
        super().__init__(engine)
        self._tenant = tenant

    async def touched(self, *, after_ns: int, limit: int) -> Touched:
        everybodys = await super().touched(after_ns=after_ns, limit=EVERYBODYS_MAX)
        own = [bucket for bucket in everybodys.some if bucket.tenant == self._tenant]
        return Touched(own[:limit], len(own))


def projector(engine: Engine, tenant: TenantId) -> GraphProjector:
    return GraphProjector(
        source=OfTenant(engine, tenant), store=ClickHouseGraph(engine), settle=_nothing, clock_ns=time.time_ns
    )


async def graph(engine: Engine, tenant: TenantId) -> Graph:
    await projector(engine, tenant).settled()
    return await ClickHouseGraph(engine).graph(tenant, HOUR, AMPLE)


def calls(found: Graph) -> dict[tuple[NodeKey, NodeKey], tuple[int, int]]:
    return {(one.source, one.target): (one.calls, one.errors) for one in found.edges}


def done(found: Graph) -> dict[NodeKey, tuple[int, int]]:
    return {one.node: (one.calls, one.errors) for one in found.nodes}


def db(system: str = "postgresql", name: str = "orders") -> dict[str, str | int | float]:
    return {"db.system.name": system, "db.namespace": name}


RUN: Sequence[Node] = (
    Node(1, service="shop", kind=SERVER, seconds=9),
    Node(2, 1, service="shop", seconds=8, attributes=agent("planner")),
    Node(3, 2, service="shop", seconds=1, attributes=call()),
    Node(4, 2, service="shop", seconds=1, attributes=tool("search"), failed=True),
    Node(5, 4, service="shop", seconds=0.5, kind=CLIENT, attributes=db()),
    Node(6, 2, service="shop", seconds=3),
    Node(7, 6, service="shop", seconds=2, attributes=agent("coder")),
    Node(8, 7, service="shop", seconds=1, attributes=call()),
    Node(9, 1, service="shop", seconds=2, kind=CLIENT),
    Node(10, 9, service="cart", seconds=1.5, kind=SERVER, failed=True),
    Node(11, 10, service="cart", seconds=0.25, kind=CLIENT, attributes={"db.system": "redis"}),
)


async def test_a_run_becomes_components_and_calls(engine: Engine, tenant: TenantId) -> None:
    await settle(engine, tenant, RUN)
    found = await graph(engine, tenant)
    redis = NodeKey(NodeKind.DATABASE, "redis")
    assert calls(found) == {
        (SHOP, CART): (1, 1),
        (SHOP, PLANNER): (1, 0),
        (PLANNER, CODER): (1, 0),
        (PLANNER, MODEL): (1, 0),
        (PLANNER, SEARCH): (1, 1),
        (PLANNER, ORDERS): (1, 0),
        (CODER, MODEL): (1, 0),
        (CART, redis): (1, 0),
    }
    assert done(found) == {
        SHOP: (1, 0), CART: (1, 1), PLANNER: (1, 0), CODER: (1, 0),
        MODEL: (2, 0), SEARCH: (1, 1), ORDERS: (1, 0), redis: (1, 0),
    }  # fmt: skip
    (cart,) = (one for one in found.edges if one.target == CART)
    assert abs(cart.durations.quantile_ns(0.95) / 1.5e9 - 1) < 0.026
    assert abs(cart.gaps.quantile_ns(0.95) / 0.5e9 - 1) < 0.026


async def test_late_spans_replace_what_was_made_without_them(engine: Engine, tenant: TenantId) -> None:
    late = [node for node in RUN if node.number == 2]
    early = [node for node in RUN if node.number != 2]
    await settle(engine, tenant, early)
    assert (SHOP, CODER) in calls(await graph(engine, tenant))
    await settle(engine, tenant, late)
    found = calls(await graph(engine, tenant))
    assert (PLANNER, CODER) in found
    assert (SHOP, CODER) not in found
    assert (SHOP, MODEL) not in found


async def test_settling_and_projecting_again_counts_nothing_twice(engine: Engine, tenant: TenantId) -> None:
    await settle(engine, tenant, RUN)
    first = await graph(engine, tenant)
    await settle(engine, tenant, RUN)
    assert await graph(engine, tenant) == first


async def test_buckets_are_of_the_time_when_calls_began(engine: Engine, tenant: TenantId) -> None:
    spans = [
        Node(1, seconds=700),
        Node(2, 1, start=301, attributes=tool("search")),
        Node(3, 1, attributes=tool("search")),
    ]
    await settle(engine, tenant, spans)
    await projector(engine, tenant).settled()
    five = TimeRange(NOON_NS + 300 * 10**9, NOON_NS + 301 * 10**9)
    found = await ClickHouseGraph(engine).graph(tenant, five, AMPLE)
    assert calls(found) == {(SHOP, SEARCH): (1, 0)}


async def test_a_deleted_trace_is_not_counted_any_more(engine: Engine, tenant: TenantId) -> None:
    other = bytes(range(1, 17))
    await settle(engine, tenant, RUN, [Node(1, trace_id=other), Node(2, 1, trace_id=other, attributes=tool("search"))])
    assert done(await graph(engine, tenant))[SEARCH] == (2, 1)
    await ClickHouseStore(engine).delete_trace(tenant, OtelTraceId(RUN[0].trace_id))
    assert done(await graph(engine, tenant)) == {SHOP: (1, 0), SEARCH: (1, 0)}
    await ClickHouseStore(engine).delete_trace(tenant, OtelTraceId(other))
    assert done(await graph(engine, tenant)) == {}


class _Between:
    """A client that has something done before each of its statements."""

    def __init__(self, client: Client, first: Callable[[], None]) -> None:
        self.query = client.query
        self._client = client
        self._first = first

    def command(self, statement: str, parameters: dict[str, Any]) -> object:
        self._first()
        return self._client.command(statement, parameters=parameters)


async def test_a_trace_that_is_deleted_while_the_graph_is_made_is_not_counted_any_more(
    engine: Engine, tenant: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    await settle(engine, tenant, RUN)
    assert done(await graph(engine, tenant))
    source, made, loop = OfTenant(engine, tenant), list[Sequence[GraphBucket]](), asyncio.get_running_loop()

    async def make() -> None:
        touched = await source.touched(after_ns=0, limit=EVERYBODYS_MAX)
        made.append(await source.made(touched.some))

    def first() -> None:
        asyncio.run_coroutine_threadsafe(make(), loop).result(60)

    run = engine.settle
    with monkeypatch.context() as patch:
        patch.setattr(engine, "settle", lambda work: run(lambda client: work(_Between(client, first))))
        assert await ClickHouseStore(engine).delete_trace(tenant, OtelTraceId(RUN[0].trace_id))
    assert any(bucket.nodes for buckets in made for bucket in buckets), "a deletion was seen half done"
    writes = GraphWrites(ClickHouseGraph(engine), time.time_ns, None)
    for buckets in made:
        await writes.put(buckets)
    assert done(await graph(engine, tenant)) == {}


async def test_nothing_waits_once_it_was_projected(engine: Engine, tenant: TenantId) -> None:
    await settle(engine, tenant, RUN)
    one = projector(engine, tenant)
    source = ClickHouseGraphSource(engine)
    touched = await source.touched(after_ns=0, limit=EVERYBODYS_MAX)
    assert tenant in {bucket.tenant for bucket in touched.some}
    await one.settled()
    assert one.waiting == 0
    touched = await source.touched(after_ns=0, limit=EVERYBODYS_MAX)
    assert tenant not in {bucket.tenant for bucket in touched.some}


class _StuckSource(ClickHouseGraphSource):
    """Never done: a store with hours of calls to go through."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.asked = asyncio.Event()

    async def touched(self, *, after_ns: int, limit: int) -> Touched:
        self.asked.set()
        await asyncio.Event().wait()
        return await super().touched(after_ns=after_ns, limit=limit)


async def test_an_incident_does_not_wait_for_a_long_pass_of_the_settler(engine: Engine, tenant: TenantId) -> None:
    store, release = ClickHouseGraph(engine), threading.Event()
    settling = asyncio.create_task(engine.settle(lambda _: release.wait(60)))
    incident = NodeKey(NodeKind.INCIDENT, "i-2")
    try:
        async with asyncio.timeout(20):
            await store.put_facts([GraphFact(tenant, incident, SHOP, "slow", NOON_NS, None, 0.0, time.time_ns())])
    finally:
        release.set()
        assert await settling


async def test_an_incident_does_not_wait_for_calls_to_be_brought_in(engine: Engine, tenant: TenantId) -> None:
    source, store = _StuckSource(engine), ClickHouseGraph(engine)
    stuck = GraphProjector(source=source, store=store, settle=_nothing, clock_ns=time.time_ns)
    projecting = asyncio.create_task(stuck.settled())
    await source.asked.wait()
    incident = NodeKey(NodeKind.INCIDENT, "i-1")
    async with asyncio.timeout(10):
        await stuck.keep_facts([GraphFact(tenant, incident, SHOP, "slow", NOON_NS, None, 0.0)])
    projecting.cancel()
    found = await store.around(tenant, Walk(SHOP, 1, Direction.BOTH), HOUR, AMPLE)
    assert incident in {one.node for one in found.nodes}
