"""The statements of one batch of the settler, in the order in which they run.

A batch's spans stand in a table in memory, numbered from 1 in the order of their ids. A tree is then an array of the
parents' numbers, and "the nearest ancestor that ..." is an array of pointers: a span that fits points at itself, any
other at its parent. Following the pointers HOPS times, then taking the result as the new pointers, resolves chains of
HOPS, HOPS^2, ... spans, so that depth has no bound. The arrays are scalars of the statement: looking up a constant
array costs some nanoseconds, whereas an array captured from a row would be copied for each of its elements.

All of them run on one thread, which keeps a memory table's rows in the order of their numbers.
"""

from typing import Final

from agent_tracer.server.adapters.clickhouse.graph_settling import DATABASE
from agent_tracer.server.adapters.clickhouse.views import RANK, ROOT_STATUS, WORST_STATUS, first_by_rank

HOPS: Final = 16

_TOKENS: Final = (
    "input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens", "reasoning_tokens",
)  # fmt: skip
_SERVER, _CLIENT, _CONSUMER = 2, 3, 5
"""OTLP's SpanKind by number."""
_NO_SPAN: Final = "toFixedString('', 8)"
_NAME: Final = "LowCardinality(String)"
_TIME: Final = "DateTime64(9, 'UTC')"
_METADATA: Final = "Array(Tuple(key String, type UInt8, value String))"

_SPAN_TYPES: Final = {
    "tenant": _NAME, "trace_id": "FixedString(16)", "span_id": "FixedString(8)", "parent_span_id": "FixedString(8)",
    "received_at": _TIME, "start_time": _TIME, "duration_ns": "UInt64", "name": _NAME, "otel_kind": "Int8",
    "service": _NAME, "agent_id": _NAME, "agent_name": _NAME, "agent_type": _NAME, "agent_version": _NAME,
    "workflow_id": _NAME, "task_id": "String", "task_type": _NAME, "session_id": "String", "provider": _NAME,
    "model": _NAME, "tool_name": _NAME, "error_type": _NAME, "prompt_version": _NAME, "is_call": "Bool",
    **dict.fromkeys(_TOKENS, "UInt32"), "cost": "Nullable(Float64)",
}  # fmt: skip
# Joins on numbers and ids of fixed length take a third of those on a tenant's name.
_MADE_TYPES: Final = {
    "tenant_key": "UInt64",
    "ended": _NAME,
    "is_tool": "Bool",
    "is_counted": "Bool",
    "database": _NAME,
}

_UNIT_TYPES: Final = {
    "unit": "Int8", "tenant_key": "UInt64", "n": "UInt32", "agent_n": "UInt32", "tenant": _NAME, "trace_id": "FixedString(16)",
    "received_at": _TIME, "operation": _NAME, "quiet_status": _NAME, "span_id": "FixedString(8)", "start_time": _TIME,
    "duration_ns": "UInt64", "status": _NAME, "agent_id": _NAME, "task_type": _NAME, "service": _NAME,
    "workflow_id": _NAME, "model": _NAME, "provider": _NAME, "tool_name": _NAME, **dict.fromkeys(_TOKENS, "UInt64"),
    "cost": "Float64", "unpriced": "UInt32", "calls": "UInt32", "tool_calls": "UInt32", "models": f"Array({_NAME})",
    "prompt_version": _NAME, "agent_name": _NAME, "agent_type": _NAME, "agent_version": _NAME, "task_id": "String",
    "session_id": "String", "name": _NAME, "error_type": _NAME, "hour": "DateTime('UTC') DEFAULT toStartOfHour(start_time)",
    "task_agent": f"{_NAME} DEFAULT if(unit = 3, agent_id, '')",
}  # fmt: skip


def _memory(table: str, columns: dict[str, str]) -> str:
    listed = ", ".join(f"{name} {type_}" for name, type_ in columns.items())
    return f"CREATE TABLE IF NOT EXISTS {table} ({listed}) ENGINE = Memory"


_POINTERS: Final = "Array(UInt32)"
SCRATCH: Final = {
    "settle_touched": {
        "tenant": _NAME, "trace_id": "FixedString(16)", "received_at": _TIME, "spans": "UInt64",
        "hours": "Array(DateTime('UTC'))", "is_new": "Bool", "batch": "UInt32",
        "span_metadata": f"Array(Tuple(span_id FixedString(8), metadata {_METADATA}))",
    },
    "settle_spans": {"n": "UInt32", **_SPAN_TYPES, **_MADE_TYPES},
    "settle_parents": {"step": "UInt8", "parent": _POINTERS, "is_backward": "Array(UInt8)"},
    "settle_heirs": {"step": "UInt8", "agent": _POINTERS, "workflow": _POINTERS, "task_type": _POINTERS},
    "settle_owners": {"step": "UInt8", "task": _POINTERS, "entry": _POINTERS},
    "settle_traces": {
        "head": "UInt32", "session_id": "String", "hours": "Array(DateTime('UTC'))",
        **{c: _UNIT_TYPES[c] for c in (
            "tenant", "tenant_key", "trace_id", "received_at", "operation", "quiet_status", "start_time", "duration_ns", "status",
            "agent_id", "task_type", "workflow_id", "service", *_TOKENS, "cost", "unpriced", "calls", "tool_calls")},
    },
    "settle_units": _UNIT_TYPES,
    "settle_former": {
        **{c: _UNIT_TYPES[c] for c in ("tenant", "unit", "trace_id", "span_id", "start_time")},
        "hour": "DateTime('UTC')", "task_agent": _NAME,
    },
}  # fmt: skip
"""Tables in memory, by name; they hold one batch (settle_touched: one pass)."""

CREATE_SCRATCH: Final = tuple(_memory(table, columns) for table, columns in SCRATCH.items())

_FROM_NS: Final = "fromUnixTimestamp64Nano({%s:Int64}, 'UTC')"
RECEIVED: Final = f"received_at >= {_FROM_NS % 'first'} AND received_at <= {_FROM_NS % 'last'}"
SETTLED_AT: Final = _FROM_NS % "settled_at"

UNFILTERED: Final = "SETTINGS ignore_data_skipping_indices = 'trace_id_bloom'"
"""A bloom filter says nothing when it is asked for thousands of ids, and asking is not free."""

TOO_LARGE: Final = 2**32 - 1
"""The batch of traces with more spans than are settled."""

TOUCHED: Final = (
    f"""
INSERT INTO settle_touched (tenant, trace_id, received_at, spans, hours, is_new, span_metadata, batch)
SELECT *, if(spans > {{trace_spans:UInt32}}, {TOO_LARGE},
  intDiv(sum(least(spans, {{trace_spans:UInt32}})) OVER (ORDER BY first DESC, trace_id ROWS UNBOUNDED PRECEDING) - 1,
    {{batch_spans:UInt32}}))
FROM (
  SELECT tenant, trace_id, min(received_at) AS first, sum(length(span_ids)) AS spans,
    arrayDistinct(groupArrayArray(hours)), first >= {_FROM_NS % "new_from"}, groupArrayArray(span_metadata)
  FROM traces WHERE trace_id IN (SELECT trace_id FROM traces WHERE {RECEIVED})
  GROUP BY tenant, trace_id
)
""".replace("{", "{{").replace("}", "}}")
    + "{settings}"
)
"""The traces of which spans were received in the range, with what is known of each, in batches. Newest first, since a
batch reads all parts of `spans` that were received after its oldest span was."""

BATCHES: Final = """
SELECT batch, toUnixTimestamp64Nano(min(received_at)), sum(spans), max(spans), countIf(NOT is_new)
FROM settle_touched GROUP BY batch ORDER BY batch
"""

_KEYS: Final = "SELECT tenant, arrayJoin(hours), trace_id FROM settle_touched WHERE batch = {batch:UInt32}"

SPANS: Final = f"""
INSERT INTO settle_spans (n, {", ".join((*_SPAN_TYPES, *_MADE_TYPES))})
SELECT toUInt32(rowNumberInAllBlocks() + 1), * FROM (
  SELECT {", ".join(f"s.{c} AS {c}" for c in _SPAN_TYPES)}, cityHash64(s.tenant) AS tenant_key, {ROOT_STATUS},
    NOT s.is_call AND (s.kind = 'tool' OR s.tool_name != ''),
    s.is_call AND (s.input_tokens + s.output_tokens > 0 OR s.cost IS NOT NULL), {DATABASE}
  FROM spans AS s
  WHERE (s.tenant, toStartOfHour(s.start_time), s.trace_id) IN ({_KEYS}) AND s.received_at >= {_FROM_NS % "received"}
  LIMIT 1 BY tenant_key, s.trace_id, s.span_id
) {UNFILTERED}
"""

PARENTS: Final = """
INSERT INTO settle_parents SELECT 0, groupArray(parent), groupArray(is_backward) FROM (
  SELECT if(p.n = c.n, 0, p.n) AS parent, p.n > 0 AND (p.start_time, p.span_id) >= (c.start_time, c.span_id) AS is_backward
  FROM settle_spans AS c ANY LEFT JOIN settle_spans AS p
  ON c.tenant_key = p.tenant_key AND c.trace_id = p.trace_id AND c.parent_span_id = p.span_id ORDER BY c.n
)
"""
HAS_BACKWARD: Final = "SELECT arrayExists(b -> b, is_backward) FROM settle_parents WHERE step = 0"
"""A cycle has at least one span that began before its parent did."""

_PARENTS: Final = "(SELECT parent FROM settle_parents ORDER BY step DESC LIMIT 1) AS parents"


def _scalar(table: str, column: str, name: str) -> str:
    return f"(SELECT {column} FROM {table} ORDER BY step DESC LIMIT 1) AS {name}"


def jump(table: str) -> str:
    """Replace each array of pointers by what is reached in HOPS steps. Without `is_backward`, which are no pointers."""
    columns = [c for c, type_ in SCRATCH[table].items() if type_ == _POINTERS]
    scalars = ", ".join(_scalar(table, c, f"{c}_pointers") for c in columns)
    hops = ", ".join(f"arrayMap(x -> {f'{c}_pointers[' * HOPS}x{']' * HOPS}, {c}_pointers)" for c in columns)
    return (
        f"INSERT INTO {table} (step, {', '.join(columns)}) WITH {scalars}, (SELECT max(step) FROM {table}) AS last "
        f"SELECT last + 1, {hops}"
    )


CUT_CYCLES: Final = f"""
INSERT INTO settle_parents
WITH {_scalar("settle_parents", "parent", "reached")},
  (SELECT parent FROM settle_parents WHERE step = 0) AS own,
  (SELECT is_backward FROM settle_parents WHERE step = 0) AS backward
SELECT 255, groupArray(if(backward[n] AND n IN (SELECT arrayJoin(reached)), 0, own[n])), [] FROM settle_spans
"""
"""What is still reached after more hops than there are spans lies on a cycle."""

HEIRS: Final = f"""
INSERT INTO settle_heirs WITH {_PARENTS}
SELECT 0, groupArray(if(agent_id != '', n, parents[n])), groupArray(if(workflow_id != '', n, parents[n])),
  groupArray(if(task_type != '', n, parents[n]))
FROM settle_spans
"""

OWNERS: Final = f"""
INSERT INTO settle_owners
WITH {_PARENTS}, {_scalar("settle_heirs", "agent", "agents")},
  (SELECT groupArray(cityHash64(agent_id)) FROM settle_spans) AS ids,
  (SELECT groupArray(cityHash64(service)) FROM settle_spans) AS services
SELECT 0,
  groupArray(if(task_id != '' OR (agent_id != '' AND ids[agents[parents[n]]] != ids[n]), n, parents[n])),
  groupArray(if(parents[n] = 0 OR services[parents[n]] != services[n] OR otel_kind IN ({_SERVER}, {_CONSUMER}), n, parents[n]))
FROM settle_spans
"""
"""A task's pointer is where its agent is not that of the parent; an entry's where its service is not, or a server's."""

_IS_ROOT: Final = f"parent_span_id = {_NO_SPAN}"


_SUMS: Final = ", ".join(
    (*(f"sumIf({c}, is_counted)" for c in _TOKENS), "ifNull(sum(cost), 0)", "countIf(is_counted AND cost IS NULL)")
)
_COUNTS: Final = "countIf(is_call), countIf(is_tool)"

TRACES: Final = f"""
INSERT INTO settle_traces (tenant, tenant_key, trace_id, head, hours, received_at, start_time, duration_ns, operation, status,
  quiet_status, agent_id, task_type, workflow_id, session_id, service, {", ".join(_TOKENS)}, cost, unpriced, calls, tool_calls)
WITH {_IS_ROOT} AS is_root, countIf(is_root) AS roots, toUnixTimestamp64Nano(start_time) AS start_ns,
  {RANK.format(start_time="start_time")} AS rank
SELECT any(tenant), tenant_key, trace_id, min(n), groupUniqArray(toStartOfHour(start_time)), max(received_at), min(start_time),
  max(start_ns + duration_ns) - min(start_ns),
  if(roots > 0, argMinIf(name, start_time, is_root), argMin(name, start_time)),
  if(roots > 0, {WORST_STATUS}[maxIf(indexOf({WORST_STATUS}, ended), is_root)], 'running'),
  if(roots > 0, '', argMin(ended, start_time)),
  {", ".join(first_by_rank(c, f"{c}_") for c in ("agent_id", "task_type", "workflow_id", "session_id", "service"))},
  {_SUMS}, {_COUNTS}
FROM settle_spans GROUP BY tenant_key, trace_id
"""

TRACE_UNITS: Final = """
INSERT INTO settle_units (unit, n, {columns}) SELECT 1, head, {columns} FROM settle_traces
""".format(columns=", ".join(c for c in SCRATCH["settle_traces"] if c not in ("head", "session_id", "hours")))

_OWN_OR_OWNED: Final = ", ".join(
    (
        *(f"if(unit = 5, h.{c}, o.{c}_sum)" for c in _TOKENS),
        "if(unit = 5, ifNull(h.cost, 0), o.cost_sum)",
        "if(unit = 5, toUInt32(h.is_counted AND h.cost IS NULL), o.unpriced)",
    )
)

SPAN_UNITS: Final = f"""
INSERT INTO settle_units (unit, n, agent_n, tenant, tenant_key, trace_id, received_at, operation, span_id, start_time, duration_ns,
  status, agent_id, task_type, service, workflow_id, model, provider, tool_name, {", ".join(_TOKENS)}, cost, unpriced, calls,
  tool_calls, models, prompt_version, agent_name, agent_type, agent_version, task_id, session_id, name, error_type)
WITH {_scalar("settle_heirs", "agent", "agents")}, {_scalar("settle_heirs", "workflow", "workflows")},
  {_scalar("settle_heirs", "task_type", "types")}, {_scalar("settle_owners", "task", "tasks")},
  {_scalar("settle_owners", "entry", "entries")},
  (SELECT groupArray(toString(agent_id)) FROM settle_spans) AS agent_ids,
  (SELECT groupArray(toString(workflow_id)) FROM settle_spans) AS workflow_ids,
  (SELECT groupArray(toString(task_type)) FROM settle_spans) AS task_types
SELECT h.unit AS unit, h.n, h.agent_n, h.tenant, h.tenant_key, h.trace_id, t.received_at, t.operation, h.span_id, h.start_time,
  h.duration_ns, h.ended, agent_ids[h.agent_n],
  task_types[if(h.task = 0 OR h.type_n = h.task OR tasks[h.type_n] = 0, h.type_n, 0)], h.service,
  if(h.workflow_n > 0, workflow_ids[h.workflow_n], t.workflow_id), h.model, h.provider, h.tool_name, {_OWN_OR_OWNED},
  o.calls, o.tool_calls, o.models, if(h.prompt_version != '', h.prompt_version, o.prompt_version), h.agent_name,
  h.agent_type, h.agent_version, h.task_id, if(h.session_id != '', h.session_id, t.session_id), h.name, h.error_type
FROM (
  SELECT *, tasks[n] AS task, types[if(task = 0, n, task)] AS type_n, agents[n] AS agent_n, workflows[n] AS workflow_n,
    arrayJoin(arrayFilter(u -> u > 0, [if(is_call, 5, 0), if(is_tool, 4, 0), if(task = n, 3, 0), if(entries[n] = n, 2, 0)]))
      AS unit
  FROM settle_spans
) AS h
LEFT JOIN (
  SELECT owner.1 AS unit, owner.2 AS n, {_COUNTS.replace(",", " AS calls,")} AS tool_calls,
    {", ".join(f"sumIf({c}, is_counted) AS {c}_sum" for c in _TOKENS)},
    ifNull(sum(cost), 0) AS cost_sum, toUInt32(countIf(is_counted AND cost IS NULL)) AS unpriced,
    groupUniqArrayIf(model, model != '') AS models, argMinIf(prompt_version, start_time, prompt_version != '') AS prompt_version
  FROM (SELECT *, arrayJoin([(3, tasks[n]), (2, entries[n])]) AS owner FROM settle_spans WHERE is_call OR is_tool)
  WHERE owner.2 > 0 GROUP BY unit, n
) AS o ON h.unit = o.unit AND h.n = o.n
LEFT JOIN settle_traces AS t ON h.tenant_key = t.tenant_key AND h.trace_id = t.trace_id
"""
"""Calls, tools, tasks and entries, each with its own usage or that of the calls it owns. A task has the type of its
span, else that of the nearest ancestor outside of other tasks; what belongs to a task has the task's type."""

HOURS: Final = f"""
INSERT INTO settled_hours (tenant, hour, received_at, settled_at)
SELECT tenant, hour, max(received_at), {SETTLED_AT} FROM settle_traces ARRAY JOIN hours AS hour GROUP BY tenant, hour
"""

_COPIED: Final = (
    "tenant", "unit", "hour", "trace_id", "span_id", "task_agent", "received_at", "start_time", "duration_ns", "operation",
    "status", "quiet_status", "agent_id", "task_type", "service", "workflow_id", "model", "provider", "tool_name", *_TOKENS,
    "cost", "unpriced",
)  # fmt: skip

UNITS: Final = f"""
INSERT INTO units (is_unit, settled_at, {", ".join(_COPIED)}) SELECT true, {SETTLED_AT}, {", ".join(_COPIED)} FROM settle_units
"""

FORMER: Final = """
INSERT INTO settle_former
SELECT f.tenant, CAST(f.unit, 'Int8') AS former_unit, f.trace_id, f.span_id, f.start_time, f.hour, f.task_agent
FROM (
  SELECT *, cityHash64(tenant) AS tenant_key FROM units FINAL
  WHERE (tenant, unit, hour, trace_id) IN (
    SELECT tenant, arrayJoin(['trace', 'entry', 'task', 'tool', 'call']), arrayJoin(hours), trace_id
    FROM settle_touched WHERE batch = {batch:UInt32} AND NOT is_new)
) AS f
LEFT ANTI JOIN settle_units AS u
ON f.tenant_key = u.tenant_key AND f.trace_id = u.trace_id AND f.span_id = u.span_id
  AND CAST(f.unit, 'Int8') = u.unit AND f.start_time = u.start_time AND f.task_agent = u.task_agent
WHERE f.is_unit
"""
"""Units of an earlier time that are none any more, read after UNITS. Their rows in `units` are withdrawn last, so that a
crash before that leaves them to be found again, with their rows in `tasks`."""

WITHDRAWN_TASKS: Final = f"""
INSERT INTO tasks (tenant, received_at, settled_at, agent_id, start_time, trace_id, span_id, is_task)
SELECT tenant, {SETTLED_AT}, {SETTLED_AT}, task_agent, start_time, trace_id, span_id, false FROM settle_former WHERE unit = 3
"""
WITHDRAWN_UNITS: Final = f"""
INSERT INTO units (tenant, unit, hour, trace_id, span_id, task_agent, is_unit, received_at, settled_at, start_time)
SELECT tenant, unit, hour, trace_id, span_id, task_agent, false, {SETTLED_AT}, {SETTLED_AT}, start_time FROM settle_former
"""

_RETRIES: Final = """
SELECT task, toUInt32(sum(attempts)) AS retries FROM (
  SELECT tasks[n] AS task, minIf(start_time + toIntervalNanosecond(duration_ns), ended != 'success') AS failed_at,
    arrayCount(t -> t >= failed_at, groupArray(start_time)) AS attempts
  FROM settle_spans
  WHERE (is_call OR is_tool) AND parents[n] > 0 AND parents[n] IN (
    SELECT parents[n] FROM settle_spans WHERE (is_call OR is_tool) AND ended != 'success')
  GROUP BY task, parents[n], is_call, model, tool_name HAVING countIf(ended != 'success') > 0
) GROUP BY task
"""
"""Calls of the same model or tool under the same parent that began after one of them had failed."""

TASKS: Final = f"""
INSERT INTO tasks (tenant, received_at, settled_at, agent_id, start_time, trace_id, span_id, is_task, agent_name, agent_type,
  agent_version, task_id, task_type, workflow_id, session_id, service, name, duration_ns, status, error_type, calls,
  tool_calls, retries, {", ".join(_TOKENS)}, cost, unpriced_calls, models, prompt_version, metadata)
WITH {_PARENTS}, {_scalar("settle_owners", "task", "tasks")}
SELECT u.tenant, u.received_at, {SETTLED_AT}, u.agent_id, u.start_time, u.trace_id, u.span_id, true,
  if(u.agent_n = u.n, u.agent_name, a.agent_name), if(u.agent_n = u.n, u.agent_type, a.agent_type),
  if(u.agent_n = u.n, u.agent_version, a.agent_version), u.task_id, u.task_type, u.workflow_id, u.session_id, u.service,
  u.name, u.duration_ns, u.status, u.error_type, u.calls, u.tool_calls, r.retries,
  {", ".join(f"u.{c}" for c in _TOKENS)}, u.cost, u.unpriced, u.models, u.prompt_version, m.metadata
FROM (SELECT * FROM settle_units WHERE unit = 3) AS u
LEFT JOIN (
  SELECT n, agent_name, agent_type, agent_version FROM settle_spans
  WHERE n IN (SELECT agent_n FROM settle_units WHERE unit = 3 AND agent_n != n)
) AS a ON a.n = u.agent_n
LEFT JOIN ({_RETRIES}) AS r ON r.task = u.n
ANY LEFT JOIN (
  SELECT cityHash64(tenant) AS tenant_key, trace_id, item.span_id AS span_id, item.metadata AS metadata
  FROM settle_touched ARRAY JOIN span_metadata AS item WHERE batch = {{batch:UInt32}}
) AS m ON u.tenant_key = m.tenant_key AND u.trace_id = m.trace_id AND u.span_id = m.span_id
"""

EDGES: Final = f"""
INSERT INTO service_edges (tenant, received_at, settled_at, minute, caller, callee, trace_id, calls, errors, server_ns,
  client_ns, server_ns_sum, client_ns_sum, gap_ns_sum, gaps)
WITH {_PARENTS}, (SELECT groupArray(cityHash64(service)) FROM settle_spans) AS services
SELECT c.tenant, max(c.received_at), {SETTLED_AT}, toStartOfMinute(c.start_time) AS minute, p.service, c.service, c.trace_id,
  count(), countIf(c.ended != 'success' OR (is_timed AND p.ended != 'success')),
  groupArray(c.duration_ns), groupArray(client_ns), sum(c.duration_ns), sum(client_ns),
  sumIf(toInt64(client_ns) - toInt64(c.duration_ns), is_timed), countIf(is_timed)
FROM (SELECT *, parents[n] AS parent FROM settle_spans
  WHERE parents[n] > 0 AND services[parents[n]] != services[n] AND service != '') AS c
INNER JOIN (SELECT n, service, ended, otel_kind = {_CLIENT} AS is_timed, if(is_timed, duration_ns, 0) AS client_ns
  FROM settle_spans WHERE service != '') AS p
ON p.n = c.parent
GROUP BY c.tenant, minute, p.service, c.service, c.trace_id
"""
"""A call is a span whose parent is another service's. The caller's time counts where its span is a client's, since
other spans do more than wait for one callee."""
