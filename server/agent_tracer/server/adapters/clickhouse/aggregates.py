"""Counts, errors, quantiles, tokens and cost over what the settler made of traces.

What is counted, the *unit*, follows from the columns that a query groups or filters by; the finest wins:

- model, provider: calls of models (spans that call one: llm, embedding, reranker),
- tool_name: calls of tools,
- agent_id, task_type: tasks (the top span of a stretch of an agent's spans, or any span with a task id),
- service: entries (a span without parent, with one of another service, or of kind server or consumer),
- otherwise (nothing, operation, status, workflow_id): traces.

Each unit lies in the range and bucket in which it began, and has its own duration and status. A unit finer than a trace
has the operation of its trace, and the agent, task type and workflow that it inherits. Usage and cost are those of the
calls that belong to a unit: a call's own, the calls that a task or an entry owns (it is the nearest above them), all of
a trace; none for a tool, whose calls its task has. So the tokens of all tasks of an agent are those of all its calls.
Spans that came twice count once, late ones as if they had been there.
"""

from collections.abc import Sequence
from typing import Final

from agent_tracer.server.adapters.clickhouse.engine import Engine, Row
from agent_tracer.server.adapters.clickhouse.rollups import (
    AMOUNTS,
    HOUR_NS,
    HOUR_SECONDS,
    KEYS,
    ROLLED_HOURS,
    SKETCH,
    STATUS,
    SUMS,
    Hours,
    hour_bounds,
    read_settled_hours,
)
from agent_tracer.server.domain.ids import AgentId, TenantId
from agent_tracer.server.domain.telemetry import Agent, AggregateRow, TimeRange, TokenUsage
from agent_tracer.server.limits import AGGREGATE_EXACT_UNITS_MAX, AGGREGATE_ROWS_MAX
from agent_tracer.server.ports.store import AggregateQuery

_SECOND_NS: Final = 1_000_000_000

_UNITS: Final = (
    ("call", frozenset({"model", "provider"})),
    ("tool", frozenset({"tool_name"})),
    ("task", frozenset({"agent_id", "task_type"})),
    ("entry", frozenset({"service"})),
    ("trace", frozenset(KEYS)),
)
"""Unit -> the columns that make it the one that is counted, finest first."""

_EXACT: Final = "quantilesExactInclusive(0.5, 0.95, 0.99)"
_FAILURES: Final = "('error', 'timeout')"
_START: Final = "toUnixTimestamp64Nano(start_time)"
_HOUR_START: Final = f"toInt64(toUnixTimestamp(hour)) * {_SECOND_NS}"
_OF_UNIT: Final = (
    "tenant = {tenant:String} AND unit = {unit:String} "
    "AND hour >= toDateTime({from_hour:UInt32}, 'UTC') AND hour < toDateTime({to_hour:UInt32}, 'UTC')"
)
_SINGLE_HOURS: Final = "hour IN (SELECT toDateTime(arrayJoin({single:Array(UInt32)}), 'UTC'))"
_SETTINGS: Final = "SETTINGS do_not_merge_across_partitions_select_final = 1"


async def read_aggregate(engine: Engine, tenant: TenantId, query: AggregateQuery) -> Sequence[AggregateRow]:
    """See ports.store.TraceReader.aggregate, and this module for what is counted.

    Sees what has been settled: who needs everything that is loaded awaits the settler first. Quantiles interpolate
    between the values next to them; past AGGREGATE_EXACT_UNITS_MAX units of summed-up hours they are within half a per
    cent.
    """
    filters = {"agent_id": query.agent_id, "service": query.service}
    given = {name: value for name, value in filters.items() if value}
    unit = _unit({*query.group_by, *given})
    parameters = {
        "tenant": tenant,
        "unit": unit,
        "from_ns": query.time_range.start_ns,
        "to_ns": query.time_range.end_ns,
        **hour_bounds(query.time_range),
        "limit": AGGREGATE_ROWS_MAX + 1,
        **{f"only_{name}": value for name, value in given.items()},
    }
    hours = await _hours(engine, tenant, query)
    statement = _statement(query, unit, tuple(given), hours)
    rows = await engine.rows(statement, {**parameters, **hours.parameters})
    return [_aggregate_row(query, row) for row in rows]


def _unit(columns: set[str]) -> str:
    return next((unit for unit, making in _UNITS if columns & making), "trace")


async def _hours(engine: Engine, tenant: TenantId, query: AggregateQuery) -> Hours:
    """Sums are read for whole hours, unless units give the exact answer as fast."""
    if (query.interval_seconds or 0) % HOUR_SECONDS:
        return Hours()
    found = await read_settled_hours(engine, tenant, query.time_range)
    if sum(hour.units for hour in found if hour.version_ns) <= AGGREGATE_EXACT_UNITS_MAX:
        return Hours()
    return Hours.of(found)


def _bucket(query: AggregateQuery, start_ns: str) -> str:
    if query.interval_seconds is None:
        return "{from_ns:Int64}"
    interval_ns = query.interval_seconds * _SECOND_NS
    return f"intDiv({start_ns}, {interval_ns}) * {interval_ns}"


def _statement(query: AggregateQuery, unit: str, filters: Sequence[str], hours: Hours) -> str:
    keys = tuple(dict.fromkeys(query.group_by))
    by = ", ".join(("bucket", *(f"{key}_key" for key in keys)))
    order = ", ".join(("bucket", "total DESC", *(f"{key}_key" for key in keys)))
    if not hours.rolled:
        sums = ", ".join(f"sum({name})" for name in SUMS)
        selected = _of_units(query, unit, filters, "total", f"{_EXACT}(duration_ns)", f"({sums})")
    else:
        sources = _of_hours(query, filters)
        if hours.single:
            sketched = _of_units(query, unit, filters, "n", f"{SKETCH.format('State')}(duration_ns)", AMOUNTS)
            sources = f"{sketched} AND {_SINGLE_HOURS} GROUP BY {by} UNION ALL {sources}"
        selected = (
            f"SELECT {by}, sum(n) AS total, sum(failed), {SKETCH.format('Merge')}(durations), sumForEach(amounts) "
            f"FROM ({sources})"
        )
    return f"{selected} GROUP BY {by} ORDER BY {order} LIMIT {{limit:UInt32}} {_SETTINGS}"


def _of_units(
    query: AggregateQuery, unit: str, filters: Sequence[str], count: str, durations: str, amounts: str
) -> str:
    """Single units, up to the grouping."""
    # Only traces can be running.
    status = STATUS if unit == "trace" else "status"
    keys = "".join(
        f", toString({status if key == 'status' else key}) AS {key}_key" for key in dict.fromkeys(query.group_by)
    )
    where = (
        _OF_UNIT,
        "is_unit",
        *_in_range(query.time_range),
        *(f"{name} = {{only_{name}:String}}" for name in filters),
    )
    return (
        f"SELECT {_bucket(query, _START)} AS bucket{keys}, count() AS {count}, "
        f"countIf({status} IN {_FAILURES}) AS failed, {durations} AS durations, {amounts} AS amounts "
        f"FROM units FINAL WHERE {' AND '.join(where)}"
    )


def _in_range(time_range: TimeRange) -> Sequence[str]:
    """Nothing where the hours say it already."""
    if time_range.start_ns % HOUR_NS == 0 and time_range.end_ns % HOUR_NS == 0:
        return ()
    return (f"{_START} >= {{from_ns:Int64}}", f"{_START} < {{to_ns:Int64}}")


def _of_hours(query: AggregateQuery, filters: Sequence[str]) -> str:
    """Groups of summed-up hours."""
    arrays = dict.fromkeys(("status", *query.group_by, *filters, "count", "durations", "amounts"))
    keys = "".join(f", toString({key}_) AS {key}_key" for key in dict.fromkeys(query.group_by))
    where = (_OF_UNIT, ROLLED_HOURS, *(f"{name}_ = {{only_{name}:String}}" for name in filters))
    return (
        f"SELECT {_bucket(query, _HOUR_START)} AS bucket{keys}, count_ AS n, "
        f"if(status_ IN {_FAILURES}, count_, 0) AS failed, durations_ AS durations, amounts_ AS amounts FROM unit_hours FINAL ARRAY JOIN {', '.join(f'{name} AS {name}_' for name in arrays)} "
        f"WHERE {' AND '.join(where)}"
    )


def _aggregate_row(query: AggregateQuery, row: Row) -> AggregateRow:
    keys = tuple(dict.fromkeys(query.group_by))
    bucket, *texts = row[: 1 + len(keys)]
    count, failed, quantiles, (*tokens, cost, unpriced) = row[-4:]
    p50, p95, p99 = (value / 1e6 for value in quantiles)
    return AggregateRow(
        group={key: _text(text) for key, text in zip(keys, texts, strict=True)},
        bucket_start_ns=bucket,
        count=count,
        error_count=failed,
        duration_p50_ms=p50,
        duration_p95_ms=p95,
        duration_p99_ms=p99,
        usage=TokenUsage(*map(int, tokens)),
        cost=cost,
        unpriced_count=int(unpriced),
    )


_AGENTS: Final = (
    """
SELECT agent_id, argMax(agent_name, (agent_name != '', start_time)), argMax(agent_type, (agent_type != '', start_time)),
  argMax(agent_version, (agent_version != '', start_time)), uniqExact(trace_id), uniqExactIf(trace_id, status != 'success'),
  toUnixTimestamp64Nano(max(start_time + toIntervalNanosecond(duration_ns))), sum(calls), sum(unpriced_calls), sum(cost)
FROM tasks FINAL
WHERE tenant = {tenant:String} AND agent_id > {after:String} AND is_task
  AND start_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC') AND start_time < fromUnixTimestamp64Nano({to_ns:Int64}, 'UTC')
GROUP BY agent_id ORDER BY agent_id LIMIT {limit:UInt32}
"""
    + _SETTINGS
)


async def read_agents(
    engine: Engine, tenant: TenantId, time_range: TimeRange, limit: int, after: str
) -> Sequence[Agent]:
    """See ports.store.TraceReader.agents. Sees what has been settled.

    An agent's traces are those in which it had a task, its errors those of them in which one of its tasks failed. Name,
    type and version are the last ones given. Its cost is absent where one of its calls has no price.
    """
    parameters = {
        "tenant": tenant,
        "after": after,
        "from_ns": time_range.start_ns,
        "to_ns": time_range.end_ns,
        "limit": limit,
    }
    return [_agent(row) for row in await engine.rows(_AGENTS, parameters)]


def _agent(row: Row) -> Agent:
    agent_id, name, type_, version, traces, failed, last_ns, calls, unpriced, cost = row
    return Agent(
        agent_id=AgentId(_text(agent_id)),
        name=_text(name),
        agent_type=_text(type_),
        version=_text(version),
        trace_count=traces,
        error_count=failed,
        last_seen_ns=last_ns,
        cost=cost if calls and not unpriced else None,
    )


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
