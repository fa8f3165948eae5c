"""What settled calls say about components and the calls between them, five minutes at a time."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from agent_tracer.server.adapters.clickhouse.engine import Engine, Row
from agent_tracer.server.adapters.clickhouse.values import unix_seconds
from agent_tracer.server.domain.graph.histograms import BIN_MAX, RATIO, Histogram, merged
from agent_tracer.server.domain.graph.records import EdgeCalls, GraphBucket, NodeCalls, NodeKey, NodeKind
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.limits import GRAPH_BUCKET_EDGES_MAX, GRAPH_BUCKET_NODES_MAX, ID_LENGTH_MAX
from agent_tracer.server.ports.graph import Touched, TouchedBucket

_NS: Final = 1_000_000_000
_SETTINGS: Final = "SETTINGS do_not_merge_across_partitions_select_final = 1"

_TOUCHED: Final = """
SELECT tenant, toUnixTimestamp(start), settled_ns_, count() OVER ()
FROM (
  SELECT tenant, start, toUInt64(toUnixTimestamp64Nano(max(settled_at))) AS settled_ns_ FROM settled_buckets
  WHERE settled_at > fromUnixTimestamp64Nano({after:Int64}, 'UTC') GROUP BY tenant, start
) AS t
LEFT JOIN (
  SELECT tenant, start, max(settled_ns) AS made_ns FROM graph_buckets
  WHERE (tenant, start) IN (
    SELECT tenant, start FROM settled_buckets WHERE settled_at > fromUnixTimestamp64Nano({after:Int64}, 'UTC'))
  GROUP BY tenant, start
) AS g
ON t.tenant = g.tenant AND t.start = g.start
WHERE settled_ns_ > made_ns ORDER BY start DESC, tenant LIMIT {limit:UInt32}
"""

_KEYS: Final = "arrayJoin(arrayZip({tenants:Array(String)}, {starts:Array(UInt32)})) AS key"


def _bin(duration_ns: str) -> str:
    """See domain.graph.histograms.bin_of."""
    return f"toUInt16(least({BIN_MAX}, if({duration_ns} <= 1000, 0, ceil(log({duration_ns} / 1000) / log({RATIO})))))"


# What is called is told by the unit; entries and tasks are told by whom in other tables.
_UNITS: Final = f"""
SELECT tenant_, start, source_kind, source, kind, id, count() AS n, countIf(failed), sumMap([bin], [toUInt64(1)])
FROM (
  SELECT toString(tenant) AS tenant_, toStartOfFiveMinutes(start_time) AS start, status IN ('error', 'timeout') AS failed,
    {_bin("duration_ns")} AS bin,
    transform(toString(unit), ['entry', 'task', 'tool', 'call'], ['service', 'agent', 'tool', 'model'], '') AS kind,
    multiIf(unit = 'entry', service, unit = 'task', agent_id, unit = 'tool', tool_name, model) AS id,
    multiIf(unit NOT IN ('tool', 'call'), '', agent_id != '', 'agent', 'service') AS source_kind,
    multiIf(unit NOT IN ('tool', 'call'), '', agent_id != '', agent_id, service) AS source
  FROM units FINAL
  WHERE (tenant, unit, hour) IN (
      SELECT key.1, arrayJoin(['entry', 'task', 'tool', 'call']), toStartOfHour(toDateTime(key.2, 'UTC')) FROM (SELECT {_KEYS}))
    AND (tenant, toStartOfFiveMinutes(start_time)) IN (SELECT key.1, toDateTime(key.2, 'UTC') FROM (SELECT {_KEYS}))
    AND is_unit
)
WHERE id != '' GROUP BY ALL ORDER BY n DESC LIMIT {{most:UInt32}} BY tenant_, start {_SETTINGS}
"""
_SERVICES: Final = f"""
SELECT toString(tenant) AS tenant_, toStartOfFiveMinutes(minute) AS start, 'service', toString(caller), 'service',
  toString(callee), sum(calls) AS n, sum(errors),
  sumMap(arrayMap(d -> {_bin("d")}, server_ns), arrayMap(d -> toUInt64(1), server_ns)),
  sumMap(gap_bins, arrayMap(d -> toUInt64(1), gap_bins))
FROM (
  SELECT *, arrayMap((c, s) -> {_bin("greatest(toInt64(c) - toInt64(s), 0)")},
    arrayFilter(c -> c > 0, client_ns), arrayFilter((s, c) -> c > 0, server_ns, client_ns)) AS gap_bins
  FROM service_edges FINAL
  WHERE (tenant, minute) IN (SELECT key.1, toDateTime(key.2 + 60 * arrayJoin(range(5)), 'UTC') FROM (SELECT {_KEYS}))
)
GROUP BY tenant_, start, caller, callee ORDER BY n DESC LIMIT {{most:UInt32}} BY tenant_, start {_SETTINGS}
"""
_COMPONENTS: Final = f"""
SELECT toString(tenant) AS tenant_, start, toString(call.1), toString(call.2), toString(call.3), toString(call.4),
  count() AS n, countIf(call.6), sumMap([{_bin("call.5")}], [toUInt64(1)])
FROM component_calls FINAL ARRAY JOIN calls AS call
WHERE (tenant, start) IN (SELECT key.1, toDateTime(key.2, 'UTC') FROM (SELECT {_KEYS}))
GROUP BY tenant_, start, call.1, call.2, call.3, call.4 ORDER BY n DESC LIMIT {{most:UInt32}} BY tenant_, start {_SETTINGS}
"""

_Key = tuple[bytes, int]


class ClickHouseGraphSource:
    """ports.graph.GraphSource."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def touched(self, *, after_ns: int, limit: int) -> Touched:
        """See the port."""
        rows = await self._engine.rows(_TOUCHED, {"after": after_ns, "limit": limit})
        some = [TouchedBucket(_tenant(tenant), start * _NS, settled_ns) for tenant, start, settled_ns, _ in rows]
        return Touched(some, rows[0][3] if rows else 0)

    async def made(self, touched: Sequence[TouchedBucket]) -> Sequence[GraphBucket]:
        """See the port."""
        if not touched:
            return []
        parameters: Mapping[str, Any] = {
            "tenants": [one.tenant for one in touched],
            "starts": [one.start_ns // _NS for one in touched],
            "most": GRAPH_BUCKET_NODES_MAX + GRAPH_BUCKET_EDGES_MAX,
        }
        statements = (_UNITS, _SERVICES, _COMPONENTS)
        found = await asyncio.gather(*(self._engine.rows(statement, parameters) for statement in statements))
        # Thousands of histograms: not on the event loop.
        return await asyncio.to_thread(_buckets, touched, *found)


def _buckets(touched: Sequence[TouchedBucket], units: Sequence[Row], *others: Sequence[Row]) -> list[GraphBucket]:
    made: defaultdict[_Key, _Bucket] = defaultdict(_Bucket)
    for rows in (units, *others):
        for tenant, start, *row in rows:
            made[tenant, unix_seconds(start)].add(row, is_of_units=rows is units)
    return [made[one.tenant.encode(), one.start_ns // _NS].finished(one) for one in touched]


@dataclass(slots=True)
class _Counted:
    calls: int = 0
    errors: int = 0
    durations: list[Histogram] = field(default_factory=list)


@dataclass(slots=True)
class _Bucket:
    """A bucket in the making."""

    nodes: defaultdict[NodeKey, _Counted] = field(default_factory=lambda: defaultdict(_Counted))
    edges: list[EdgeCalls] = field(default_factory=list)

    def add(self, row: Row, *, is_of_units: bool) -> None:
        """A row counts the callee, unless that was counted as a unit; and a call, where its caller is known."""
        source_kind, source, kind, id_, calls, errors, durations, *gaps = row
        node, histogram = _node(kind, id_), _histogram(durations)
        counted = self.nodes[node]
        if is_of_units or node.kind is NodeKind.DATABASE:
            counted.calls += calls
            counted.errors += errors
            counted.durations.append(histogram)
        if source:
            caller = _node(source_kind, source)
            self.nodes.setdefault(caller, _Counted())
            gap = _histogram(gaps[0]) if gaps else Histogram()
            self.edges.append(EdgeCalls(caller, node, calls, errors, histogram, gap))

    def finished(self, touched: TouchedBucket) -> GraphBucket:
        nodes = [NodeCalls(key, of.calls, of.errors, merged(of.durations)) for key, of in self.nodes.items()]
        kept = sorted(nodes, key=lambda one: (-one.calls, one.node))[:GRAPH_BUCKET_NODES_MAX]
        known = {one.node for one in kept}
        between = [edge for edge in self.edges if edge.source in known and edge.target in known]
        edges = sorted(between, key=lambda one: (-one.calls, one.source, one.target))[:GRAPH_BUCKET_EDGES_MAX]
        return GraphBucket(
            tenant=touched.tenant,
            start_ns=touched.start_ns,
            nodes=kept,
            edges=edges,
            settled_ns=touched.settled_ns,
            left_out=len(nodes) - len(kept) + len(self.edges) - len(edges),
        )


def _node(kind: bytes, id_: bytes) -> NodeKey:
    """Names are cut to what graph databases index."""
    return NodeKey(NodeKind(kind.decode()), id_.decode(errors="replace")[:ID_LENGTH_MAX])


def _tenant(tenant: bytes) -> TenantId:
    return TenantId(tenant.decode())


def _histogram(pairs: tuple[Iterable[int], Iterable[int]]) -> Histogram:
    bins, counts = pairs
    return Histogram(tuple(bins), tuple(counts))
