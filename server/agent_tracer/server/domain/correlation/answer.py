"""The whole answer, from everything that was read around a trace."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent_tracer.server.domain.correlation import telling
from agent_tracer.server.domain.correlation.around import Around, Asked
from agent_tracer.server.domain.correlation.events import judged, related_events
from agent_tracer.server.domain.correlation.findings import (
    Hint,
    RelatedEvent,
    RelatedLog,
    RelatedMetric,
    RelatedTrace,
    Subject,
)
from agent_tracer.server.domain.correlation.hint import hint
from agent_tracer.server.domain.correlation.logs import bursting_logs, own_logs
from agent_tracer.server.domain.correlation.metrics import related_metrics
from agent_tracer.server.domain.correlation.traces import alike, merged, tied
from agent_tracer.server.domain.correlation.windows import Windows
from agent_tracer.server.limits import CORRELATION_LIST_MAX


@dataclass(frozen=True, slots=True)
class Related:
    """The lists, each the most correlated first, at most CORRELATION_LIST_MAX long."""

    traces: Sequence[RelatedTrace]
    metrics: Sequence[RelatedMetric]
    logs: Sequence[RelatedLog]
    events: Sequence[RelatedEvent]
    hint: Hint | None
    caveats: Sequence[str]


def answer(asked: Asked, subject: Subject, when: Windows, around: Around) -> Related:
    """Every list cut by itself; a record of the trace's own belongs to it whatever the statistics."""
    traces = _traces(subject, when, around)
    metrics = related_metrics(
        subject,
        around.metrics,
        around.services,
        left_out=around.metrics_left_out,
        place=when.place_of(subject.start_ns),
    )
    bursts = bursting_logs(subject, around.logs, when, around.logs_left_out)
    logs = [*own_logs(around.own_logs), *bursts]
    events: list[RelatedEvent] = []
    if asked.events:
        of_others = related_events(subject, when, around.events_observed_ns, around.changes, around.incidents)
        events = [*judged(around.evaluations), *of_others]
    counts = {"traces": len(traces), "metrics": len(metrics), "logs": len(logs), "events": len(events)}
    most = CORRELATION_LIST_MAX
    return Related(
        traces[:most],
        metrics[:most],
        logs[:most],
        events[:most],
        hint(subject, metrics, bursts, events),
        _caveats(asked, subject, when, around, counts),
    )


def _traces(subject: Subject, when: Windows, around: Around) -> list[RelatedTrace]:
    failed = telling.FAILED_ALIKE.format(telling.failure(subject.failure)) if subject.failure else ""
    return merged(
        [
            *tied(around.ties, when),
            *alike(subject, when, around.failing, failed),
            *alike(subject, when, around.similar, telling.SIMILAR_WORK),
            *alike(subject, when, around.slow, telling.SLOW_ALIKE),
        ]
    )


def _caveats(asked: Asked, subject: Subject, when: Windows, around: Around, counts: Mapping[str, int]) -> Sequence[str]:
    looked_at = {"spans": True, "metrics": asked.metrics, "logs": asked.logs}
    observed = {signal: around.observed.get(signal, ()) for signal, is_asked in looked_at.items() if is_asked}
    told = [
        *telling.windows_told(subject, when),
        *telling.not_asked(asked),
        *telling.not_there(when, observed),
        *around.caveats,
        *telling.too_many(counts),
    ]
    return list(dict.fromkeys(told))
