"""Reads judgements of an agent's tasks."""

from collections.abc import Sequence
from typing import Final

from agent_tracer.server.adapters.clickhouse.engine import Engine, Row
from agent_tracer.server.adapters.clickhouse.rollups import Hours
from agent_tracer.server.adapters.clickhouse.task_hours import TASK_TYPE
from agent_tracer.server.adapters.clickhouse.task_sums import IN_RANGE, SETTINGS, bucket, parameters_of
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.task_sums import Moments, QualitySums
from agent_tracer.server.limits import EVALUATIONS_SCORED_MAX, TASK_SUMS_MAX
from agent_tracer.server.ports.task_statistics import TaskQuery

_VARIANTS: Final = {
    "": "['']",
    "agent_version": "[toString(agent_version)]",
    "prompt_version": "[toString(prompt_version)]",
    "model": "arrayMap(m -> toString(m), models)",
}
"""Attribute -> a task's variants. Other attributes have no judgements of their own."""

_GIVEN: Final = (
    "tenant = {tenant:String} AND score IS NOT NULL AND create_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')"
)
_IS_ANY: Final = f"SELECT 1 FROM evaluations WHERE {_GIVEN} LIMIT 1"
_EVALUATIONS: Final = f"""(
  SELECT trace_id, span_id AS named, toString(name) AS name, least(greatest(assumeNotNull(score), 0), 1) AS points
  FROM evaluations FINAL WHERE {_GIVEN} ORDER BY create_time DESC LIMIT {EVALUATIONS_SCORED_MAX})"""

# By hand instead of FINAL, which would unite millions of tasks before it looks for the few that were judged.
_TASKS: Final = f"""(
  SELECT trace_id, toString(span_id) AS task, argMax({TASK_TYPE}, settled_at) AS type,
    toUnixTimestamp64Nano(start_time) AS start_ns, argMax(<variants>, settled_at) AS variants
  FROM tasks
  WHERE tenant = {{tenant:String}} AND agent_id = {{agent_id:String}} AND {IN_RANGE}
    AND trace_id IN (SELECT trace_id FROM {_EVALUATIONS})
  GROUP BY start_time, trace_id, span_id HAVING argMax(is_task, settled_at) <of_type>)"""

# Whose a judged span is, as far as the settler tells: that of tasks and of calls of models and tools.
_OWNERS: Final = """(
  SELECT trace_id, toString(span_id) AS named, any(agent_id) AS owner FROM units FINAL
  WHERE is_unit AND (tenant, unit, hour, trace_id) IN (
    SELECT {tenant:String}, arrayJoin(['task', 'tool', 'call']),
      toStartOfHour(fromUnixTimestamp64Nano(start_ns, 'UTC')) + arrayJoin([0, 3600]), trace_id FROM <tasks>)
  GROUP BY trace_id, named)"""

_JUDGED: Final = f"""
SELECT <bucket> AS bucket, type, variant, name, count(), sum(points), sum(points * points)
FROM (
  SELECT start_ns, type, arrayJoin(variants) AS variant, name, points
  FROM <tasks> AS t
  INNER JOIN (
    SELECT e.trace_id AS trace_id, e.named AS named, name, points, owner
    FROM {_EVALUATIONS} AS e LEFT JOIN {_OWNERS} AS o ON e.trace_id = o.trace_id AND e.named = o.named
  ) AS judged ON t.trace_id = judged.trace_id
  WHERE named = '' OR named = task OR (owner IN ('', {{agent_id:String}})
    AND (judged.trace_id, named) NOT IN (SELECT trace_id, task FROM <tasks>))
) <wanted>
GROUP BY bucket, type, variant, name ORDER BY bucket, type, variant, name LIMIT {TASK_SUMS_MAX} {SETTINGS}
"""


async def read_quality_sums(engine: Engine, tenant: TenantId, query: TaskQuery) -> Sequence[QualitySums]:
    """See ports.task_statistics.TaskReader.quality_sums."""
    parameters = parameters_of(tenant, query)
    if query.attribute not in _VARIANTS or not await engine.rows(_IS_ANY, parameters):
        return ()
    return [_quality_sums(row) for row in await engine.rows(_statement(query), parameters)]


def _statement(query: TaskQuery) -> str:
    pieces = {
        "<tasks>": _TASKS,
        "<variants>": _VARIANTS[query.attribute],
        "<of_type>": "AND type = {task_type:String}" if query.task_type else "",
        "<wanted>": "WHERE has({values:Array(String)}, variant)" if query.attribute else "",
        "<bucket>": bucket(query, Hours(), "start_ns"),
    }
    statement = _JUDGED
    for place, text in pieces.items():
        statement = statement.replace(place, text)
    return statement


def _quality_sums(row: Row) -> QualitySums:
    start_ns, task_type, variant, name, count, total, squares = row
    return QualitySums(
        name=_text(name),
        task_type=_text(task_type),
        start_ns=start_ns,
        scores=Moments(count, total, squares),
        variant=_text(variant),
    )


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
