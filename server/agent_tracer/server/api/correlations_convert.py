"""FindCorrelations' messages to what the service takes, and back. Pure."""

import math
from typing import Final

from agent_tracer.server.api.fields import int32, time_to
from agent_tracer.server.domain.correlation.findings import RelatedEvent, RelatedLog, RelatedMetric
from agent_tracer.server.services.correlations import Correlated, CorrelationRequest, FoundTrace
from agent_tracer.v1 import correlation_pb2 as pb

_DIGITS: Final = 4
"""Of a correlation: the fifth is noise."""

_LEVELS: Final = ((21, "FATAL"), (17, "ERROR"), (13, "WARN"), (9, "INFO"), (5, "DEBUG"), (1, "TRACE"))
"""OpenTelemetry's severity numbers, from the number on (logs data model, SeverityNumber)."""


def correlations_from(request: pb.FindCorrelationsRequest) -> CorrelationRequest:
    """As the caller wrote it."""
    return CorrelationRequest(
        trace_id=request.trace_id,
        include_metrics=request.include_metrics,
        include_logs=request.include_logs,
        include_events=request.include_events,
        time_window=request.time_window,
    )


def correlations_to(found: Correlated) -> pb.Correlations:
    """Correlations to four digits; levels by name."""
    hint = found.hint
    return pb.Correlations(
        trace=pb.TraceRef(id=found.trace.trace_id, status=found.trace.status),
        related_traces=map(_trace_to, found.traces),
        metrics=map(_metric_to, found.metrics),
        logs=map(_log_to, found.logs),
        events=map(_event_to, found.events),
        root_cause=None
        if hint is None
        else pb.RootCauseHint(type=hint.type, confidence=_score(hint.confidence), component=hint.component),
        caveats=found.caveats,
    )


def level(severity: int) -> str:
    """The name of a severity number's range; empty for 0, which is none."""
    return next((name for least, name in _LEVELS if severity >= least), "")


def _trace_to(trace: FoundTrace) -> pb.RelatedTrace:
    return pb.RelatedTrace(
        id=trace.trace_id, correlation=_score(trace.correlation), status=trace.status, reasons=trace.reasons
    )


def _metric_to(metric: RelatedMetric) -> pb.RelatedMetric:
    return pb.RelatedMetric(
        name=metric.name,
        value=_known(metric.value),
        correlation=_score(metric.correlation),
        q_value=metric.q_value,
        service=metric.component,
        baseline=_known(metric.baseline),
    )


def _log_to(log: RelatedLog) -> pb.RelatedLog:
    return pb.RelatedLog(
        level=level(log.severity),
        message=log.message,
        correlation=_score(log.correlation),
        time=time_to(log.time_ns),
        service=log.component,
        count=int32(log.count),
    )


def _event_to(event: RelatedEvent) -> pb.RelatedEvent:
    return pb.RelatedEvent(
        name=event.name,
        correlation=_score(event.correlation),
        time=time_to(event.time_ns),
        service=event.component,
        detail=event.detail,
    )


def _score(value: float) -> float:
    return round(min(1.0, max(0.0, value)), _DIGITS)


def _known(value: float) -> float:
    """JSON has no other numbers."""
    return value if math.isfinite(value) else 0.0
