"""A first guess at what went wrong, from the trace and what belongs with it. Root cause analysis looks at far more."""

import re
from collections.abc import Sequence
from typing import Final

from agent_tracer.server.domain.correlation.findings import Hint, RelatedEvent, RelatedLog, RelatedMetric, Subject
from agent_tracer.server.domain.rca.evidence import Evidence
from agent_tracer.server.domain.rca.metric_evidence import kind_of
from agent_tracer.server.domain.rca.signatures import CHANGE, SIGNATURES, UNKNOWN, diagnose
from agent_tracer.server.domain.rca.view import ERROR_SEVERITY

FAILED: Final = 0.45
"""Confidence in a component because the trace's deepest failed span is its own, without anything beside it."""

SLOW: Final = 0.3
CORROBORATED: Final = 0.35
"""Of what lacks to certainty: what a metric, burst or event of the same component adds, times its correlation."""

MOST: Final = 0.95
"""The deepest failed span is not always where it began."""

_CHANGE: Final = re.compile(r"^(?!incident |evaluation )")
_TIMEOUT: Final = re.compile(r"time.?out|deadline|timed out", re.IGNORECASE)


def hint(
    subject: Subject, metrics: Sequence[RelatedMetric], logs: Sequence[RelatedLog], events: Sequence[RelatedEvent]
) -> Hint | None:
    """None for a trace that went as usual."""
    if not subject.is_unusual:
        return None
    component = subject.failure.component if subject.failure else subject.slowest
    if not component:
        return None
    evidence = [*_failure(subject, component), *_metrics(component, metrics), *_logs(component, logs)]
    changes = [one for one in events if _is_change(one) and one.time_ns <= subject.end_ns and _is_of(component, one)]
    change = max(changes, key=lambda one: one.correlation, default=None)
    named = _named(component, evidence, "" if change is None else change.name)
    confidence = FAILED if subject.failure else SLOW
    for strength in [*_support(component, metrics, logs), *([change.correlation] if change else [])]:
        confidence += CORROBORATED * strength * (1 - confidence)
    return Hint(named, min(MOST, confidence), component)


def _named(component: str, evidence: Sequence[Evidence], change: str) -> str:
    """The signature that the evidence fits; a change before anything but an outright word for the fault."""
    told = diagnose(component, evidence).name
    if change and told in _GENERAL:
        return CHANGE.name
    return told


_GENERAL: Final = frozenset(
    {UNKNOWN.name, *(one.name for one in SIGNATURES if not one.words or one.name in {"failing", "slow"})}
)
"""Signatures that say how it shows, not what it is."""


def _failure(subject: Subject, component: str) -> list[Evidence]:
    failure = subject.failure
    if failure is None:
        return [Evidence(component, "latency", "self_time", 1.0, "time", "slower than usual")]
    words = " ".join(part for part in (failure.error_type, failure.message, failure.tool_name) if part)
    if failure.tool_name:
        words = f"tool failed: {words}"
    found = [Evidence(component, "log", "log_error", 1.0, words, words)]
    if _TIMEOUT.search(words):
        found.append(Evidence(component, "latency", "self_time", 1.3, "time", words))
    return found


def _metrics(component: str, metrics: Sequence[RelatedMetric]) -> list[Evidence]:
    return [
        Evidence(
            component, "metric", f"metric_{kind_of(one.name)}", one.correlation, one.name,
            f"{one.name} went from {one.baseline:.4g} to {one.value:.4g}",
        )
        for one in metrics
        if one.component == component
    ]  # fmt: skip


def _logs(component: str, logs: Sequence[RelatedLog]) -> list[Evidence]:
    return [
        Evidence(component, "log", "log_error", one.correlation, one.message, one.message)
        for one in logs
        if one.component == component and one.severity >= ERROR_SEVERITY
    ]


def _support(component: str, metrics: Sequence[RelatedMetric], logs: Sequence[RelatedLog]) -> list[float]:
    """The strongest of each kind: ten metrics of one fault are one fault."""
    of_metrics = [one.correlation for one in metrics if one.component == component]
    of_logs = [one.correlation for one in logs if one.component == component and one.severity >= ERROR_SEVERITY]
    return [max(each) for each in (of_metrics, of_logs) if each]


def _is_change(event: RelatedEvent) -> bool:
    return bool(_CHANGE.match(event.name))


def _is_of(component: str, event: RelatedEvent) -> bool:
    return not event.component or component in event.component.split(", ")
