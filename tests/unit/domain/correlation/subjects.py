"""Traces to ask about, and the time around them."""

from typing import Any, Final

from agent_tracer.server.domain.correlation.findings import Failure, Subject, TraceSpan
from agent_tracer.server.domain.correlation.windows import MINUTE_NS, Windows, windows
from agent_tracer.server.domain.ids import AgentId, OtelTraceId, SpanId, TraceId
from agent_tracer.server.domain.telemetry import TokenUsage, Trace, TraceStatus

START_NS: Final = 1_790_000_000 * 10**9 // MINUTE_NS * MINUTE_NS
FAILURE: Final = Failure("payment", "", "charge", "", "ConnectionRefused", "connection to ledger refused")


def around(minutes: int = 5, length_minutes: int = 0) -> Windows:
    end_ns = START_NS + length_minutes * MINUTE_NS
    return windows(START_NS, end_ns, minutes * MINUTE_NS, end_ns + 100 * MINUTE_NS)


def subject(**fields: Any) -> Subject:
    given: dict[str, Any] = {
        "trace_id": TraceId("one"),
        "key": key(0),
        "status": TraceStatus.ERROR,
        "start_ns": START_NS,
        "end_ns": START_NS + 10**9,
        "services": ("payment",),
        "failure": FAILURE,
    }
    return Subject(**given | fields)


def usual_subject() -> Subject:
    return subject(status=TraceStatus.SUCCESS, failure=None)


def key(number: int) -> OtelTraceId:
    return OtelTraceId(bytes([1]) + number.to_bytes(15, "big"))


def span(number: int, parent: int = 0, *, start: float = 0, seconds: float = 1, **fields: Any) -> TraceSpan:
    given: dict[str, Any] = {"name": f"span {number}", "service": "shop"} | fields
    return TraceSpan(
        span_id=SpanId(number.to_bytes(8, "big")),
        parent_id=SpanId(parent.to_bytes(8, "big")) if parent else None,
        start_ns=START_NS + round(start * 1e9),
        duration_ns=round(seconds * 1e9),
        **given,
    )


def trace(**fields: Any) -> Trace:
    given: dict[str, Any] = {
        "trace_id": TraceId("one"),
        "otel_trace_id": key(0),
        "agent_id": AgentId("planner"),
        "operation": "plan",
        "status": TraceStatus.ERROR,
        "start_ns": START_NS,
        "end_ns": START_NS + 10**9,
        "metadata": {},
        "workflow_id": "",
        "session_id": "",
        "task_type": "",
        "span_count": 1,
        "error_count": 1,
        "agents": ("planner",),
        "services": ("shop",),
        "usage": TokenUsage(),
        "cost": None,
    }
    return Trace(**given | fields)
