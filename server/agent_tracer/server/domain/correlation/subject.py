"""What of a trace is asked about: where it failed, whether it was slow, what it consists of."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from agent_tracer.server.domain.correlation.findings import Failure, Subject, TieKeys, TraceSpan
from agent_tracer.server.domain.ids import SpanId
from agent_tracer.server.domain.telemetry import Trace, TraceStatus
from agent_tracer.server.domain.trace_records import RECORD_SERVICE
from agent_tracer.server.domain.trees import depth_first

USUAL_TRACES_MIN: Final = 20
"""Earlier traces of the operation from which on their durations say what is slow."""

SLOW_RATIO: Final = 2.0
"""Times the median duration, and beyond all but one in twenty: slow."""

SLOW_SHARE: Final = 0.95

_FAILED: Final = frozenset({TraceStatus.ERROR, TraceStatus.TIMEOUT})


def subject_of(trace: Trace, spans: Sequence[TraceSpan], durations_ns: Sequence[int]) -> Subject:
    """`durations_ns`: of earlier traces of the same operation."""
    failure = _failure(trace, spans)
    usual_ns, slow_ns = usual(durations_ns)
    named = [name for name in trace.services if name not in ("", RECORD_SERVICE)]
    leading = [failure.service] if failure and failure.service in named else []
    return Subject(
        trace_id=trace.trace_id,
        key=trace.otel_trace_id,
        status=trace.status,
        start_ns=trace.start_ns,
        end_ns=max(trace.end_ns, trace.start_ns),
        services=[*leading, *(name for name in named if name not in leading)],
        agents=[name for name in trace.agents if name],
        failure=failure,
        slowest=_slowest(spans),
        usual_ns=usual_ns,
        is_slow=slow_ns is not None and trace.end_ns - trace.start_ns > slow_ns,
    )


def usual(durations_ns: Sequence[int]) -> tuple[int | None, int | None]:
    """The median, and the duration beyond which a trace is slow; None where too few are known."""
    if len(durations_ns) < USUAL_TRACES_MIN:
        return None, None
    ordered = sorted(durations_ns)
    median = ordered[len(ordered) // 2]
    return median, max(round(SLOW_RATIO * median), ordered[int(SLOW_SHARE * (len(ordered) - 1))])


def ties_of(trace: Trace, spans: Sequence[TraceSpan]) -> TieKeys:
    """What the trace says about others."""
    key = trace.otel_trace_id
    links = dict.fromkeys(link for span in spans for link in span.links if link != key)
    tasks = dict.fromkeys(span.task_id for span in spans if span.task_id)
    return TieKeys(key, list(links), list(tasks), trace.session_id, trace.workflow_id)


def _failure(trace: Trace, spans: Sequence[TraceSpan]) -> Failure | None:
    """The deepest failed span that no later one of the same kind, name and parent mended; the last of equally deep."""
    if trace.status not in _FAILED:
        return None
    placed = {one.span.span_id: one for one in depth_first(spans)}
    mended = _mended(spans)
    failed = [span for span in spans if span.failed and mended.get(_place(span), -1) <= span.start_ns]
    chosen = max(failed, key=lambda span: (placed[span.span_id].depth, span.start_ns, span.span_id), default=None)
    if chosen is None:
        return Failure("", trace.agent_id, trace.operation, "", str(trace.status), "")
    return Failure(
        service="" if chosen.service == RECORD_SERVICE else chosen.service,
        agent_id=placed[chosen.span_id].agent_id,
        name=chosen.name,
        tool_name=chosen.tool_name,
        error_type=chosen.error_type,
        message=chosen.message,
    )


def _place(span: TraceSpan) -> tuple[str, str, SpanId | None]:
    return span.kind, span.tool_name or span.name, span.parent_id


def _mended(spans: Sequence[TraceSpan]) -> Mapping[tuple[str, str, SpanId | None], int]:
    """When each call last went well."""
    found: dict[tuple[str, str, SpanId | None], int] = {}
    for span in spans:
        if not span.failed:
            found[_place(span)] = max(found.get(_place(span), 0), span.start_ns)
    return found


def _slowest(spans: Sequence[TraceSpan]) -> str:
    """The component whose spans took most time beyond what their children took."""
    children: dict[SpanId, list[TraceSpan]] = defaultdict(list)
    for span in spans:
        if span.parent_id is not None:
            children[span.parent_id].append(span)
    own: dict[str, int] = defaultdict(int)
    for span in spans:
        service = "" if span.service == RECORD_SERVICE else span.service
        own[service or span.agent_id or span.name] += max(0, span.duration_ns - _covered(span, children[span.span_id]))
    return max(own, key=lambda name: (own[name], name), default="")


def _covered(span: TraceSpan, children: Sequence[TraceSpan]) -> int:
    """Nanoseconds of a span in which a child of it was running."""
    covered, until = 0, span.start_ns
    end = span.start_ns + span.duration_ns
    for child in sorted(children, key=lambda one: one.start_ns):
        finish = min(end, child.start_ns + child.duration_ns)
        covered += max(0, finish - max(until, child.start_ns))
        until = max(until, finish)
    return covered
