"""Reads sums of an agent's tasks: single tasks where they are few, hours of them where they are many."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from agent_tracer.server.adapters.clickhouse.engine import Engine, Row
from agent_tracer.server.adapters.clickhouse.rollups import HOUR_NS, ROLLED_HOURS, Hours, read_settled_hours
from agent_tracer.server.adapters.clickhouse.task_hours import AMOUNTS, KEYS, SUMS, measured
from agent_tracer.server.domain.ids import AgentId, TenantId
from agent_tracer.server.domain.task_sums import Moments, TaskSums
from agent_tracer.server.domain.telemetry import TimeRange
from agent_tracer.server.limits import REPEATED_TASKS_MAX, TASK_SUMS_MAX, TASKS_SINGLE_MAX
from agent_tracer.server.ports.task_statistics import TaskQuery, TooManyTaskTypesError

IN_RANGE: Final = (
    "start_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC') "
    "AND start_time < fromUnixTimestamp64Nano({to_ns:Int64}, 'UTC')"
)
SINGLE_HOURS: Final = "toStartOfHour(start_time) IN (SELECT toDateTime(arrayJoin({single:Array(UInt32)}), 'UTC'))"
SETTINGS: Final = "SETTINGS do_not_merge_across_partitions_select_final = 1"
_OF_AGENT: Final = "agent_id = {agent_id:String}"
_START: Final = "toUnixTimestamp64Nano(start_time)"
_HOUR_START: Final = "toInt64(toUnixTimestamp(hour)) * 1000000000"
_TASK_BY_ITSELF: Final = "cityHash64(trace_id, span_id)"

_WANTED: Final = "arrayJoin(arrayFilter(v -> has({models}, v), {{values:Array(String)}}))"
_VARIANTS: Final = {
    "": ("''", "''"),
    "agent_version": ("agent_version", "agent_version_"),
    "prompt_version": ("prompt_version", "prompt_version_"),
    "model": (_WANTED.format(models="models"), _WANTED.format(models="splitByString(', ', model_)")),
}
"""Attribute -> a task's variant, of a single task and of a group of an hour's. Others are looked up in spans."""

_OF_SPAN: Final = f"""
INNER JOIN (
  SELECT trace_id, span_id, arrayFirst(v -> v != '', [attributes[{{attribute:String}}],
    attributes[concat('metadata.', {{attribute:String}})], resource[{{attribute:String}}]]) AS attribute_value
  FROM spans WHERE tenant = {{tenant:String}} AND trace_id IN (
    SELECT trace_id FROM tasks WHERE tenant = {{tenant:String}} AND {_OF_AGENT} AND {IN_RANGE})
  LIMIT 1 BY trace_id, span_id
) AS s USING (trace_id, span_id)"""

_COUNT: Final = f"""
SELECT count() FROM (
  SELECT 1 FROM tasks WHERE tenant = {{tenant:String}} AND is_task AND {_OF_AGENT} AND {IN_RANGE} LIMIT {{limit:UInt32}}
)
"""
_IS_AGENT: Final = f"SELECT 1 FROM tasks WHERE tenant = {{tenant:String}} AND is_task AND {_OF_AGENT} LIMIT 1"


async def is_agent(engine: Engine, tenant: TenantId, agent_id: AgentId) -> bool:
    """See ports.task_statistics.TaskReader.is_agent."""
    return bool(await engine.rows(_IS_AGENT, {"tenant": tenant, "agent_id": agent_id}))


async def count_tasks(engine: Engine, tenant: TenantId, agent_id: AgentId, time_range: TimeRange, limit: int) -> int:
    """See ports.task_statistics.TaskReader.count_tasks."""
    parameters = {"tenant": tenant, "agent_id": agent_id, "limit": limit, **bounds(time_range)}
    return int((await engine.rows(_COUNT, parameters))[0][0])


async def hours_of(engine: Engine, tenant: TenantId, query: TaskQuery) -> Hours:
    """Where sums are read: nowhere for a few tasks, nor where tasks are wanted by something that sums do not keep."""
    if query.bucket_ns == 0 or query.attribute not in _VARIANTS:
        return Hours()
    if await count_tasks(engine, tenant, query.agent_id, query.time_range, TASKS_SINGLE_MAX) < TASKS_SINGLE_MAX:
        return Hours()
    return Hours.of(await read_settled_hours(engine, tenant, query.time_range))


async def read_task_sums(engine: Engine, tenant: TenantId, query: TaskQuery) -> Sequence[TaskSums]:
    """See ports.task_statistics.TaskReader.task_sums."""
    hours = await hours_of(engine, tenant, query)
    rows = await engine.rows(_of_agent(query, hours), {**parameters_of(tenant, query), **hours.parameters})
    if len(rows) > TASK_SUMS_MAX:
        raise TooManyTaskTypesError
    return [_task_sums(row) for row in rows]


def _of_agent(query: TaskQuery, hours: Hours) -> str:
    """Bucket, type, variant, sums; single tasks are told apart by one key more."""
    of_task, of_group = _VARIANTS.get(query.attribute, ("attribute_value", ""))
    tasks = [_OF_AGENT, IN_RANGE]
    groups = [_OF_AGENT, ROLLED_HOURS]
    variants = ""
    if query.task_type:
        tasks.append("task_type = {task_type:String}")
        groups.append("task_type_ = {task_type:String}")
    if hours.rolled:
        tasks.append(SINGLE_HOURS)
    if query.attribute:
        variants = "WHERE has({values:Array(String)}, variant)"
    keys = {
        "bucket": (bucket(query, hours, _START), bucket(query, hours, _HOUR_START)),
        "type": ("toString(task_type)", "toString(task_type_)"),
        "variant": (f"toString({of_task})", f"toString({of_group})"),
        **({"task": (_TASK_BY_ITSELF, "0")} if query.bucket_ns == 0 else {}),
    }
    single = measured(" AND ".join(tasks))
    if query.attribute not in _VARIANTS:
        single = f"{single} AS t {_OF_SPAN}"
    return f"{_united(keys, single, groups if hours.rolled else (), variants)} LIMIT {TASK_SUMS_MAX + 1} {SETTINGS}"


def _united(keys: Mapping[str, tuple[str, str]], tasks: str, of_hours: Sequence[str], where: str = "") -> str:
    """Sums by keys, each given for single tasks and for groups of hours, over both."""
    names = ", ".join(keys)
    made = ", ".join(f"{of_task} AS {name}" for name, (of_task, _) in keys.items())
    sources = f"SELECT {made}, {AMOUNTS} AS amounts FROM {tasks} GROUP BY {names}"
    if of_hours:
        made = ", ".join(f"{of_group} AS {name}" for name, (_, of_group) in keys.items())
        arrays = ", ".join(f"{array} AS {array}_" for array in (*KEYS, "sums"))
        sources += (
            f" UNION ALL SELECT {made}, sums_ AS amounts FROM task_hours FINAL ARRAY JOIN {arrays} "
            f"WHERE tenant = {{tenant:String}} AND {' AND '.join(of_hours)}"
        )
    return f"SELECT {names}, sumForEach(amounts) FROM ({sources}) {where} GROUP BY {names} ORDER BY {names}"


async def read_peer_sums(
    engine: Engine, tenant: TenantId, agent_id: AgentId, task_types: Sequence[str], time_range: TimeRange
) -> Sequence[TaskSums]:
    """See ports.task_statistics.TaskReader.peer_sums."""
    hours = Hours.of(await read_settled_hours(engine, tenant, time_range))
    others = "agent_id != {agent_id:String} AND has({types:Array(String)}, {column})"
    tasks = [others.replace("{column}", "task_type"), IN_RANGE, *([SINGLE_HOURS] if hours.rolled else [])]
    groups = [others.replace("{column}", "task_type_"), ROLLED_HOURS]
    keys = {
        "bucket": ("{from_ns:Int64}",) * 2,
        "type": ("toString(task_type)", "toString(task_type_)"),
        "variant": ("''", "''"),
    }
    statement = _united(keys, measured(" AND ".join(tasks)), groups if hours.rolled else ())
    parameters = {"tenant": tenant, "agent_id": agent_id, "types": list(task_types), **bounds(time_range)}
    return [_task_sums(row) for row in await engine.rows(f"{statement} {SETTINGS}", {**parameters, **hours.parameters})]


_LATEST: Final = f"""
SELECT {{from_ns:Int64}}, {{task_type:String}}, agent_id, {AMOUNTS}
FROM (
  SELECT * FROM {measured(f"has({{agents:Array(String)}}, agent_id) AND task_type = {{task_type:String}} AND {IN_RANGE}")}
  ORDER BY start_time DESC, trace_id, span_id LIMIT {{count:UInt32}} BY agent_id
) GROUP BY agent_id {SETTINGS}
"""


async def read_latest_task_sums(
    engine: Engine, tenant: TenantId, agents: Sequence[AgentId], task_type: str, count: int, time_range: TimeRange
) -> Mapping[AgentId, TaskSums]:
    """See ports.task_statistics.TaskReader.latest_task_sums."""
    parameters = {
        "tenant": tenant,
        "agents": list(agents),
        "task_type": task_type,
        "count": count,
        **bounds(time_range),
    }
    sums = [_task_sums(row) for row in await engine.rows(_LATEST, parameters)]
    return {AgentId(found.variant): replace(found, variant="") for found in sums}


_AGENTS: Final = "agent_id IN (SELECT arrayJoin({agents:Array(String)}))"


async def read_sums_of_agents(
    engine: Engine, tenant: TenantId, agents: Sequence[AgentId], time_range: TimeRange
) -> Mapping[AgentId, Sequence[TaskSums]]:
    """See ports.task_statistics.TaskReader.sums_of_agents."""
    hours = Hours.of(await read_settled_hours(engine, tenant, time_range))
    tasks = [_AGENTS, IN_RANGE, *([SINGLE_HOURS] if hours.rolled else [])]
    keys = {
        "bucket": ("{from_ns:Int64}",) * 2,
        "type": ("toString(task_type)", "toString(task_type_)"),
        "variant": ("toString(agent_id)",) * 2,
    }
    statement = _united(keys, measured(" AND ".join(tasks)), [_AGENTS, ROLLED_HOURS] if hours.rolled else ())
    parameters = {"tenant": tenant, "agents": list(agents), **bounds(time_range), **hours.parameters}
    rows = await engine.rows(f"{statement} LIMIT {TASK_SUMS_MAX + 1} {SETTINGS}", parameters)
    if len(rows) > TASK_SUMS_MAX:
        raise TooManyTaskTypesError
    found: dict[AgentId, list[TaskSums]] = {}
    for sums in map(_task_sums, rows):
        found.setdefault(AgentId(sums.variant), []).append(replace(sums, variant=""))
    return found


_COUNTS: Final = f"""
SELECT agent_id, count() FROM tasks WHERE tenant = {{tenant:String}} AND is_task AND {_AGENTS} AND {IN_RANGE}
  AND task_id != '' GROUP BY agent_id HAVING count() <= {REPEATED_TASKS_MAX} ORDER BY agent_id
"""
_REPEATS: Final = f"""
SELECT agent_id, task_type, groupArray((tries, successes)) FROM (
  SELECT agent_id, task_type, task_id, count() AS tries, countIf(status = 'success') AS successes
  FROM {measured(f"{_AGENTS} AND task_id != '' AND {IN_RANGE}")} GROUP BY agent_id, task_type, task_id
) GROUP BY agent_id, task_type HAVING max(tries) > 1 {SETTINGS}
"""


async def read_repeats(
    engine: Engine, tenant: TenantId, agents: Sequence[AgentId], time_range: TimeRange
) -> Mapping[AgentId, Mapping[str, Sequence[tuple[int, int]]]]:
    """See ports.task_statistics.TaskReader.repeats."""
    found: dict[AgentId, dict[str, Sequence[tuple[int, int]]]] = {}
    parameters = {"tenant": tenant, "agents": list(agents), **bounds(time_range)}
    for some in _held_together(await engine.rows(_COUNTS, parameters)):
        for agent_id, task_type, counts in await engine.rows(_REPEATS, {**parameters, "agents": some}):
            found.setdefault(AgentId(_text(agent_id)), {})[_text(task_type)] = counts
    return found


def _held_together(counted: Sequence[Row]) -> Iterator[list[str]]:
    """Agents in groups of few enough tasks: every id is held in memory while they are counted."""
    some: list[str] = []
    held = 0
    for agent_id, count in counted:
        if some and held + count > REPEATED_TASKS_MAX:
            yield some
            some, held = [], 0
        some.append(_text(agent_id))
        held += count
    if some:
        yield some


def bucket(query: TaskQuery, hours: Hours, start_ns: str) -> str:
    """The start of the bucket that a time lies in, in nanoseconds."""
    if query.bucket_ns is None:
        return "{from_ns:Int64}"
    if query.bucket_ns == 0:
        return start_ns
    width_ns = -(-query.bucket_ns // HOUR_NS) * HOUR_NS if hours.rolled else query.bucket_ns
    return f"intDiv({start_ns}, {width_ns}) * {width_ns}"


def bounds(time_range: TimeRange) -> Mapping[str, int]:
    """The parameters of IN_RANGE."""
    return {"from_ns": time_range.start_ns, "to_ns": time_range.end_ns}


def parameters_of(tenant: TenantId, query: TaskQuery) -> Mapping[str, Any]:
    """What a query's conditions name."""
    return {
        "tenant": tenant,
        "agent_id": query.agent_id,
        "task_type": query.task_type,
        "attribute": query.attribute,
        "values": list(query.values),
        **bounds(query.time_range),
    }


def _task_sums(row: Row) -> TaskSums:
    start_ns, task_type, variant, amounts = row[0], row[1], row[2], row[-1]
    of = dict(zip(SUMS, amounts, strict=True))
    tasks, successes = int(of["tasks"]), int(of["successes"])
    return TaskSums(
        task_type=_text(task_type),
        start_ns=start_ns,
        tasks=tasks,
        successes=successes,
        timeouts=int(of["timeouts"]),
        retried=int(of["retried"]),
        durations_ms=Moments(tasks, of["ms"], of["ms_squares"]),
        log_durations=Moments(tasks, of["log_ms"], of["log_ms_squares"]),
        success_log_durations=Moments(successes, of["ok_log_ms"], of["ok_log_ms_squares"]),
        costs=Moments(int(of["priced"]), of["cost"], of["cost_squares"]),
        success_log_costs=Moments(int(of["ok_priced"]), of["ok_log_cost"], of["ok_log_cost_squares"]),
        coverage=Moments(int(of["covered"]), of["coverage"], of["coverage_squares"]),
        tests=Moments(int(of["tested"]), of["passed"], of["passed_squares"]),
        variant=_text(variant),
    )


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
