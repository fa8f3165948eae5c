"""`python -m tests.evaluation.large_store fill|time FOLDER`: a store with an agent of millions of tasks, made by SQL.

Sending ten million traces takes many minutes; what they leave behind for analyses is made by SQL here instead: rows of
`tasks`, of `units` and of `settled_hours`. Hours are then summed up by the server's own code, as a server does while
nothing comes. A process of its own, because an embedded store has one process at a time.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from clickhouse_connect.driver.client import Client

from agent_tracer.server.adapters.clickhouse.engine import EMBEDDED, Engine
from agent_tracer.server.adapters.clickhouse.schema import prepare
from agent_tracer.server.adapters.clickhouse.settle import ClickHouseSettler
from agent_tracer.server.adapters.clickhouse.task_store import ClickHouseTasks
from agent_tracer.server.domain.ids import AgentId, TenantId
from agent_tracer.server.domain.telemetry import TimeRange
from agent_tracer.server.limits import TASK_BUCKETS, TASKS_SINGLE_MAX
from agent_tracer.server.ports.task_statistics import TaskQuery

TASKS: Final = 10_000_000
PEER_TASKS: Final = 100_000
AGENT, PEER = AgentId("agent"), AgentId("peer")
TENANT: Final = TenantId("default")
TYPES: Final = ("answer", "search", "code")
DAYS: Final = 30
CHUNKS: Final = 10
CALLS: Final = 5

HOUR_NS: Final = 3_600_000_000_000
RANGE_NS: Final = DAYS * 24 * HOUR_NS

_DRAWN: Final = """
SELECT number AS n, cityHash64({agent:String}, n) AS id, toFixedString(sipHash128({agent:String}, n), 16) AS trace,
  (cityHash64(n, 1) % 1000003 + 0.5) / 1000003 AS u, (cityHash64(n, 2) % 1000003 + 0.5) / 1000003 AS v,
  (cityHash64(n, 3) % 1000003 + 0.5) / 1000003 AS w,
  sqrt(-2 * log(u)) * cos(2 * pi() * v) AS normal, cityHash64(n, 4) % 3 AS kind,
  fromUnixTimestamp64Nano(toInt64({from_ns:Int64} + {step_ns:Int64} * n + cityHash64(n, 5) % {step_ns:Int64}), 'UTC') AS start,
  toUInt64(exp(7 + kind + 0.6 * normal) * 1e6) AS took, if(w < 0.85, 'success', if(w < 0.97, 'error', 'timeout')) AS ended,
  {types:Array(String)}[kind + 1] AS type, if(2 * n < {count:UInt64}, '1', '2') AS version, 400 + id % 1000 AS tokens
FROM numbers({first:UInt64}, {size:UInt64})
"""
_TASKS: Final = f"""
INSERT INTO tasks (tenant, received_at, settled_at, agent_id, start_time, trace_id, span_id, is_task, agent_version,
  task_type, service, name, duration_ns, status, calls, retries, input_tokens, output_tokens, cost, models)
SELECT {{tenant:String}}, start, now64(9) - 60, {{agent:String}}, start, trace, reinterpretAsFixedString(id), true, version,
  type, 'evaluation', type, took, ended, 2, w > 0.8 AND w < 0.9, tokens, 200, 2e-6 * tokens, ['model']
FROM ({_DRAWN})
"""
_UNITS: Final = f"""
INSERT INTO units (tenant, unit, hour, trace_id, span_id, task_agent, is_unit, received_at, settled_at, start_time,
  duration_ns, operation, status, agent_id, task_type, service, input_tokens, output_tokens, cost)
SELECT {{tenant:String}}, 'task', toStartOfHour(start), trace, reinterpretAsFixedString(id), {{agent:String}}, true, start,
  now64(9) - 60, start, took, type, ended, {{agent:String}}, type, 'evaluation', tokens, 200, 2e-6 * tokens
FROM ({_DRAWN})
"""
_HOURS: Final = """
INSERT INTO settled_hours (tenant, hour, received_at, settled_at)
SELECT DISTINCT {tenant:String}, hour, now64(9), now64(9) - 60 FROM units
"""


async def fill(folder: Path) -> Mapping[str, float]:
    """Make the rows up to now, and sum up their hours; how many seconds each took."""
    engine = Engine.open(EMBEDDED, folder)
    try:
        engine.writer.call(prepare)
        started = time.monotonic()
        now_ns = time.time_ns()
        for agent, count in ((AGENT, TASKS), (PEER, PEER_TASKS)):
            await engine.write(lambda client, a=agent, c=count: _insert(client, a, c, now_ns))  # type: ignore[misc]
        await engine.write(lambda client: client.command(_HOURS, {"tenant": TENANT}))
        made = time.monotonic()
        settler = ClickHouseSettler(engine)
        while await settler.roll(time.time_ns()):
            pass
        return {"insert": made - started, "sum up hours": time.monotonic() - made}
    finally:
        engine.close()


def _insert(client: Client, agent: str, count: int, now_ns: int) -> None:
    size = count // CHUNKS
    values = {
        "tenant": TENANT,
        "agent": agent,
        "types": list(TYPES),
        "count": count,
        "size": size,
        "from_ns": now_ns - RANGE_NS,
        "step_ns": RANGE_NS // count,
    }
    for chunk in range(CHUNKS):
        for statement in (_TASKS, _UNITS):
            client.command(statement, {**values, "first": chunk * size})


async def timed(folder: Path) -> Mapping[str, float]:
    """Median milliseconds of each read that ScoreAgent and AnalyzeLearning make, one at a time."""
    engine = Engine.open(EMBEDDED, folder)
    try:
        reads = _reads(ClickHouseTasks(engine))
        return {name: await _median_ms(read) for name, read in reads.items()}
    finally:
        engine.close()


def _reads(tasks: ClickHouseTasks) -> Mapping[str, Callable[[], Awaitable[object]]]:
    now_ns = time.time_ns()
    period, before = TimeRange(now_ns - RANGE_NS, now_ns), TimeRange(now_ns - 2 * RANGE_NS, now_ns - RANGE_NS)
    in_time = TaskQuery(AGENT, period, bucket_ns=-(-RANGE_NS // TASK_BUCKETS))
    return {
        "count_tasks": lambda: tasks.count_tasks(TENANT, AGENT, period, limit=TASKS_SINGLE_MAX),
        "task_sums": lambda: tasks.task_sums(TENANT, in_time),
        "peer_sums": lambda: tasks.peer_sums(TENANT, AGENT, TYPES, period),
        "task_sums of the time before": lambda: tasks.task_sums(TENANT, TaskQuery(AGENT, before)),
        "quality_sums": lambda: tasks.quality_sums(TENANT, TaskQuery(AGENT, period)),
        "usage": lambda: tasks.usage(TENANT, in_time),
        "changes": lambda: tasks.changes(TENANT, in_time),
    }


async def _median_ms(read: Callable[[], Awaitable[object]]) -> float:
    took = []
    for _ in range(CALLS):
        started = time.perf_counter()
        await read()
        took.append(time.perf_counter() - started)
    return 1000 * statistics.median(took)


if __name__ == "__main__":
    WORK: Final = {"fill": fill, "time": timed}
    print(json.dumps(asyncio.run(WORK[sys.argv[1]](Path(sys.argv[2])))))
