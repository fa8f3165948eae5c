"""What the settler does for the graph: statements of a batch, run beside those of settle_sql, whose tables they read."""

from typing import Final

from agent_tracer.server.adapters.clickhouse.spans import OF_TRACE


def _first(attributes: tuple[str, ...]) -> str:
    """The first of the span's attributes that is not empty."""
    texts = ", ".join(f"s.attributes['{name}']" for name in attributes)
    return f"arrayFirst(x -> x != '', [{texts}])"


# OpenTelemetry's semantic conventions for databases, stable names first, then older ones and OpenTracing's.
_SYSTEM: Final = ("db.system.name", "db.system", "db.type")
_WHICH: Final = ("db.namespace", "db.name", "db.instance", "server.address", "net.peer.name", "peer.service")

DATABASE: Final = f"""
if(arrayExists(k -> startsWith(k, 'db.'), mapKeys(s.attributes)) AND {_first(_SYSTEM)} != '',
  concat({_first(_SYSTEM)}, if({_first(_WHICH)} = '', '', concat('/', {_first(_WHICH)}))), '')
"""
"""The database that a row `s` of `spans` calls, such as postgresql/orders; empty for a span that calls none."""

_SETTLED_AT: Final = "fromUnixTimestamp64Nano({settled_at:Int64}, 'UTC')"
_START: Final = "toStartOfFiveMinutes(start_time)"


def _last(table: str, column: str, name: str) -> str:
    return f"(SELECT {column} FROM {table} ORDER BY step DESC LIMIT 1) AS {name}"


CALLS: Final = f"""
INSERT INTO component_calls (tenant, received_at, settled_at, start, trace_id, calls)
WITH {_last("settle_parents", "parent", "parents")}, {_last("settle_heirs", "agent", "agents")},
  {_last("settle_owners", "task", "tasks")}, (SELECT groupArray(toString(agent_id)) FROM settle_spans) AS agent_ids
SELECT any(tenant), max(received_at), {_SETTLED_AT}, start, trace_id,
  groupArrayIf((source_kind, source, target_kind, target, duration_ns, failed), target != '' AND source != '') AS made
FROM (
  SELECT tenant, tenant_key, trace_id, received_at, {_START} AS start, duration_ns, ended != 'success' AS failed,
    agent_ids[agents[n]] AS agent, agent_ids[agents[parents[n]]] AS caller,
    tasks[n] = n AND agent != '' AND agent != caller AS is_agent,
    multiIf(is_agent, 'agent', database != '', 'database', '') AS target_kind,
    multiIf(is_agent, agent, database) AS target,
    if(is_agent, caller, agent) AS calling_agent,
    if(calling_agent != '', 'agent', 'service') AS source_kind, if(calling_agent != '', calling_agent, service) AS source
  FROM settle_spans
)
GROUP BY tenant_key, trace_id, start
HAVING notEmpty(made) OR (any(tenant), trace_id) IN (
  SELECT tenant, trace_id FROM settle_touched WHERE batch = {{batch:UInt32}} AND NOT is_new)
"""
"""Calls of agents by agents, or by the service that they run in, and of databases. A trace that was settled before may
have a row to replace."""

BUCKETS: Final = f"""
INSERT INTO settled_buckets (tenant, start, received_at, settled_at)
SELECT tenant, start, max(received_at), {_SETTLED_AT} FROM (
  SELECT tenant, {_START} AS start, received_at FROM settle_spans
  UNION ALL SELECT tenant, {_START}, {_SETTLED_AT} FROM settle_former
) GROUP BY tenant, start
"""
"""Last of a batch's statements: who sees the buckets reads rows that are all there."""

BUCKETS_OF_TRACE: Final = f"""
SELECT DISTINCT toUnixTimestamp({_START}) FROM (
  SELECT start_time FROM units WHERE {OF_TRACE}
  UNION ALL SELECT minute FROM service_edges WHERE {OF_TRACE}
  UNION ALL SELECT start FROM component_calls WHERE {OF_TRACE}
)
"""
"""Which buckets a trace is part of."""

BUCKETS_CHANGED: Final = """
INSERT INTO settled_buckets (tenant, start, received_at, settled_at)
SELECT {tenant:String}, toDateTime(arrayJoin({starts:Array(UInt32)}), 'UTC'), now64(9),
  greatest(now64(9), (SELECT max(settled_at) FROM settled_buckets) + toIntervalNanosecond(1))
"""
"""Buckets that are to be made anew: what is read of them before is later known to be former."""
