"""Sums of tasks: what analyses need of an agent, of single tasks or of whole hours of them.

`tasks` has a row a task. For agents of millions the settler sums up quiet hours, with rollups.roll_hours, into
`task_hours`, whose rows hold as long as `settled_hours` says that the hour was rolled up at the row's version.
"""

from typing import Final

from clickhouse_connect.driver.client import Client

from agent_tracer.server.domain.task_sums import COST_MIN, DURATION_MS_MIN
from agent_tracer.server.limits import ROLL_GROUPS_MAX

KEYS: Final = ("task_type", "agent_version", "model", "prompt_version")
"""What the tasks of an hour are grouped by, in the table's order. A task of several models has them all as its model."""

TASK_TYPE: Final = "if(task_type != '', toString(task_type), replaceRegexpAll(name, '[0-9]{4,}|[0-9a-fA-F]*[0-9][0-9a-fA-F]{7,}', '#'))"
"""A task's type. One that names none is of its span's name, in which what looks like an id does not count."""

_OK: Final = "status = 'success'"
_PRICED: Final = "unpriced_calls = 0 AND (calls > 0 OR cost > 0)"
_OK_PRICED: Final = f"{_OK} AND {_PRICED}"

SUMS: Final = {
    "tasks": "count()",
    "successes": f"countIf({_OK})",
    "timeouts": "countIf(status = 'timeout')",
    "retried": "countIf(retries > 0)",
    "ms": "sum(ms)",
    "ms_squares": "sum(ms * ms)",
    "log_ms": "sum(log_ms)",
    "log_ms_squares": "sum(log_ms * log_ms)",
    "ok_log_ms": f"sumIf(log_ms, {_OK})",
    "ok_log_ms_squares": f"sumIf(log_ms * log_ms, {_OK})",
    "priced": f"countIf({_PRICED})",
    "cost": f"sumIf(cost, {_PRICED})",
    "cost_squares": f"sumIf(cost * cost, {_PRICED})",
    "ok_priced": f"countIf({_OK_PRICED})",
    "ok_log_cost": f"sumIf(log_cost, {_OK_PRICED})",
    "ok_log_cost_squares": f"sumIf(log_cost * log_cost, {_OK_PRICED})",
    "covered": "countIf(coverage BETWEEN 0 AND 1)",
    "coverage": "sumIf(coverage, coverage BETWEEN 0 AND 1)",
    "coverage_squares": "sumIf(coverage * coverage, coverage BETWEEN 0 AND 1)",
    "tested": "countIf(passed BETWEEN 0 AND 1)",
    "passed": "sumIf(passed, passed BETWEEN 0 AND 1)",
    "passed_squares": "sumIf(passed * passed, passed BETWEEN 0 AND 1)",
    "calls": "sum(calls)",
    "tool_calls": "sum(tool_calls)",
    "input_tokens": "sum(input_tokens)",
    "output_tokens": "sum(output_tokens)",
    "all_cost": "sum(cost)",
    "unpriced_calls": "sum(unpriced_calls)",
}
"""What of tasks is added up, over the columns of `measured`. Counts are exact up to 2^53."""

AMOUNTS: Final = f"[{', '.join(f'toFloat64({sum_})' for sum_ in SUMS.values())}]"


def _told(name: str) -> str:
    """A number of a task's metadata; -1 where it says none."""
    return f"ifNull(toFloat64OrNull(metadata.value[indexOf(metadata.key, 'metadata.{name}')]), -1)"


def measured(condition: str) -> str:
    """A subquery of single tasks, each once, with what SUMS and KEYS are made of."""
    return f"""(
  SELECT * REPLACE ({TASK_TYPE} AS task_type), duration_ns / 1e6 AS ms, log(greatest(ms, {DURATION_MS_MIN})) AS log_ms,
    log(greatest(cost, {COST_MIN})) AS log_cost, arrayStringConcat(arraySort(models), ', ') AS model,
    {_told("coverage")} / 100 AS coverage,
    {_told("tests_run")} AS tests_run, if(tests_run > 0, {_told("tests_passed")} / tests_run, -1) AS passed
  FROM tasks FINAL WHERE tenant = {{tenant:String}} AND is_task AND {condition})"""


_OF_HOUR: Final = """agent_id IN (
  SELECT DISTINCT agent_id FROM units WHERE tenant = {tenant:String} AND unit = 'task' AND hour = {hour:DateTime('UTC')})
  AND start_time >= {hour:DateTime('UTC')} AND start_time < {hour:DateTime('UTC')} + INTERVAL 1 HOUR"""

_GROUPS: Final = f"SELECT uniqCombined((agent_id, {', '.join(KEYS)})) FROM {measured(_OF_HOUR)}"

_ROLL: Final = f"""
INSERT INTO task_hours (tenant, agent_id, hour, settled_at, received_at, {", ".join(KEYS)}, sums, busy_ns, peak)
SELECT {{tenant:String}}, agent_id, {{hour:DateTime('UTC')}}, fromUnixTimestamp64Nano({{version:Int64}}, 'UTC'),
  max(received), {", ".join(f"groupArray({key}_key)" for key in KEYS)}, groupArray(amounts),
  toUInt64(intervalLengthSumMerge(running)), toUInt32(maxIntersectionsMerge(together))
FROM (
  SELECT agent_id, {", ".join(f"{key} AS {key}_key" for key in KEYS)}, max(received_at) AS received, {AMOUNTS} AS amounts,
    intervalLengthSumState(toUnixTimestamp64Nano(start_time), toUnixTimestamp64Nano(start_time) + duration_ns) AS running,
    maxIntersectionsState(toUnixTimestamp64Nano(start_time), toUnixTimestamp64Nano(start_time) + duration_ns) AS together
  FROM {measured(_OF_HOUR)} GROUP BY agent_id, {", ".join(f"{key}_key" for key in KEYS)}
) GROUP BY agent_id
"""


def are_worth_rolling(client: Client, values: dict[str, object]) -> bool:
    """Whether the hour's tasks fall into few enough groups. `values`: tenant and hour."""
    return int(client.query(_GROUPS, values).result_rows[0][0]) <= ROLL_GROUPS_MAX


def roll_tasks(client: Client, values: dict[str, object]) -> None:
    """Sum up the tasks of an hour. `values`: tenant, hour and version (ns)."""
    client.command(_ROLL, values)
