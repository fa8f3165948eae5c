"""Reads traces: summaries by id, and the list of them, newest start first.

The table has one row a trace and commit. A list takes its candidates from there in the order of start, then unites
the rows of each. With filters, a trace stands where its earliest matching row stands, and each page takes only the
traces that stand within the rows it has scanned; so a trace is met once, at whatever page.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from agent_tracer.server.adapters.clickhouse.engine import Engine, Row
from agent_tracer.server.adapters.clickhouse.values import read_value
from agent_tracer.server.adapters.clickhouse.views import OF_ROOT, WORST_STATUS
from agent_tracer.server.domain.ids import AgentId, OtelTraceId, TenantId, TraceId
from agent_tracer.server.domain.telemetry import AttributeValue, TokenUsage, Trace, TraceFilter, TraceStatus
from agent_tracer.server.limits import FEED_TRACES_MAX, LIST_SCAN_ROWS_MAX, TRACE_QUIET_SECONDS
from agent_tracer.server.ports.store import ListCursor, TracePage

_SUMMARY: Final = f"""
SELECT trace_id,
  toUnixTimestamp64Nano(minIf(start_time, matches)) AS position,
  toUnixTimestamp64Nano(min(start_time)) AS start_ns,
  toUnixTimestamp64Nano(max(end_time)) AS end_ns,
  sum(roots) AS root_count,
  {WORST_STATUS}[max(indexOf({WORST_STATUS}, status))] AS root_status,
  argMin(first_status, start_time) AS earliest_status,
  max(received_at) < now64() - INTERVAL {TRACE_QUIET_SECONDS} SECOND AS quiet,
  if(root_count > 0, argMinIf(operation, start_time, roots > 0), argMin(operation, start_time)) AS operation_,
  {{chosen}},
  argMinIf(metadata, start_time, roots > 0) AS metadata_,
  arraySort(groupUniqArrayArray(agents)) AS agents_,
  arraySort(groupUniqArrayArray(services)) AS services_,
  length(groupUniqArrayArray(span_ids)) AS span_count,
  length(groupUniqArrayArray(error_ids)) AS error_count,
  arrayMap(c -> c.1, groupUniqArrayArray(calls) AS all_calls) AS call_ids,
  arrayFilter((c, first) -> first, all_calls, arrayMap((id, n) -> indexOf(call_ids, id) = n, call_ids,
    arrayEnumerate(call_ids))) AS once,
  arraySum(c -> c.2, once) AS input_tokens,
  arraySum(c -> c.3, once) AS output_tokens,
  arraySum(c -> c.4, once) AS cache_read_tokens,
  arraySum(c -> c.5, once) AS cache_creation_tokens,
  arraySum(c -> c.6, once) AS reasoning_tokens,
  if(length(once) = 0 OR arrayExists(c -> isNull(c.7), once), NULL, arraySum(c -> ifNull(c.7, 0), once)) AS cost
FROM (SELECT *, {{condition}} AS matches FROM traces WHERE tenant = {{{{tenant:String}}}} AND {{ids}})
GROUP BY trace_id
"""


_CHOSEN: Final = ", ".join(
    f"tupleElement(minIf((value_ranks[{number}], {column}), {column} != ''), 2) AS {column}_"
    for number, column in enumerate(OF_ROOT, 1)
)
# Not bare unhex: the bloom filter does not find a FixedString that ends in zero bytes by the same String.
_BY_IDS: Final = "trace_id IN (SELECT toFixedString(unhex(arrayJoin({ids:Array(String)})), 16))"


def _summary(condition: str, ids: str) -> str:
    return _SUMMARY.format(chosen=_CHOSEN, condition=condition, ids=ids).replace("{{", "{").replace("}}", "}")


_SUMMARIES: Final = _summary("true", _BY_IDS)


async def read_traces(engine: Engine, tenant: TenantId, trace_ids: Sequence[OtelTraceId]) -> Sequence[Trace]:
    """The summaries of those that are stored, in any order."""
    if not trace_ids:
        return ()
    rows = await engine.rows(_SUMMARIES, {"tenant": tenant, "ids": [i.hex() for i in trace_ids]})
    return [trace for _, trace in map(_trace, rows)]


_TOUCHED: Final = f"""
SELECT DISTINCT trace_id FROM traces WHERE tenant = {{tenant:String}}
  AND received_at >= fromUnixTimestamp64Nano({{from_ns:Int64}}, 'UTC')
  AND received_at <= fromUnixTimestamp64Nano({{to_ns:Int64}}, 'UTC')
LIMIT {FEED_TRACES_MAX + 1}
"""


async def read_touched(
    engine: Engine, tenant: TenantId, from_received_ns: int, to_received_ns: int
) -> Sequence[OtelTraceId]:
    """See ports.store.TraceReader.touched."""
    parameters = {"tenant": tenant, "from_ns": from_received_ns, "to_ns": to_received_ns}
    return [OtelTraceId(trace_id) for (trace_id,) in await engine.rows(_TOUCHED, parameters)]


@dataclass(frozen=True, slots=True)
class _Condition:
    """A filter: what a row of `traces` must say, and what must hold of its whole trace."""

    of_row: str
    of_trace: str
    parameters: Mapping[str, Any]


_ROW_CONDITIONS: Final = {
    "agent_id": "has(agents, {agent_id:String})",
    "status": "status = {status:String}",
    "operation": "operation = {operation:String}",
    "workflow_id": "workflow_id = {workflow_id:String}",
    "session_id": "session_id = {session_id:String}",
    "service": "has(services, {service:String})",
    "model": "has(models, {model:String})",
}
"""Filter -> condition on a row of `traces`."""

_OF_THE_WHOLE: Final = ("status", "operation", "workflow_id", "session_id")
"""What a row knows of the spans of its own commit only."""

_WITH_SPAN: Final = "trace_id IN (SELECT trace_id FROM spans WHERE tenant = {{tenant:String}} AND {condition})"
_WITH_ROW: Final = "trace_id IN (SELECT trace_id FROM traces WHERE tenant = {{tenant:String}} AND {condition})"
_WITH_TOTAL: Final = (
    "trace_id IN (SELECT trace_id FROM traces WHERE tenant = {{tenant:String}} GROUP BY trace_id HAVING {condition})"
)


def _condition(where: TraceFilter) -> _Condition:
    rows, parameters = [], {}
    for name, sql in _ROW_CONDITIONS.items():
        if value := getattr(where, name):
            rows.append("roots = 0" if (name, value) == ("status", TraceStatus.RUNNING) else sql)
            parameters[name] = value
    # Different commits may have brought what each filter asks for, so only one of them is asked of the row itself.
    parts, others = rows[:1], rows[1:]
    if where.time_range is not None:
        parts.append("start_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')")
        parts.append("start_time < fromUnixTimestamp64Nano({to_ns:Int64}, 'UTC')")
        parameters |= {"from_ns": where.time_range.start_ns, "to_ns": where.time_range.end_ns}
    whole = [_WITH_ROW.format(condition=sql) for sql in others]
    for number, (key, value) in enumerate(where.attributes):
        names = f"attribute_key_{number}", f"attribute_value_{number}"
        test = "{column}[{{{0}:String}}] = {{{1}:String}}"
        either = " OR ".join(test.format(*names, column=column) for column in ("attributes", "resource"))
        whole.append(_WITH_SPAN.format(condition=f"({either})"))
        parameters |= dict(zip(names, (key, value), strict=True))
    for number, word in enumerate(_words(where.text)):
        either = " OR ".join(f"hasAllTokens({column}, {{word_{number}:String}})" for column in ("input", "output"))
        whole.append(_WITH_SPAN.format(condition=f"({either})"))
        parameters[f"word_{number}"] = word
    if where.min_duration_ms is not None:
        whole.append(_WITH_TOTAL.format(condition="max(end_time) - min(start_time) >= {min_seconds:Float64}"))
        parameters["min_seconds"] = where.min_duration_ms / 1000
    if where.min_cost is not None:
        whole.append(
            _WITH_TOTAL.format(
                condition="arraySum(c -> ifNull(c.7, 0), groupUniqArrayArray(calls)) >= {min_cost:Float64}"
            )
        )
        parameters["min_cost"] = where.min_cost
    return _Condition(" AND ".join(parts) or "true", " AND ".join(whole) or "true", parameters)


def _words(text: str) -> list[str]:
    """The words that the text index knows: runs of letters and digits, in lower case."""
    return "".join(c if c.isalnum() else " " for c in text.lower()).split()


_SCAN: Final = """
SELECT toUnixTimestamp64Nano(start_time) AS start_ns, trace_id FROM traces
WHERE tenant = {{tenant:String}} AND {condition} AND {after}
ORDER BY tenant DESC, start_time DESC, trace_id DESC LIMIT {{rows:UInt32}}
"""
_AFTER: Final = (
    "(start_time, trace_id) "
    "< (fromUnixTimestamp64Nano({after_ns:Int64}, 'UTC'), toFixedString(unhex({after_id:String}), 16))"
    " AND start_time <= fromUnixTimestamp64Nano({after_ns:Int64}, 'UTC')"
)


async def list_traces(
    engine: Engine, tenant: TenantId, where: TraceFilter, limit: int, after: ListCursor | None
) -> TracePage:
    """See ports.store.TraceReader.traces."""
    condition = _condition(where)
    parameters = {"tenant": tenant, **condition.parameters, "rows": min(2 * limit + 64, LIST_SCAN_ROWS_MAX)}
    if after is not None:
        parameters |= {"after_ns": after.start_ns, "after_id": after.otel_trace_id.hex()}
    wanted = f"{condition.of_row} AND {condition.of_trace}"
    scan = _SCAN.format(condition=wanted, after=_AFTER if after is not None else "true")
    rows = await engine.rows(scan, parameters)
    if not rows:
        return TracePage((), None)
    last = ListCursor(rows[-1][0], OtelTraceId(rows[-1][1]))
    is_whole = len(rows) < parameters["rows"]
    ids = list(dict.fromkeys(trace_id.hex() for _, trace_id in rows))
    # What holds of a whole trace holds of these, and asking again would read the spans again.
    united = await engine.rows(_summary(condition.of_row, _BY_IDS), {**parameters, "ids": ids})
    # A trace whose earliest matching row lies beyond what was scanned stands there, and is met there.
    placed = sorted(
        (
            (position, trace)
            for position, trace in map(_trace, united)
            if (is_whole or (position, trace.otel_trace_id) >= (last.start_ns, last.otel_trace_id))
            and all(getattr(where, name) in ("", getattr(trace, name)) for name in _OF_THE_WHOLE)
        ),
        key=lambda found: (found[0], found[1].otel_trace_id),
        reverse=True,
    )
    shown = placed[:limit]
    traces = [trace for _, trace in shown]
    if len(placed) > limit:
        return TracePage(traces, ListCursor(shown[-1][0], traces[-1].otel_trace_id))
    return TracePage(traces, None if is_whole else last)


def _trace(row: Row) -> tuple[int, Trace]:
    (trace_id, position, start_ns, end_ns, roots, root_status, earliest_status, quiet, operation, agent, workflow,
     session, task_type, caller_id, metadata, agents, services, spans, errors, _, _, input_tokens, output_tokens,
     cache_read, cache_creation, reasoning, cost) = row  # fmt: skip
    status = _text(root_status) if roots else (_text(earliest_status) if quiet else TraceStatus.RUNNING)
    return position, Trace(
        trace_id=TraceId(_text(caller_id) or trace_id.hex()),
        otel_trace_id=OtelTraceId(trace_id),
        agent_id=AgentId(_text(agent)),
        operation=_text(operation),
        status=TraceStatus(status),
        start_ns=start_ns,
        end_ns=end_ns,
        metadata=_metadata(metadata),
        workflow_id=_text(workflow),
        session_id=_text(session),
        task_type=_text(task_type),
        span_count=spans,
        error_count=errors,
        agents=[_text(a) for a in agents],
        services=[_text(s) for s in services],
        usage=TokenUsage(input_tokens, output_tokens, cache_read, cache_creation, reasoning),
        cost=cost,
    )


def _metadata(entries: Sequence[Mapping[str, Any]]) -> dict[str, AttributeValue]:
    """Attributes `metadata.<key>` by key; OpenInference's `metadata` (JSON text) as it is."""
    return {_text(e["key"]).removeprefix("metadata."): read_value(e["type"], e["value"]) for e in entries}


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
