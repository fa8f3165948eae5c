"""The graph in the store: a row for each tenant and five minutes, added up when it is read."""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from clickhouse_connect.driver.client import Client

from agent_tracer.server.adapters.clickhouse.engine import Engine, Row
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
    Walk,
    relations_of,
    whole_buckets,
)
from agent_tracer.server.domain.graph.traversal import Pair, reach, shortest_roads, surroundings
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.telemetry import TimeRange
from agent_tracer.server.limits import GRAPH_FACTS_READ_MAX, GRAPH_PAIRS_MAX
from agent_tracer.server.ports.graph import Versions

T = TypeVar("T")

_NS: Final = 1_000_000_000
_KEYS_MAX: Final = 256
_SETTINGS: Final = "SETTINGS do_not_merge_across_partitions_select_final = 1"
_OF_TIME: Final = (
    "tenant = {tenant:String} AND start >= toDateTime({from:UInt32}, 'UTC') AND start < toDateTime({to:UInt32}, 'UTC')"
)
_NODE_COLUMNS: Final = ("node_kind", "node_id", "node_calls", "node_errors", "node_bins", "node_counts")
_EDGE_COLUMNS: Final = (
    "source_kind", "source", "target_kind", "target", "calls", "errors", "bins", "counts", "gap_bins", "gap_counts",
)  # fmt: skip


def _joined(columns: Iterable[str]) -> str:
    return ", ".join(f"{column} AS {column}_" for column in columns)


_AMONG: Final = "IN (SELECT arrayJoin(arrayZip({kinds:Array(String)}, {ids:Array(String)})))"
_NODES: Final = f"""
SELECT toString(node_kind_), toString(node_id_), sum(node_calls_) AS n, sum(node_errors_), sumMap(node_bins_, node_counts_),
  count() OVER ()
FROM graph_buckets FINAL ARRAY JOIN {_joined(_NODE_COLUMNS)} WHERE {_OF_TIME} %s
GROUP BY node_kind_, node_id_ ORDER BY n DESC, node_kind_, node_id_ LIMIT {{most:UInt32}} {_SETTINGS}
"""
_EDGES: Final = f"""
SELECT toString(source_kind_), toString(source_), toString(target_kind_), toString(target_), sum(calls_) AS n, sum(errors_),
  sumMap(bins_, counts_), sumMap(gap_bins_, gap_counts_), count() OVER ()
FROM graph_buckets FINAL ARRAY JOIN {_joined(_EDGE_COLUMNS)}
WHERE {_OF_TIME} AND (source_kind_, source_) {_AMONG} AND (target_kind_, target_) {_AMONG}
GROUP BY source_kind_, source_, target_kind_, target_
ORDER BY n DESC, source_kind_, source_, target_kind_, target_ LIMIT {{most:UInt32}} {_SETTINGS}
"""
_PAIRS: Final = f"""
SELECT toString(source_kind_), toString(source_), toString(target_kind_), toString(target_)
FROM graph_buckets FINAL ARRAY JOIN {_joined((*_EDGE_COLUMNS[:4], "calls"))} WHERE {_OF_TIME}
GROUP BY source_kind_, source_, target_kind_, target_ ORDER BY sum(calls_) DESC LIMIT {GRAPH_PAIRS_MAX} {_SETTINGS}
"""
_LEFT_OUT: Final = f"SELECT sum(left_out) FROM graph_buckets FINAL WHERE {_OF_TIME} {_SETTINGS}"
_FACT_COLUMNS: Final = (
    "tenant, kind, id, about_kind, about, title, toUnixTimestamp64Nano(start_time), end_time_ns, confidence, version"
)
_FACTS: Final = f"""
SELECT {_FACT_COLUMNS} FROM graph_facts FINAL
WHERE tenant = {{tenant:String}} AND start_time < toDateTime({{to:UInt32}}, 'UTC')
  AND (end_time_ns = 0 OR end_time_ns >= {{from:UInt32}} * {_NS}) ORDER BY start_time DESC, kind, id LIMIT {GRAPH_FACTS_READ_MAX}
"""
_FACTS_AFTER: Final = f"""
SELECT {_FACT_COLUMNS} FROM graph_facts FINAL WHERE version > {{version:UInt64}} ORDER BY version LIMIT {{limit:UInt32}}
"""
_VERSIONS: Final = "SELECT (SELECT max(version) FROM graph_buckets), (SELECT max(version) FROM graph_facts)"
_KEYS_AFTER: Final = f"""
SELECT tenant, toUnixTimestamp(start), version, length(node_id) + length(source) FROM graph_buckets FINAL
WHERE version > {{version:UInt64}} AND start >= toDateTime({{from:UInt32}}, 'UTC') ORDER BY version LIMIT {_KEYS_MAX} {_SETTINGS}
"""
_WHOLE: Final = f"""
SELECT tenant, toUnixTimestamp(start), settled_ns, version, left_out, {", ".join((*_NODE_COLUMNS, *_EDGE_COLUMNS))}
FROM graph_buckets FINAL
WHERE (tenant, start) IN (SELECT key.1, toDateTime(key.2, 'UTC')
  FROM (SELECT arrayJoin(arrayZip({{tenants:Array(String)}}, {{starts:Array(UInt32)}})) AS key))
  AND version IN {{versions:Array(UInt64)}} ORDER BY version {_SETTINGS}
"""


class ClickHouseGraph:
    """ports.graph.GraphStore and GraphLog. Sees what has been put at once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def graph(self, tenant: TenantId, time_range: TimeRange, limit: GraphLimit) -> Graph:
        """See the port."""
        return await self._among(_of_time(tenant, time_range), limit)

    async def around(self, tenant: TenantId, walk: Walk, time_range: TimeRange, limit: GraphLimit) -> Graph:
        """See the port."""
        of_time = _of_time(tenant, time_range)
        facts = [_fact(row) for row in await self._engine.rows(_FACTS, of_time)]
        relations = relations_of(facts)
        pairs = await self._pairs(of_time)
        reached = await asyncio.to_thread(reach, pairs, relations, walk, most=limit.nodes)
        return surroundings(await self._among(of_time, limit, sorted(reached.steps)), reached, relations)

    async def roads(
        self, tenant: TenantId, ends: Pair, time_range: TimeRange, *, depth: int, limit: int
    ) -> Sequence[Sequence[NodeKey]]:
        """See the port."""
        pairs = await self._pairs(_of_time(tenant, time_range))
        return await asyncio.to_thread(shortest_roads, pairs, *ends, depth=depth, most=limit)

    async def put(self, buckets: Sequence[GraphBucket]) -> None:
        """See the port."""
        await self._engine.settle(_inserting("graph_buckets", _bucket_row, buckets))

    async def put_facts(self, facts: Sequence[GraphFact]) -> None:
        """See the port."""
        # Callers wait for these, so that they do not stand behind a long pass of the settler.
        await self._engine.write(_inserting("graph_facts", _fact_row, facts))

    async def versions(self) -> Versions:
        """See the port."""
        return Versions(*(await self._engine.rows(_VERSIONS))[0])

    async def trim(self, from_ns: int) -> None:
        """The table's TTL does it."""

    async def aclose(self) -> None:
        """The engine is its owner's."""

    async def buckets_after(self, version: int, *, from_ns: int, rows: int) -> Sequence[GraphBucket]:
        """See the port."""
        keys = await self._engine.rows(_KEYS_AFTER, {"version": version, "from": from_ns // _NS})
        taken: list[Row] = []
        so_far = 0
        for *key, size in keys:
            if taken and so_far + size > rows:
                break
            taken.append(key)
            so_far += size
        if not taken:
            return []
        # One that was written anew meanwhile has a later version, and comes in its turn.
        tenants, starts, versions = zip(*taken, strict=True)
        wanted = {"tenants": [one.decode() for one in tenants], "starts": list(starts), "versions": list(versions)}
        return [_bucket(row) for row in await self._engine.rows(_WHOLE, wanted)]

    async def facts_after(self, version: int, *, limit: int) -> Sequence[GraphFact]:
        """See the port."""
        return [_fact(row) for row in await self._engine.rows(_FACTS_AFTER, {"version": version, "limit": limit})]

    async def _among(
        self, of_time: Mapping[str, Any], limit: GraphLimit, only: Sequence[NodeKey] | None = None
    ) -> Graph:
        """The nodes with the most calls, of all or of some, and the edges between them with the most."""
        among = "" if only is None else f"AND (node_kind_, node_id_) {_AMONG}"
        wanted = {**of_time, **_keys(only or ()), "most": limit.nodes}
        rows = await self._engine.rows(_NODES % among, wanted)
        nodes = [
            NodeCalls(_key(kind, id_), calls, errors, _histogram(*durations))
            for kind, id_, calls, errors, durations, _ in rows
        ]
        known = sorted(one.node for one in nodes)
        edges = await self._engine.rows(_EDGES, {**of_time, **_keys(known), "most": limit.edges})
        (kept_short,) = (await self._engine.rows(_LEFT_OUT, of_time))[0]
        left_out = int(kept_short) + _more(rows) + _more(edges)
        return Graph(nodes, [_edge(row) for row in edges], (), left_out)

    async def _pairs(self, of_time: Mapping[str, Any]) -> list[Pair]:
        return [(_key(*row[:2]), _key(*row[2:])) for row in await self._engine.rows(_PAIRS, of_time)]


def _inserting(table: str, row: Callable[[T], Mapping[str, Any]], items: Sequence[T]) -> Callable[[Client], None]:
    def insert(client: Client) -> None:
        if not items:
            return
        # As text: the driver's own insert imports pandas. A million numbers: not on the event loop.
        lines = "\n".join(json.dumps(row(item)) for item in items)
        client.raw_insert(table, insert_block=lines, fmt="JSONEachRow", settings={"max_partitions_per_insert_block": 0})

    return insert


def _of_time(tenant: TenantId, time_range: TimeRange) -> Mapping[str, Any]:
    whole = whole_buckets(time_range)
    return {"tenant": tenant, "from": whole.start_ns // _NS, "to": min(whole.end_ns // _NS, 2**32 - 1)}


def _keys(nodes: Iterable[NodeKey]) -> Mapping[str, Any]:
    listed = list(nodes)
    return {"kinds": [str(node.kind) for node in listed], "ids": [node.id for node in listed]}


def _more(rows: Sequence[Row]) -> int:
    return rows[0][-1] - len(rows) if rows else 0


def _edge(row: Row) -> EdgeCalls:
    source_kind, source, target_kind, target, calls, errors, durations, gaps, _ = row
    return EdgeCalls(
        _key(source_kind, source), _key(target_kind, target), calls, errors, _histogram(*durations), _histogram(*gaps)
    )


def _key(kind: bytes, id_: bytes) -> NodeKey:
    return NodeKey(NodeKind(kind.decode()), id_.decode(errors="replace"))


def _histogram(bins: Iterable[int], counts: Iterable[int]) -> Histogram:
    return Histogram(tuple(bins), tuple(counts))


def _bucket_row(bucket: GraphBucket) -> Mapping[str, Any]:
    nodes, edges = bucket.nodes, bucket.edges
    return {
        "tenant": bucket.tenant,
        "start": bucket.start_ns // _NS,
        "settled_ns": bucket.settled_ns,
        "version": bucket.version,
        "left_out": bucket.left_out,
        "node_kind": [one.node.kind for one in nodes],
        "node_id": [one.node.id for one in nodes],
        "node_calls": [one.calls for one in nodes],
        "node_errors": [one.errors for one in nodes],
        "node_bins": [one.durations.bins for one in nodes],
        "node_counts": [one.durations.counts for one in nodes],
        "source_kind": [one.source.kind for one in edges],
        "source": [one.source.id for one in edges],
        "target_kind": [one.target.kind for one in edges],
        "target": [one.target.id for one in edges],
        "calls": [one.calls for one in edges],
        "errors": [one.errors for one in edges],
        "bins": [one.durations.bins for one in edges],
        "counts": [one.durations.counts for one in edges],
        "gap_bins": [one.gaps.bins for one in edges],
        "gap_counts": [one.gaps.counts for one in edges],
    }


def _bucket(row: Row) -> GraphBucket:
    tenant, start, settled_ns, version, left_out, *columns = row
    nodes, edges = columns[: len(_NODE_COLUMNS)], columns[len(_NODE_COLUMNS) :]
    return GraphBucket(
        tenant=TenantId(tenant.decode()),
        start_ns=start * _NS,
        nodes=[
            NodeCalls(_key(kind, id_), calls, errors, _histogram(bins, counts))
            for kind, id_, calls, errors, bins, counts in zip(*nodes, strict=True)
        ],
        edges=[
            EdgeCalls(_key(*ends[:2]), _key(*ends[2:]), calls, errors, _histogram(*times), _histogram(*gaps))
            for *ends, calls, errors, times, gaps in ((*one[:6], one[6:8], one[8:]) for one in zip(*edges, strict=True))
        ],
        settled_ns=settled_ns,
        version=version,
        left_out=left_out,
    )


def _fact_row(fact: GraphFact) -> Mapping[str, Any]:
    return {
        "tenant": fact.tenant,
        "kind": fact.node.kind,
        "id": fact.node.id,
        "version": fact.version,
        "about_kind": fact.about.kind,
        "about": fact.about.id,
        "title": fact.title,
        "start_time": f"{fact.start_ns // _NS}.{fact.start_ns % _NS:09d}",
        "end_time_ns": fact.end_ns or 0,
        "confidence": fact.confidence,
    }


def _fact(row: Row) -> GraphFact:
    tenant, kind, id_, about_kind, about, title, start_ns, end_ns, confidence, version = row
    return GraphFact(
        tenant=TenantId(tenant.decode()),
        node=_key(kind, id_),
        about=_key(about_kind, about),
        title=title.decode(errors="replace"),
        start_ns=start_ns,
        end_ns=end_ns or None,
        confidence=confidence,
        version=version,
    )
