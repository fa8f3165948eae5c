"""Reads what an agent's tasks used, and when its versions, models and prompts changed."""

from collections.abc import Mapping, Sequence
from typing import Final

from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.adapters.clickhouse.rollups import ROLLED_HOURS, Hours
from agent_tracer.server.adapters.clickhouse.sql import array, quoted
from agent_tracer.server.adapters.clickhouse.task_hours import AMOUNTS, KEYS, SUMS, measured
from agent_tracer.server.adapters.clickhouse.task_sums import (
    IN_RANGE,
    SETTINGS,
    SINGLE_HOURS,
    hours_of,
    parameters_of,
)
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.semantics import COLUMNS
from agent_tracer.server.limits import AGENT_CHANGES_MAX, AGENT_METRICS_MAX
from agent_tracer.server.ports.task_statistics import TaskQuery, TaskUsage

_START: Final = "toUnixTimestamp64Nano(start_time)"
_AGENT_KEYS: Final = array(quoted(k) for c in COLUMNS if c.name in {"agent_id", "agent_name"} for k in c.attributes)

_USAGE: Final = f"""
SELECT sumForEach(amounts), sum(busy), max(together) FROM (
  SELECT {AMOUNTS} AS amounts, toUInt64(intervalLengthSum({_START}, {_START} + duration_ns)) AS busy,
    toUInt32(maxIntersections({_START}, {_START} + duration_ns)) AS together
  FROM <tasks>
  UNION ALL
  SELECT arrayReduce('sumForEach', sums), busy_ns, peak FROM task_hours FINAL
  WHERE tenant = {{tenant:String}} AND agent_id = {{agent_id:String}} AND {ROLLED_HOURS}
) {SETTINGS}
"""

_METRICS: Final = f"""
SELECT metric, avg(coalesce(double_value, toFloat64(int_value))) FROM metric_points
WHERE tenant = {{tenant:String}} AND type IN (1, 2) AND NOT monotonic
  AND time >= fromUnixTimestamp64Nano({{from_ns:Int64}}, 'UTC') AND time < fromUnixTimestamp64Nano({{to_ns:Int64}}, 'UTC')
  AND arrayExists(k -> attributes[k] = {{agent_id:String}} OR resource[k] = {{agent_id:String}}, {_AGENT_KEYS})
GROUP BY metric ORDER BY metric LIMIT {AGENT_METRICS_MAX}
"""

_CHANGES: Final = f"""
SELECT changed.1 AS kind, changed.2 AS value, min(at) AS first FROM (
  SELECT {_START} AS at, arrayJoin([('agent version', toString(agent_version)), ('model', model),
    ('prompt version', toString(prompt_version))]) AS changed FROM <tasks>
  UNION ALL
  SELECT toInt64(toUnixTimestamp(hour)) * 1000000000, arrayJoin([('agent version', toString(agent_version_)),
    ('model', toString(model_)), ('prompt version', toString(prompt_version_))])
  FROM task_hours FINAL ARRAY JOIN {", ".join(f"{key} AS {key}_" for key in KEYS)}
  WHERE tenant = {{tenant:String}} AND agent_id = {{agent_id:String}} AND {ROLLED_HOURS}
) WHERE value != '' GROUP BY kind, value ORDER BY first LIMIT {AGENT_CHANGES_MAX} {SETTINGS}
"""


async def read_usage(engine: Engine, tenant: TenantId, query: TaskQuery) -> TaskUsage:
    """See ports.task_statistics.TaskReader.usage."""
    hours = await hours_of(engine, tenant, query)
    parameters = {**parameters_of(tenant, query), **hours.parameters}
    rows = await engine.rows(_USAGE.replace("<tasks>", _tasks(query, hours)), parameters)
    amounts, busy_ns, peak = rows[0]
    of = dict(zip(SUMS, amounts, strict=True))
    return TaskUsage(
        calls=int(of["calls"]),
        tool_calls=int(of["tool_calls"]),
        input_tokens=int(of["input_tokens"]),
        output_tokens=int(of["output_tokens"]),
        cost=of["all_cost"] if of["calls"] and not of["unpriced_calls"] else None,
        busy_ns=busy_ns,
        peak=peak,
        metrics=await _metrics(engine, parameters),
    )


async def _metrics(engine: Engine, parameters: Mapping[str, object]) -> Mapping[str, float]:
    return {name.decode(errors="replace"): mean for name, mean in await engine.rows(_METRICS, parameters)}


async def read_changes(engine: Engine, tenant: TenantId, query: TaskQuery) -> Sequence[tuple[int, str]]:
    """See ports.task_statistics.TaskReader.changes."""
    hours = await hours_of(engine, tenant, query)
    parameters = {**parameters_of(tenant, query), **hours.parameters}
    rows = await engine.rows(_CHANGES.replace("<tasks>", _tasks(query, hours)), parameters)
    seen: set[bytes] = set()
    changes = []
    for kind, value, first_ns in rows:
        # What a period begins with is no change.
        if kind in seen:
            changes.append((first_ns, f"{kind.decode()} {value.decode(errors='replace')}"))
        seen.add(kind)
    return changes


def _tasks(query: TaskQuery, hours: Hours) -> str:
    conditions = ["agent_id = {agent_id:String}", IN_RANGE]
    if hours.rolled:
        conditions.append(SINGLE_HOURS)
    if query.task_type:
        conditions.append("task_type = {task_type:String}")
    return measured(" AND ".join(conditions))
