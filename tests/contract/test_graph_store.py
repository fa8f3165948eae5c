"""What every GraphStore promises, and its bindings: tables of the embedded store, a real Neo4j."""

from collections.abc import AsyncIterator

import pytest

from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.adapters.clickhouse.graph import ClickHouseGraph
from agent_tracer.server.domain.graph.histograms import merged
from agent_tracer.server.domain.graph.records import (
    BUCKET_NS,
    Direction,
    Graph,
    GraphLimit,
    NodeKey,
    NodeKind,
    Relation,
    RelationKind,
    Walk,
)
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.telemetry import TimeRange
from agent_tracer.server.ports.graph import GraphStore
from tests.fixtures.graphs import AMPLE, FIRST, bucket, buckets, edge, fact, node, of_ms, service
from tests.fixtures.neo4j import neo4j, neo4j_graph

__all__ = ["neo4j"]

SHOP, CART, STOCK, MAIL = map(service, ("shop", "cart", "stock", "mail ö\u4e2d'\"\\ <>"))
PLANNER = NodeKey(NodeKind.AGENT, "shop")
"""An agent with the name of a service."""
MODEL = NodeKey(NodeKind.MODEL, "gpt")
OUTAGE = NodeKey(NodeKind.INCIDENT, "outage")
CAUSE = NodeKey(NodeKind.CAUSE, "outage")


@pytest.fixture(params=["clickhouse", pytest.param("neo4j", marks=pytest.mark.servers)])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[GraphStore]:
    if request.param == "clickhouse":
        engine: Engine = request.getfixturevalue("engine")
        yield ClickHouseGraph(engine)
        return
    async with neo4j_graph(request.getfixturevalue("neo4j")) as graph:
        yield graph


def calls(graph: Graph) -> dict[tuple[NodeKey, NodeKey], int]:
    return {(one.source, one.target): one.calls for one in graph.edges}


def keys(graph: Graph) -> set[NodeKey]:
    return {one.node for one in graph.nodes}


async def test_what_is_put_is_read_back(store: GraphStore, tenant: TenantId) -> None:
    put = edge(SHOP, MAIL, 10, 20, 3000, errors=2, gaps=[1, 0])
    await store.put([bucket(tenant, 0, [put], node(MAIL, 10, 20, 3000, errors=2), left_out=3)])
    found = await store.graph(tenant, buckets(0, 1), AMPLE)
    assert found.edges == [put]
    assert list(found.nodes) == [node(MAIL, 10, 20, 3000, errors=2), node(SHOP)]
    assert (found.relations, found.left_out) == ((), 3)


async def test_buckets_of_a_range_add_up(store: GraphStore, tenant: TenantId) -> None:
    await store.put([bucket(tenant, 0, [edge(SHOP, CART, 5, 50, errors=1, gaps=[2])], node(CART, 5, 50, errors=1))])
    await store.put([bucket(tenant, 1, [edge(SHOP, CART, 50, 500, gaps=[4, 4])], node(CART, 50, 500))])
    await store.put([bucket(tenant, 2, [edge(SHOP, CART, 1)], node(CART, 1))])
    found = await store.graph(tenant, buckets(0, 2), AMPLE)
    assert found.edges == [edge(SHOP, CART, 5, 50, 50, 500, errors=1, gaps=[2, 4, 4])]
    assert found.nodes[0] == node(CART, 5, 50, 50, 500, errors=1)
    assert found.nodes[0].durations == merged([of_ms(5, 50), of_ms(50, 500)])


async def test_a_range_sees_the_buckets_that_it_touches(store: GraphStore, tenant: TenantId) -> None:
    await store.put([bucket(tenant, number, [edge(SHOP, CART, 1)]) for number in range(4)])
    inside = TimeRange(FIRST + BUCKET_NS + 1, FIRST + 2 * BUCKET_NS + 1)
    assert calls(await store.graph(tenant, inside, AMPLE)) == {(SHOP, CART): 2}
    assert await store.graph(tenant, buckets(4, 9), AMPLE) == Graph([], [])


async def test_a_bucket_is_replaced_as_a_whole(store: GraphStore, tenant: TenantId) -> None:
    await store.put([bucket(tenant, 0, [edge(SHOP, CART, 1), edge(CART, STOCK, 1)], node(CART, 1), version=1)])
    await store.put([bucket(tenant, 0, [edge(SHOP, CART, 1, 2)], node(CART, 1, 2), version=2)])
    found = await store.graph(tenant, buckets(0, 1), AMPLE)
    assert calls(found) == {(SHOP, CART): 2}
    assert keys(found) == {SHOP, CART}
    await store.put([bucket(tenant, 0, [], version=3)])
    assert await store.graph(tenant, buckets(0, 1), AMPLE) == Graph([], [])


async def test_putting_again_changes_nothing(store: GraphStore, tenant: TenantId) -> None:
    put = bucket(tenant, 0, [edge(SHOP, CART, 1)], node(CART, 1))
    await store.put([put, put])
    await store.put([put])
    found = await store.graph(tenant, buckets(0, 1), AMPLE)
    assert (calls(found), found.nodes[0].calls) == ({(SHOP, CART): 1}, 1)


async def test_tenants_do_not_see_each_other(store: GraphStore, tenant: TenantId) -> None:
    other = TenantId(f"{tenant}-other")
    await store.put([bucket(tenant, 0, [edge(SHOP, CART, 1)]), bucket(other, 0, [edge(SHOP, STOCK, 1)])])
    await store.put_facts([fact(other, OUTAGE, SHOP, 0)])
    found = await store.around(tenant, Walk(SHOP, 3), buckets(0, 1), AMPLE)
    assert (calls(found), keys(found)) == ({(SHOP, CART): 1}, {SHOP, CART})


async def test_an_agent_is_not_the_service_of_its_name(store: GraphStore, tenant: TenantId) -> None:
    await store.put([bucket(tenant, 0, [edge(SHOP, PLANNER, 1), edge(PLANNER, MODEL, 1, 2)])])
    found = await store.graph(tenant, buckets(0, 1), AMPLE)
    assert calls(found) == {(SHOP, PLANNER): 1, (PLANNER, MODEL): 2}


async def test_limits_keep_what_has_the_most_calls(store: GraphStore, tenant: TenantId) -> None:
    edges = [edge(SHOP, CART, 1), edge(SHOP, STOCK, 1, 2), edge(SHOP, MAIL, 1, 2, 3)]
    nodes = [node(SHOP, *range(1, 9)), node(CART, 1), node(STOCK, 1, 2), node(MAIL, 1, 2, 3)]
    await store.put([bucket(tenant, 0, edges, *nodes)])
    found = await store.graph(tenant, buckets(0, 1), GraphLimit(nodes=3, edges=1))
    assert [one.node for one in found.nodes] == [SHOP, MAIL, STOCK]
    assert calls(found) == {(SHOP, MAIL): 3}
    assert found.left_out == 2  # a node, and an edge between those that are shown


async def test_a_walk_follows_calls_its_way_and_so_far(store: GraphStore, tenant: TenantId) -> None:
    await store.put([bucket(tenant, 0, [edge(SHOP, CART, 1), edge(CART, STOCK, 1), edge(MAIL, CART, 1)])])
    near = await store.around(tenant, Walk(CART, 1), buckets(0, 1), AMPLE)
    assert keys(near) == {CART, SHOP, STOCK, MAIL}
    down = await store.around(tenant, Walk(SHOP, 1, Direction.CALLEES), buckets(0, 1), AMPLE)
    assert (keys(down), calls(down)) == ({SHOP, CART}, {(SHOP, CART): 1})
    up = await store.around(tenant, Walk(STOCK, 5, Direction.CALLERS), buckets(0, 1), AMPLE)
    assert keys(up) == {STOCK, CART, SHOP, MAIL}
    at = await store.around(tenant, Walk(CART, 0), buckets(0, 1), AMPLE)
    assert (keys(at), calls(at)) == ({CART}, {})


async def test_a_walk_sees_only_its_time(store: GraphStore, tenant: TenantId) -> None:
    await store.put([bucket(tenant, 0, [edge(SHOP, CART, 1)]), bucket(tenant, 1, [edge(CART, STOCK, 1)])])
    assert keys(await store.around(tenant, Walk(SHOP, 5), buckets(0, 1), AMPLE)) == {SHOP, CART}
    gone = await store.around(tenant, Walk(SHOP, 5), buckets(5, 6), AMPLE)
    assert (keys(gone), calls(gone)) == ({SHOP}, {})


async def test_a_walk_that_is_cut_keeps_what_is_near(store: GraphStore, tenant: TenantId) -> None:
    await store.put([bucket(tenant, 0, [edge(SHOP, CART, 1), edge(CART, STOCK, *range(1, 9))])])
    found = await store.around(tenant, Walk(SHOP, 5), buckets(0, 1), GraphLimit(nodes=2, edges=9))
    assert (keys(found), calls(found)) == ({SHOP, CART}, {(SHOP, CART): 1})
    assert found.left_out > 0


async def test_roads_are_all_the_shortest_ones(store: GraphStore, tenant: TenantId) -> None:
    edges = [edge(SHOP, CART, 1), edge(SHOP, STOCK, 1), edge(CART, MAIL, 1), edge(STOCK, MAIL, 1), edge(MAIL, SHOP, 1)]
    await store.put([bucket(tenant, 0, [*edges, edge(CART, STOCK, 1)])])
    time = buckets(0, 1)
    found = await store.roads(tenant, (SHOP, MAIL), time, depth=5, limit=9)
    assert [list(road) for road in found] == [[SHOP, CART, MAIL], [SHOP, STOCK, MAIL]]
    assert len(await store.roads(tenant, (SHOP, MAIL), time, depth=5, limit=1)) == 1
    assert await store.roads(tenant, (SHOP, MAIL), time, depth=1, limit=9) == []
    assert await store.roads(tenant, (SHOP, MODEL), time, depth=5, limit=9) == []
    assert [list(road) for road in await store.roads(tenant, (SHOP, SHOP), time, depth=5, limit=9)] == [[SHOP]]


async def test_incidents_and_causes_hang_together_with_components(store: GraphStore, tenant: TenantId) -> None:
    await store.put([bucket(tenant, 2, [edge(SHOP, CART, 1), edge(CART, STOCK, 1)])])
    await store.put_facts([fact(tenant, OUTAGE, SHOP, 2, over=3), fact(tenant, CAUSE, STOCK, 2, over=3)])
    found = await store.around(tenant, Walk(OUTAGE, 1), buckets(2, 3), AMPLE)
    assert keys(found) == {OUTAGE, CAUSE, SHOP}
    assert set(found.relations) == {
        Relation(OUTAGE, SHOP, RelationKind.AFFECTS),
        Relation(OUTAGE, CAUSE, RelationKind.CAUSED_BY),
    }
    whole = await store.around(tenant, Walk(STOCK, 9, Direction.CALLERS), buckets(2, 3), AMPLE)
    assert keys(whole) == {SHOP, CART, STOCK, OUTAGE, CAUSE}
    assert Relation(CAUSE, STOCK, RelationKind.LIES_IN) in whole.relations


async def test_a_fact_is_seen_while_it_goes_on(store: GraphStore, tenant: TenantId) -> None:
    await store.put_facts([fact(tenant, OUTAGE, SHOP, 2, version=1)])
    for number, expected in ((1, {SHOP}), (2, {SHOP, OUTAGE}), (9, {SHOP, OUTAGE})):
        assert keys(await store.around(tenant, Walk(SHOP, 1), buckets(number, number + 1), AMPLE)) == expected
    await store.put_facts([fact(tenant, OUTAGE, CART, 2, over=4, version=2)])
    for where, number, expected in ((SHOP, 3, {SHOP}), (CART, 3, {CART, OUTAGE}), (CART, 9, {CART})):
        assert keys(await store.around(tenant, Walk(where, 1), buckets(number, number + 1), AMPLE)) == expected


async def test_the_last_versions_are_remembered(store: GraphStore, tenant: TenantId) -> None:
    before = await store.versions()
    await store.put([bucket(tenant, 0, [], version=before.buckets + 5)])
    await store.put_facts([fact(tenant, OUTAGE, SHOP, 0, version=before.facts + 7)])
    assert await store.versions() == (before.buckets + 5, before.facts + 7)
