"""Reads spans as replays and critical paths need them."""

from collections.abc import Sequence
from itertools import groupby
from typing import Final

from agent_tracer.server.adapters.clickhouse.engine import Engine, Row
from agent_tracer.server.adapters.clickhouse.spans import NO_PARENT, OF_TRACE
from agent_tracer.server.adapters.clickhouse.values import unix_seconds
from agent_tracer.server.domain.atlas.workflow import WorkSpan
from agent_tracer.server.domain.ids import AgentId, OtelTraceId, SpanId, TenantId
from agent_tracer.server.domain.telemetry import TimeRange
from agent_tracer.server.limits import WORK_TEXT_BYTES_MAX, WORKFLOW_SPANS_MAX, WORKFLOW_TRACES_MAX
from agent_tracer.server.ports.work import WorkflowTraces

_COLUMNS: Final = f"""
span_id, parent_span_id, toUnixTimestamp64Nano(start_time) AS start_ns, duration_ns, name, toString(kind),
  if(status = 2, 'error', ''), service, agent_id, model, tool_name, cost, input_tokens, output_tokens,
  if(length(input) > {WORK_TEXT_BYTES_MAX}, '', input), if(length(output) > {WORK_TEXT_BYTES_MAX}, '', output),
  if(input = '', '', lower(hex(sipHash128(input))))
"""
_OF_ONE: Final = f"""
SELECT {_COLUMNS} FROM spans WHERE {OF_TRACE} ORDER BY start_time, span_id LIMIT 1 BY span_id LIMIT {{limit:UInt32}}
"""

# Whole traces, newest first, until they have too many spans together. A trace without a root may still be running.
_CHOSEN: Final = """
SELECT trace_id, hours_, count() OVER () FROM (
  SELECT trace_id, groupUniqArrayArray(hours) AS hours_, length(groupUniqArrayArray(span_ids)) AS spans,
    min(start_time) AS start, sum(roots) AS root_count
  FROM traces WHERE tenant = {tenant:String} AND trace_id IN (
    SELECT trace_id FROM traces WHERE tenant = {tenant:String} AND workflow_id = {workflow:String}
      AND start_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC') AND start_time < fromUnixTimestamp64Nano({to_ns:Int64}, 'UTC'))
  GROUP BY trace_id HAVING root_count > 0
)
QUALIFY sum(least(spans, {spans:UInt32} + 1)) OVER (ORDER BY start DESC, trace_id ROWS UNBOUNDED PRECEDING) <= {spans:UInt32}
ORDER BY start DESC, trace_id LIMIT {traces:UInt32}
"""
_OF_MANY: Final = f"""
SELECT trace_id, {_COLUMNS} FROM spans
WHERE (tenant, toStartOfHour(start_time), trace_id) IN (
  SELECT {{tenant:String}}, toDateTime(key.1, 'UTC'), toFixedString(unhex(key.2), 16)
  FROM (SELECT arrayJoin(arrayZip({{hours:Array(UInt32)}}, {{ids:Array(String)}})) AS key))
ORDER BY trace_id, start_time, span_id LIMIT 1 BY trace_id, span_id
"""
_IS_WORKFLOW: Final = "SELECT 1 FROM traces WHERE tenant = {tenant:String} AND workflow_id = {workflow:String} LIMIT 1"


class ClickHouseWork:
    """ports.work.WorkReader."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def trace_work(self, tenant: TenantId, trace_id: OtelTraceId, *, limit: int) -> Sequence[WorkSpan]:
        """See the port."""
        rows = await self._engine.rows(_OF_ONE, {"tenant": tenant, "trace": trace_id.hex(), "limit": limit})
        return [_work_span(row) for row in rows]

    async def workflow_work(self, tenant: TenantId, workflow_id: str, time_range: TimeRange) -> WorkflowTraces:
        """See the port."""
        parameters = {
            "tenant": tenant,
            "workflow": workflow_id,
            "from_ns": time_range.start_ns,
            "to_ns": time_range.end_ns,
            "spans": WORKFLOW_SPANS_MAX,
            "traces": WORKFLOW_TRACES_MAX,
        }
        chosen = await self._engine.rows(_CHOSEN, parameters)
        if not chosen:
            return WorkflowTraces((), 0)
        keys = [(unix_seconds(hour), trace_id.hex()) for trace_id, hours, _ in chosen for hour in hours]
        rows = await self._engine.rows(
            _OF_MANY, {"tenant": tenant, "hours": [hour for hour, _ in keys], "ids": [trace_id for _, trace_id in keys]}
        )
        spans = {
            trace_id: [_work_span(row[1:]) for row in of] for trace_id, of in groupby(rows, key=lambda row: row[0])
        }
        return WorkflowTraces([spans[row[0]] for row in chosen if row[0] in spans], chosen[0][2] - len(chosen))

    async def is_workflow(self, tenant: TenantId, workflow_id: str) -> bool:
        """See the port."""
        return bool(await self._engine.rows(_IS_WORKFLOW, {"tenant": tenant, "workflow": workflow_id}))


def _work_span(row: Row) -> WorkSpan:
    (span_id, parent, start_ns, duration_ns, name, kind, status, service, agent, model, tool, cost, input_tokens,
     output_tokens, input_, output, input_hash) = row  # fmt: skip
    return WorkSpan(
        span_id=SpanId(span_id),
        parent_id=None if parent == NO_PARENT else SpanId(parent),
        start_ns=start_ns,
        end_ns=start_ns + duration_ns,
        name=_text(name),
        kind=_text(kind),
        status=_text(status),
        service=_text(service),
        agent_id=AgentId(_text(agent)),
        model=_text(model),
        tool_name=_text(tool),
        cost=cost,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        input=_text(input_),
        output=_text(output),
        input_hash=_text(input_hash),
    )


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
