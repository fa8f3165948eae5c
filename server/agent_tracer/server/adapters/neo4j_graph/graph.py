"""ports.graph.GraphStore in a Neo4j 5 server."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from agent_tracer.server.adapters.neo4j_graph import statements as cypher
from agent_tracer.server.adapters.neo4j_graph.connection import Neo4jConnection
from agent_tracer.server.domain.graph.histograms import Histogram
from agent_tracer.server.domain.graph.records import (
    EdgeCalls,
    Graph,
    GraphBucket,
    GraphFact,
    GraphLimit,
    NodeCalls,
    NodeKey,
    NodeKind,
    RelationKind,
    Walk,
    relations_of,
    whole_buckets,
)
from agent_tracer.server.domain.graph.traversal import Pair, reach, shortest_roads, surroundings
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.telemetry import TimeRange
from agent_tracer.server.ports.graph import Versions

if TYPE_CHECKING:
    from neo4j import AsyncTransaction

_NS: Final = 1_000_000_000
_NS_PER_MS: Final = 1_000_000
_ROWS_AT_ONCE: Final = 5_000
"""Of one statement: more take memory and no less time."""
_BUCKETS, _FACTS = "buckets", "facts"


class Neo4jGraph:
    """See the port. Nothing is imported or connected before the first call, which makes constraints and indexes.

    What is put is one transaction a bucket. Needs a user who may read, write, and create indexes and constraints.
    """

    def __init__(self, uri: str, user: str, password: str, database: str | None = None) -> None:
        """`database` None: the user's own."""
        self._connection = Neo4jConnection(uri, user, password, database, cypher.SCHEMA)

    async def graph(self, tenant: TenantId, time_range: TimeRange, limit: GraphLimit) -> Graph:
        """See the port."""
        return await self._among(_of_time(tenant, time_range), limit)

    async def around(self, tenant: TenantId, walk: Walk, time_range: TimeRange, limit: GraphLimit) -> Graph:
        """See the port."""
        of_time = _of_time(tenant, time_range)
        relations = relations_of([_fact(tenant, row) for row in await self._connection.rows(cypher.FACTS, of_time)])
        pairs = await self._pairs(of_time)
        reached = await asyncio.to_thread(reach, pairs, relations, walk, most=limit.nodes)
        return surroundings(await self._among(of_time, limit, reached.steps), reached, relations)

    async def roads(
        self, tenant: TenantId, ends: Pair, time_range: TimeRange, *, depth: int, limit: int
    ) -> Sequence[Sequence[NodeKey]]:
        """See the port."""
        pairs = await self._pairs(_of_time(tenant, time_range))
        return await asyncio.to_thread(shortest_roads, pairs, *ends, depth=depth, most=limit)

    async def put(self, buckets: Sequence[GraphBucket]) -> None:
        """See the port."""
        for bucket in buckets:
            async with self._connection.transaction() as transaction:
                await _put(transaction, bucket)

    async def put_facts(self, facts: Sequence[GraphFact]) -> None:
        """See the port."""
        for fact in facts:
            async with self._connection.transaction() as transaction:
                await _put_fact(transaction, fact)

    async def versions(self) -> Versions:
        """See the port."""
        found: dict[str, int] = dict(await self._connection.rows(cypher.STATES, {}))
        return Versions(found.get(_BUCKETS, 0), found.get(_FACTS, 0))

    async def trim(self, from_ns: int) -> None:
        """See the port."""
        while old := await self._connection.rows(cypher.OLD_PERIODS, {"from": _time(from_ns)}):
            for tenant, start_seconds in old:
                async with self._connection.transaction() as transaction:
                    for statement in (cypher.CLEAR_CALLED, cypher.DROP_PERIOD):
                        await _run(transaction, statement, tenant=tenant, start=_time(start_seconds * _NS))
        for statement in cypher.SWEEP:
            while (await self._connection.rows(statement, {}))[0][0]:
                pass

    async def aclose(self) -> None:
        """See the port."""
        await self._connection.aclose()

    async def _among(self, of_time: dict[str, Any], limit: GraphLimit, only: Iterable[NodeKey] | None = None) -> Graph:
        """The nodes with the most calls, of all or of some, and the edges between them with the most."""
        statements = (cypher.NODES, cypher.NODE_BINS, cypher.EDGES, cypher.EDGE_BINS, cypher.EDGE_GAPS, cypher.LEFT_OUT)
        seen, *found = [await self._connection.rows(statement, of_time) for statement in statements]
        wanted = None if only is None else set(only)
        rows = [row for row in seen if wanted is None or _key(*row[:2]) in wanted]
        of_node = _histograms(found[0])
        nodes = [_node(row, of_node) for row in rows[: limit.nodes]]
        known = {one.node for one in nodes}
        durations, gaps = _histograms(found[2]), _histograms(found[3])
        edges = [
            _edge(row, durations, gaps) for row in found[1] if _key(*row[:2]) in known and _key(*row[2:4]) in known
        ]
        left_out = found[4][0][0] + len(rows) - len(nodes) + max(0, len(edges) - limit.edges)
        return Graph(nodes, edges[: limit.edges], (), left_out)

    async def _pairs(self, of_time: dict[str, Any]) -> list[Pair]:
        rows = await self._connection.rows(cypher.EDGES, of_time)
        return [(_key(*row[:2]), _key(*row[2:4])) for row in rows]


async def _put(transaction: "AsyncTransaction", bucket: GraphBucket) -> None:
    whose = {"tenant": bucket.tenant, "start": _time(bucket.start_ns)}
    for statement in (cypher.CLEAR_PERIOD, cypher.CLEAR_CALLED):
        await _run(transaction, statement, **whose)
    await _run(transaction, cypher.KEEP_PERIOD, **whose, version=bucket.version, left_out=bucket.left_out)
    ends = (end for edge in bucket.edges for end in (edge.source, edge.target))
    await _put_nodes(transaction, bucket.tenant, [*(one.node for one in bucket.nodes), *ends])
    for statement, rows in (
        (cypher.KEEP_SAW, [_node_row(one) for one in bucket.nodes]),
        (cypher.KEEP_CALLED, [_edge_row(one) for one in bucket.edges]),
    ):
        for first in range(0, len(rows), _ROWS_AT_ONCE):
            await _run(transaction, statement, **whose, rows=rows[first : first + _ROWS_AT_ONCE])
    await _run(transaction, cypher.KEEP_STATE, name=_BUCKETS, version=bucket.version)


async def _put_nodes(transaction: "AsyncTransaction", tenant: TenantId, nodes: Iterable[NodeKey]) -> None:
    for kind, of_kind in groupby(sorted(set(nodes)), key=lambda node: node.kind):
        statement = cypher.KEEP_NODES.format(label=cypher.LABELS[kind])
        await _run(transaction, statement, tenant=tenant, kind=str(kind), ids=[node.id for node in of_kind])


async def _put_fact(transaction: "AsyncTransaction", fact: GraphFact) -> None:
    await _put_nodes(transaction, fact.tenant, [fact.node, fact.about])
    is_cause = fact.node.kind is NodeKind.CAUSE
    relation = (RelationKind.LIES_IN if is_cause else RelationKind.AFFECTS).upper()
    whose = {"tenant": fact.tenant, "id": fact.node.id}
    await _run(
        transaction,
        cypher.KEEP_FACT.format(relation=relation),
        **whose,
        kind=str(fact.node.kind),
        about_kind=str(fact.about.kind),
        about=fact.about.id,
        title=fact.title,
        confidence=fact.confidence,
        start=_time(fact.start_ns),
        end=None if fact.end_ns is None else _time(fact.end_ns),
    )
    await _run(transaction, cypher.LINK_CAUSE, **whose)
    await _run(transaction, cypher.KEEP_STATE, name=_FACTS, version=fact.version)


async def _run(transaction: "AsyncTransaction", statement: str, **parameters: Any) -> None:  # noqa: ANN401 - Cypher's
    await (await transaction.run(statement, parameters)).consume()


def _node_row(one: NodeCalls) -> list[Any]:
    return [
        str(one.node.kind),
        one.node.id,
        one.calls,
        one.errors,
        list(one.durations.bins),
        list(one.durations.counts),
    ]


def _edge_row(one: EdgeCalls) -> list[Any]:
    (source_kind, source), (target_kind, target) = one.source, one.target
    p95_ms = one.durations.quantile_ns(0.95) / _NS_PER_MS
    histograms = (one.durations.bins, one.durations.counts, one.gaps.bins, one.gaps.counts)
    return [str(source_kind), source, str(target_kind), target, one.calls, one.errors, p95_ms, *map(list, histograms)]


def _node(row: list[Any], durations: dict[Any, Histogram]) -> NodeCalls:
    kind, id_, calls, errors = row
    return NodeCalls(_key(kind, id_), calls, errors, durations.get((kind, id_), Histogram()))


def _edge(row: list[Any], durations: dict[Any, Histogram], gaps: dict[Any, Histogram]) -> EdgeCalls:
    *ends, calls, errors = row
    empty, key = Histogram(), tuple(ends)
    return EdgeCalls(_key(*ends[:2]), _key(*ends[2:]), calls, errors, durations.get(key, empty), gaps.get(key, empty))


def _histograms(rows: Iterable[list[Any]]) -> dict[Any, Histogram]:
    """By what stands before the bins."""
    found = {}
    for *key, pairs in rows:
        bins, counts = zip(*sorted(pairs), strict=True)
        found[tuple(key)] = Histogram(bins, counts)
    return found


def _key(kind: str, id_: str) -> NodeKey:
    return NodeKey(NodeKind(kind), id_)


def _fact(tenant: TenantId, row: list[Any]) -> GraphFact:
    """As far as it draws lines."""
    return GraphFact(tenant, _key(*row[:2]), _key(*row[2:]), "", 0)


def _of_time(tenant: TenantId, time_range: TimeRange) -> dict[str, Any]:
    whole = whole_buckets(time_range)
    return {"tenant": tenant, "from": _time(whole.start_ns), "to": _time(whole.end_ns)}


def _time(time_ns: int) -> datetime:
    return datetime.fromtimestamp(time_ns // _NS, UTC).replace(microsecond=time_ns % _NS // 1000)
