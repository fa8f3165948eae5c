"""Reads what correlation looks at of one trace, and the traces beside it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

from agent_tracer.server.adapters.clickhouse.engine import Engine, Row
from agent_tracer.server.adapters.clickhouse.spans import NO_PARENT, OF_TRACE
from agent_tracer.server.adapters.clickhouse.telemetry.bodies import body_value, line
from agent_tracer.server.domain.correlation.findings import (
    Began,
    Failure,
    RelatedLog,
    Tie,
    TieKeys,
    TieKind,
    TraceSpan,
)
from agent_tracer.server.domain.ids import AgentId, OtelTraceId, SpanId, TenantId
from agent_tracer.server.domain.telemetry import TimeRange, Trace
from agent_tracer.server.domain.trace_records import RECORD_SERVICE
from agent_tracer.server.limits import (
    CORRELATION_CANDIDATES_MAX,
    CORRELATION_SPANS_MAX,
    CORRELATION_TIES_MAX,
    CORRELATION_TRACE_LOGS_MAX,
)

MESSAGE_CHARACTERS: Final = 2_000
"""Read of a status message, exception or log line: what it says first, it is about."""

_EXCEPTION: Final = "exception.message"

_ANATOMY: Final = f"""
SELECT span_id, parent_span_id, toUnixTimestamp64Nano(start_time) AS start_ns, duration_ns, name, kind, service, agent_id,
  tool_name, status = 2 AS failed, error_type, substringUTF8(status_message, 1, {MESSAGE_CHARACTERS}), task_id, links,
  if(status = 2 AND status_message = '', events, []) AS events_
FROM spans WHERE {OF_TRACE}
ORDER BY failed DESC, start_ns, span_id LIMIT 1 BY span_id LIMIT {CORRELATION_SPANS_MAX}
"""

_IN_RANGE: Final = """start_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
  AND start_time < fromUnixTimestamp64Nano({to_ns:Int64}, 'UTC')"""
_IN_HOURS: Final = f"""{_IN_RANGE}
  AND toStartOfHour(start_time) >= toStartOfHour(fromUnixTimestamp64Nano({{from_ns:Int64}}, 'UTC'))
  AND toStartOfHour(start_time) <= toStartOfHour(fromUnixTimestamp64Nano({{to_ns:Int64}}, 'UTC'))"""
_OTHERS: Final = "tenant = {tenant:String} AND trace_id != toFixedString(unhex({trace:String}), 16)"

# One branch for each kind of tie that the trace has: (kind, name, trace, start).
_BRANCHES: Final[Mapping[TieKind, str]] = {
    TieKind.LINKED: f"""
SELECT 'linked' AS kind, '' AS tie, trace_id, toUnixTimestamp64Nano(min(start_time)) AS start_ns FROM spans
WHERE {_OTHERS} AND {_IN_HOURS} AND notEmpty(links) AND arrayExists(l -> position(l, unhex({{trace:String}})) > 0, links)
GROUP BY trace_id""",
    TieKind.LINKS: f"""
SELECT 'links' AS kind, '' AS tie, trace_id, toUnixTimestamp64Nano(min(start_time)) AS start_ns FROM traces
WHERE {_OTHERS} AND trace_id IN (SELECT toFixedString(unhex(arrayJoin({{links:Array(String)}})), 16))
GROUP BY trace_id""",
    TieKind.TASK: f"""
SELECT 'task' AS kind, task_id AS tie, trace_id, toUnixTimestamp64Nano(min(start_time)) AS start_ns FROM spans
WHERE {_OTHERS} AND {_IN_HOURS} AND has({{tasks:Array(String)}}, task_id) GROUP BY tie, trace_id""",
    TieKind.SESSION: f"""
SELECT 'session' AS kind, session_id AS tie, trace_id, toUnixTimestamp64Nano(min(start_time)) AS start_ns FROM traces
WHERE {_OTHERS} AND {_IN_RANGE} AND session_id = {{session:String}} GROUP BY tie, trace_id""",
    TieKind.WORKFLOW: f"""
SELECT 'workflow' AS kind, workflow_id AS tie, trace_id, toUnixTimestamp64Nano(min(start_time)) AS start_ns FROM traces
WHERE {_OTHERS} AND {_IN_RANGE.replace("{from_ns", "{past_ns")} AND workflow_id = {{workflow:String}}
GROUP BY tie, trace_id""",
}
_TIES: Final = """
SELECT kind, tie, trace_id, start_ns FROM ({branches}) ORDER BY start_ns, trace_id LIMIT {limit} BY kind, tie
"""

_FAILING: Final = f"""
SELECT trace_id, toUnixTimestamp64Nano(min(start_time)) AS start_ns FROM spans
WHERE {_OTHERS} AND {_IN_HOURS} AND status = 2 AND has({{services:Array(String)}}, toString(service))
  AND if({{type:String}} != '', error_type = {{type:String}}, name = {{name:String}})
  AND {{agent:String}} IN ('', agent_id)
GROUP BY trace_id ORDER BY start_ns DESC, trace_id LIMIT {CORRELATION_CANDIDATES_MAX}
"""

_DURATIONS: Final = f"""
SELECT trace_id, toUnixTimestamp64Nano(start_time) AS start_ns, duration_ns FROM units FINAL
WHERE {_OTHERS} AND unit = 'trace' AND {_IN_RANGE}
  AND hour >= toStartOfHour(fromUnixTimestamp64Nano({{from_ns:Int64}}, 'UTC'))
  AND hour <= toStartOfHour(fromUnixTimestamp64Nano({{to_ns:Int64}}, 'UTC'))
  AND operation = {{operation:String}} AND agent_id = {{agent:String}} AND is_unit AND status != 'running'
ORDER BY start_ns DESC, trace_id LIMIT {CORRELATION_CANDIDATES_MAX}
"""

_LOGS: Final = f"""
SELECT toUnixTimestamp64Nano(time) AS ns, service, severity_number, body, body_type, event_name,
  attributes['exception.type'], substringUTF8(attributes['exception.message'], 1, {MESSAGE_CHARACTERS})
FROM logs WHERE tenant = {{tenant:String}} AND trace_id = unhex({{trace:String}})
ORDER BY severity_number DESC, ns LIMIT {CORRELATION_TRACE_LOGS_MAX}
"""


class ClickHouseRelated:
    """ports.related.RelatedReader."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def anatomy(self, tenant: TenantId, key: OtelTraceId) -> Sequence[TraceSpan]:
        """See the port."""
        return [_span(row) for row in await self._engine.rows(_ANATOMY, {"tenant": tenant, "trace": key.hex()})]

    async def ties(self, tenant: TenantId, keys: TieKeys, past: TimeRange, window: TimeRange) -> Sequence[Tie]:
        """See the port."""
        had = {
            TieKind.LINKED: True,
            TieKind.LINKS: bool(keys.links),
            TieKind.TASK: bool(keys.tasks),
            TieKind.SESSION: bool(keys.session_id),
            TieKind.WORKFLOW: bool(keys.workflow_id),
        }
        branches = " UNION ALL ".join(_BRANCHES[kind] for kind, is_had in had.items() if is_had)
        parameters = {
            **_range(window),
            "tenant": tenant,
            "trace": keys.key.hex(),
            "links": [link.hex() for link in keys.links[:CORRELATION_TIES_MAX]],
            "tasks": list(keys.tasks[:CORRELATION_TIES_MAX]),
            "session": keys.session_id,
            "workflow": keys.workflow_id,
            "past_ns": past.start_ns,
        }
        rows = await self._engine.rows(_TIES.format(branches=branches, limit=CORRELATION_TIES_MAX), parameters)
        return [Tie(OtelTraceId(key), start, TieKind(_text(kind)), _text(name)) for kind, name, key, start in rows]

    async def failing(
        self, tenant: TenantId, key: OtelTraceId, failure: Failure, time_range: TimeRange
    ) -> Sequence[Began]:
        """See the port."""
        parameters = {
            **_range(time_range),
            "tenant": tenant,
            "trace": key.hex(),
            "services": [failure.service] if failure.service else ["", RECORD_SERVICE],
            "type": failure.error_type,
            "name": failure.name,
            "agent": "" if failure.service else failure.agent_id,
        }
        rows = await self._engine.rows(_FAILING, parameters)
        return [Began(OtelTraceId(other), start) for other, start in rows]

    async def durations(self, tenant: TenantId, trace: Trace, time_range: TimeRange) -> Sequence[tuple[Began, int]]:
        """See the port."""
        parameters = {
            **_range(time_range),
            "tenant": tenant,
            "trace": trace.otel_trace_id.hex(),
            "operation": trace.operation,
            "agent": trace.agent_id,
        }
        rows = await self._engine.rows(_DURATIONS, parameters)
        return [(Began(OtelTraceId(other), start), duration) for other, start, duration in rows]

    async def logs(self, tenant: TenantId, key: OtelTraceId) -> Sequence[RelatedLog]:
        """See the port."""
        return [_log(row) for row in await self._engine.rows(_LOGS, {"tenant": tenant, "trace": key.hex()})]


def _range(time_range: TimeRange) -> dict[str, Any]:
    return {"from_ns": time_range.start_ns, "to_ns": time_range.end_ns}


def _span(row: Row) -> TraceSpan:
    (span_id, parent, start_ns, duration_ns, name, kind, service, agent, tool, failed, error_type, message, task, links,
     events) = row  # fmt: skip
    return TraceSpan(
        span_id=SpanId(span_id),
        parent_id=None if parent == NO_PARENT else SpanId(parent),
        start_ns=start_ns,
        duration_ns=duration_ns,
        name=_text(name),
        kind=_text(kind),
        service=_text(service),
        agent_id=AgentId(_text(agent)),
        tool_name=_text(tool),
        failed=bool(failed),
        error_type=_text(error_type),
        message=_text(message) or _thrown(events),
        task_id=_text(task),
        links=[OtelTraceId(OtlpSpan.Link.FromString(link).trace_id) for link in links],
    )


def _thrown(events: Sequence[bytes]) -> str:
    """The message of the last exception that was recorded."""
    found = ""
    for event in map(OtlpSpan.Event.FromString, events):
        for pair in event.attributes:
            if pair.key == _EXCEPTION:
                found = pair.value.string_value[:MESSAGE_CHARACTERS]
    return found


def _log(row: Row) -> RelatedLog:
    ns, service, severity, body, body_type, event_name, thrown_type, thrown = row
    told = line(body_value(body_type, body), {"exception.type": _text(thrown_type), "exception.message": _text(thrown)})
    return RelatedLog(
        severity=severity,
        message=told[:MESSAGE_CHARACTERS] or _text(event_name),
        component=_text(service),
        time_ns=ns,
        count=1,
        correlation=1.0,
        of_trace=True,
    )


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
