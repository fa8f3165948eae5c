"""Which calls and tasks of a batch of the settler were not there before: read between its statements.

Runs after the batch's units are made and before they are stored, so that what is stored was counted before. A call is
what it is from the first. A task is not: children are sent before their parents, and a span whose agent's other spans
have not come yet looks like the top of a task. It is certain to be one once an ancestor with an agent is there, where it
says so itself (a task id, or a server's or consumer's span, with an agent), or where its trace lacks no parent.
"""

from collections.abc import Sequence
from typing import Any, Final

from clickhouse_connect.driver.client import Client

from agent_tracer.server.adapters.clickhouse.engine import BYTES
from agent_tracer.server.limits import LABEL_LENGTH_MAX
from agent_tracer.server.ports.work_counts import (
    CALL_SECONDS,
    TASK_SECONDS,
    CallGroup,
    Durations,
    SeenTask,
    SeenTrace,
    SettledWork,
    TaskGroup,
)

_TASK, _CALL = 3, 5
"""Of `settle_units.unit`."""
_SERVER, _CONSUMER = 2, 5
"""OTLP's SpanKind by number."""
_NS: Final = 1_000_000_000


def _name(column: str) -> str:
    """As much of it as a label may hold, and a sign that there is more."""
    return f"substring(toString({column}), 1, {LABEL_LENGTH_MAX * 4 + 1})"


def _bounds(seconds: Sequence[float]) -> str:
    return f"[{', '.join(str(round(bound * _NS)) for bound in seconds)}]"


_KNOWN: Final = """(unit, trace_id, span_id, tenant) IN (
  SELECT CAST(unit, 'Int8'), trace_id, span_id, tenant FROM units WHERE (tenant, unit, hour, trace_id) IN (
    SELECT tenant, arrayJoin(['task', 'call']), arrayJoin(hours), trace_id
    FROM settle_touched WHERE batch = {batch:UInt32} AND NOT is_new))"""

_UNITS: Final = f"""
WITH (SELECT parent FROM settle_parents ORDER BY step DESC LIMIT 1) AS parents,
  (SELECT agent FROM settle_heirs ORDER BY step DESC LIMIT 1) AS agents,
  (SELECT groupArray(toString(agent_type)) FROM settle_spans) AS agent_types,
  (SELECT groupArray(otel_kind) FROM settle_spans) AS kinds
SELECT unit, tenant, tenant_key, trace_id, span_id, status, duration_ns, provider, model, input_tokens, output_tokens,
  cost, unpriced, unit = {_TASK} AS is_task, if(is_task, agent_types[agent_n], '') AS type,
  NOT is_task OR agents[parents[n]] > 0
  OR (agent_n > 0 AND (task_id != '' OR (agent_n = n AND kinds[n] IN ({_SERVER}, {_CONSUMER}))))
  OR (tenant_key, trace_id) NOT IN (
    SELECT tenant_key, trace_id FROM settle_spans WHERE parents[n] = 0 AND parent_span_id != toFixedString('', 8)
  ) AS is_certain, {{known}} AS is_known
FROM settle_units
"""

_NEW: Final = f"""
SELECT is_task, is_certain, if(is_task, '', {_name("provider")}) AS provider_, if(is_task, '', {_name("model")}) AS model_,
  {_name("type")} AS type_, toString(status) AS status_, count(), sum(duration_ns),
  sumForEach(arrayMap(bound -> toUInt64(duration_ns <= bound),
    if(is_task, {_bounds(TASK_SECONDS)}, {_bounds(CALL_SECONDS)}))),
  sum(input_tokens), sum(output_tokens), if(count() > sum(unpriced), sum(cost), NULL)
FROM ({_UNITS} WHERE unit IN ({_TASK}, {_CALL})) WHERE NOT is_known
GROUP BY is_task, is_certain, provider_, model_, type_, status_
"""

_TRACES: Final = f"""
SELECT any(concat(reinterpretAsFixedString(tenant_key), trace_id)),
  groupArrayIf((span_id, is_certain, is_known, {_name("type")}, toString(status), duration_ns), is_task)
FROM ({_UNITS} WHERE unit IN (1, {_TASK}))
WHERE (is_task AND NOT is_certain)
  OR trace_id IN (SELECT trace_id FROM settle_touched WHERE batch = {{{{batch:UInt32}}}} AND NOT is_new)
GROUP BY tenant_key, trace_id
"""


def read_work(client: Client, batch: int, *, is_again: bool, is_waiting: bool) -> SettledWork:
    """What of the batch is new. `is_again`: traces of it may have been settled before; `is_waiting`: see WorkCounter."""
    rows = _rows(client, _NEW, batch, is_again=is_again)
    certain = [row for row in rows if row[1]]
    is_open = len(certain) < len(rows)
    return SettledWork(
        calls=[_calls(row) for row in certain if not row[0]],
        tasks=[TaskGroup(_text(row[4]), _text(row[5]), _durations(row)) for row in certain if row[0]],
        traces=_traces(client, batch, is_again=is_again) if is_open or (is_again and is_waiting) else (),
    )


def _traces(client: Client, batch: int, *, is_again: bool) -> Sequence[SeenTrace]:
    return [
        SeenTrace(key, [_task(*task) for task in tasks])
        for key, tasks in _rows(client, _TRACES, batch, is_again=is_again)
    ]


def _rows(client: Client, statement: str, batch: int, *, is_again: bool) -> Sequence[Sequence[Any]]:
    asked = statement.format(known=_KNOWN if is_again else "false")
    rows: Sequence[Sequence[Any]] = client.query(asked, {"batch": batch}, query_formats=BYTES).result_rows
    return rows


def _calls(row: Sequence[Any]) -> CallGroup:
    provider, model, status = _text(row[2]), _text(row[3]), _text(row[5])
    input_tokens, output_tokens, cost = row[9:]
    return CallGroup(provider, model, status, _durations(row), input_tokens, output_tokens, cost)


def _durations(row: Sequence[Any]) -> Durations:
    count, sum_ns, within = row[6:9]
    return Durations(count, sum_ns / _NS, within)


def _task(
    span_id: bytes, is_certain: int, is_known: int, agent_type: bytes, status: bytes, duration_ns: int
) -> SeenTask:
    seconds = duration_ns / _NS
    return SeenTask(span_id, bool(is_certain), bool(is_known), _text(agent_type), _text(status), seconds)


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
