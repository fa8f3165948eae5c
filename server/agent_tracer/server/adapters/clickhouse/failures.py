"""Failed runs: which there are, their spans as steps are made of them, their signatures, and groups of these."""

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from clickhouse_connect.driver.client import Client
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

from agent_tracer.server.adapters.clickhouse.engine import Engine, Row
from agent_tracer.server.adapters.clickhouse.failure_groups import read_groups
from agent_tracer.server.adapters.clickhouse.spans import NO_PARENT, OF_TRACE
from agent_tracer.server.adapters.clickhouse.values import AttributeType, python_attributes, unix_seconds
from agent_tracer.server.adapters.clickhouse.views import OF_ROOT, WORST_STATUS
from agent_tracer.server.domain.failures.content import ATTRIBUTE_PATTERN, order_of, output_of, role_of
from agent_tracer.server.domain.failures.spans import RunSpan
from agent_tracer.server.domain.failures.steps import STEPS_MAX
from agent_tracer.server.domain.ids import AgentId, OtelTraceId, SpanId, TenantId
from agent_tracer.server.domain.telemetry import Attributes, TraceStatus
from agent_tracer.server.limits import (
    FAILURE_PASS_TRACES_MAX,
    FAILURE_RUN_BYTES,
    FAILURE_SPANS_MAX,
    FAILURE_TEXT_BYTES_MAX,
)
from agent_tracer.server.ports.failures import (
    ConsideredRun,
    ConsideredRuns,
    GroupCursor,
    GroupQuery,
    GroupRow,
    SignedRun,
)
from agent_tracer.server.ports.settling import ReceivedRange

_ERROR: Final = 2
"""OTLP's STATUS_CODE_ERROR."""

_EVENTS_MAX: Final = 8
"""Of a span that failed or says nothing in its attributes: its last ones; an exception ends it."""

_SHORT_NS: Final = 3600 * 1_000_000_000
_FAILED: Final = (TraceStatus.ERROR, TraceStatus.TIMEOUT)
_BAD: Final = f"('{TraceStatus.ERROR}', '{TraceStatus.TIMEOUT}')"
_RECEIVED: Final = (
    "received_at >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC') "
    "AND received_at <= fromUnixTimestamp64Nano({to_ns:Int64}, 'UTC')"
)
_CALLER: Final = OF_ROOT.index("caller_trace_id") + 1

# One past the most, which is then in the next range with all that came at the same time.
_CUT: Final = f"""
SELECT toUnixTimestamp64Nano(received_at) AS at FROM traces WHERE {_RECEIVED} ORDER BY at DESC LIMIT 1 OFFSET {{most:UInt32}}
"""

# A trace whose later spans or root say that it has not failed is met by its row in `failures`.
_CONSIDERED: Final = f"""
SELECT tenant, trace_id, toUnixTimestamp64Nano(maxIf(received_at, {_RECEIVED})) AS touched,
  toUnixTimestamp64Nano(min(start_time)), toUnixTimestamp64Nano(max(received_at)), sum(roots) > 0,
  {WORST_STATUS}[max(indexOf({WORST_STATUS}, status))], argMin(first_status, start_time),
  arraySort(groupUniqArrayArray(agents)), arrayDistinct(groupArrayArray(hours)),
  length(groupUniqArrayArray(span_ids)),
  tupleElement(minIf((value_ranks[{_CALLER}], caller_trace_id), caller_trace_id != ''), 2),
  groupUniqArrayArray(arrayMap(c -> (c.1, c.7), calls))
FROM traces WHERE trace_id IN (
  SELECT trace_id FROM (
    SELECT trace_id, max(received_at) AS last FROM traces
    WHERE {_RECEIVED} AND (status IN {_BAD} OR (roots = 0 AND first_status IN {_BAD})
      OR (tenant, trace_id) IN (SELECT tenant, trace_id FROM failures WHERE is_failed AND (tenant, trace_id) IN (
        SELECT tenant, trace_id FROM traces WHERE {_RECEIVED})))
    GROUP BY tenant, trace_id ORDER BY last DESC LIMIT {{limit:UInt32}} WITH TIES))
GROUP BY tenant, trace_id HAVING touched > 0
"""

_TEXT_BYTES: Final = f"least({FAILURE_TEXT_BYTES_MAX}, greatest(500, intDiv({FAILURE_RUN_BYTES // 2}, total)))"


def _cut(column: str) -> str:
    return (
        f"if(is_read, if(length({column}) > 2 * most, concat(substring({column}, 1, most), "
        f"substring({column}, length({column}) - most + 1)), {column}), '')"
    )


# Attributes and events only of the spans that need them: texts are most of what is stored.
_SPANS: Final = f"""
SELECT trace_id, span_id, parent_span_id, start_ns, duration_ns, name, toString(kind), agent_id, tool_name, status,
  error_type, {_cut("status_message")}, {_cut("input")}, {_cut("output")},
  if(is_read, arrayMap(a -> (a.1, substring(a.2, 1, 2 * most)), arrayFilter(
    a -> a.3 IN ({int(AttributeType.STRING)}, {int(AttributeType.INT)}) AND match(a.1, '{ATTRIBUTE_PATTERN}'),
    arrayZip(mapKeys(attributes), mapValues(attributes), attribute_types))), []),
  if(is_read AND (output = '' OR (status = {_ERROR} AND status_message = '')),
    arrayFilter(e -> length(e) <= 4 * {FAILURE_TEXT_BYTES_MAX}, arraySlice(events, -{_EVENTS_MAX})), [])
FROM (
  SELECT *, {_TEXT_BYTES} AS most, place <= {STEPS_MAX} OR place > total - {STEPS_MAX} AS is_read FROM (
    SELECT *, toUnixTimestamp64Nano(start_time) AS start_ns,
      row_number() OVER (PARTITION BY trace_id ORDER BY start_time, span_id) AS place,
      count() OVER (PARTITION BY trace_id) AS total
    FROM (
      SELECT trace_id, span_id, parent_span_id, start_time, duration_ns, name, kind, agent_id, tool_name, status,
        error_type, status_message, input, output, attributes, attribute_types, events
      FROM spans WHERE OF_TRACES LIMIT 1 BY trace_id, span_id
    )
  ) WHERE place <= {FAILURE_SPANS_MAX + 1}
)
ORDER BY trace_id, start_ns, span_id
"""
_OF_ONE: Final = _SPANS.replace("OF_TRACES", OF_TRACE)
_OF_MANY: Final = _SPANS.replace(
    "OF_TRACES",
    """(tenant, toStartOfHour(start_time), trace_id) IN (
        SELECT {tenant:String}, toDateTime(key.1, 'UTC'), toFixedString(unhex(key.2), 16)
        FROM (SELECT arrayJoin(arrayZip({hours:Array(UInt32)}, {ids:Array(String)})) AS key))""",
)

# Rows as one text of JSON, which any sign may stand in. A trace that was deleted meanwhile must not come back; what is
# deleted from here on, deletion.forget_trace removes, on the same thread.
_KEEP: Final = """
INSERT INTO failures SELECT row.tenant, fromUnixTimestamp64Nano(row.received_ns, 'UTC'), now64(9, 'UTC'),
  toFixedString(unhex(row.id), 16) AS trace, row.caller_id, fromUnixTimestamp64Nano(row.start_ns, 'UTC'), row.is_failed,
  row.is_rooted, row.group_id, row.step_kind, row.step_name, row.error_type, row.message_template, row.agents, row.cost
FROM (
  SELECT JSONExtract(one, 'Tuple(tenant String, id String, caller_id String, received_ns Int64, start_ns Int64,
    is_failed Bool, is_rooted Bool, group_id String, step_kind String, step_name String, error_type String,
    message_template String, agents Array(String), cost Nullable(Float64))') AS row
  FROM (SELECT arrayJoin(JSONExtractArrayRaw({rows:String})) AS one)
)
WHERE (row.tenant, trace) IN (
  SELECT tenant, trace_id FROM traces WHERE trace_id IN (
    SELECT toFixedString(unhex(arrayJoin({ids:Array(String)})), 16)))
"""


class ClickHouseFailures:
    """ports.failures.FailureStore."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def considered(self, received: ReceivedRange, *, limit: int) -> ConsideredRuns:
        """See the port."""
        from_ns = await self._from(received)
        rows = await self._engine.rows(_CONSIDERED, {"from_ns": from_ns, "to_ns": received.end_ns, "limit": limit})
        return ConsideredRuns(list(map(_run, rows)), from_ns if len(rows) < limit else min(row[2] for row in rows))

    async def _from(self, received: ReceivedRange) -> int:
        """Where a pass over the range begins: a range of more than an hour may have any number of traces."""
        if received.end_ns - received.start_ns <= _SHORT_NS:
            return received.start_ns
        values = {"from_ns": received.start_ns, "to_ns": received.end_ns, "most": FAILURE_PASS_TRACES_MAX}
        cut = await self._engine.rows(_CUT, values)
        return min(cut[0][0] + 1, received.end_ns) if cut else received.start_ns

    async def spans(
        self, tenant: TenantId, traces: Mapping[OtelTraceId, Sequence[int]]
    ) -> Mapping[OtelTraceId, Sequence[RunSpan]]:
        """See the port."""
        keys = [(hour, trace_id.hex()) for trace_id, hours in traces.items() for hour in hours]
        values: dict[str, Any] = {"hours": [hour for hour, _ in keys], "ids": [trace_id for _, trace_id in keys]}
        rows = await self._engine.rows(_OF_MANY, {"tenant": tenant, **values})
        return {OtelTraceId(one): list(map(_span, of)) for one, of in groupby(rows, key=lambda row: row[0])}

    async def run_spans(self, tenant: TenantId, trace_id: OtelTraceId) -> Sequence[RunSpan]:
        """See the port."""
        return list(map(_span, await self._engine.rows(_OF_ONE, {"tenant": tenant, "trace": trace_id.hex()})))

    async def keep(self, signed: Sequence[SignedRun]) -> None:
        """See the port."""
        if not signed:
            return
        values = {
            "rows": json.dumps(list(map(_kept, signed)), ensure_ascii=False).encode(errors="replace").decode(),
            "ids": [one.run.otel_trace_id.hex() for one in signed],
        }

        def write(client: Client) -> None:
            client.command(_KEEP, parameters=values)

        await self._engine.settle(write)

    async def groups(
        self, tenant: TenantId, query: GroupQuery, *, limit: int, after: GroupCursor | None
    ) -> Sequence[GroupRow]:
        """See the port."""
        return await read_groups(self._engine, tenant, query, limit, after)


def _run(row: Row) -> ConsideredRun:
    (tenant, trace_id, _, start_ns, received_ns, is_rooted, status, first_status, agents, hours, spans, caller_id,
     calls) = row  # fmt: skip
    costs = [cost for cost in dict(calls).values() if cost is not None]
    return ConsideredRun(
        tenant=TenantId(_text(tenant)),
        otel_trace_id=OtelTraceId(trace_id),
        trace_id=_text(caller_id) or trace_id.hex(),
        start_ns=start_ns,
        received_ns=received_ns,
        is_failed=_text(status if is_rooted else first_status) in _FAILED,
        is_rooted=bool(is_rooted),
        agents=[_text(agent) for agent in agents],
        cost=sum(costs) if costs else None,
        span_count=spans,
        hours=[unix_seconds(hour) for hour in hours],
    )


def _span(row: Row) -> RunSpan:
    (_, span_id, parent, start_ns, duration_ns, name, kind, agent, tool, status, error_type, message, input_, output,
     pairs, events) = row  # fmt: skip
    attributes = {_text(key): _text(value) for key, value in pairs}
    told = [python_attributes(OtlpSpan.Event.FromString(event).attributes) for event in events]
    return RunSpan(
        span_id=SpanId(span_id),
        parent_id=None if parent == NO_PARENT else SpanId(parent),
        start_ns=start_ns,
        duration_ns=duration_ns,
        name=_text(name),
        kind=_text(kind),
        agent_id=AgentId(_text(agent)),
        tool_name=_text(tool),
        input=_text(input_),
        output=_text(output) or output_of(attributes) or next(filter(None, map(_said, reversed(told))), ""),
        failed=status == _ERROR,
        error_type=_text(error_type),
        message=_text(message) or (next(filter(None, map(_exception, reversed(told))), "") if status == _ERROR else ""),
        role=role_of(attributes),
        order=order_of(attributes),
    )


def _said(event: Attributes) -> str:
    return output_of({key: value for key, value in event.items() if isinstance(value, str)})


def _exception(event: Attributes) -> str:
    return str(event.get("exception.message") or event.get("error.message") or "")


def _kept(signed: SignedRun) -> dict[str, Any]:
    run, signature = signed.run, signed.signature
    return {
        "tenant": run.tenant,
        "id": run.otel_trace_id.hex(),
        "caller_id": run.trace_id,
        "received_ns": run.received_ns,
        "start_ns": run.start_ns,
        "is_failed": signature is not None,
        "is_rooted": run.is_rooted,
        "group_id": signature.group_id if signature else "",
        "step_kind": signature.step_kind if signature else "",
        "step_name": signature.step_name if signature else "",
        "error_type": signature.error_type if signature else "",
        "message_template": signature.message_template if signature else "",
        "agents": list(run.agents),
        "cost": run.cost,
    }


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
