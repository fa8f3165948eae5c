"""Changes, incidents and evaluations near a trace.

An event is the more telling the less likely it is that one of its kind comes so near by chance: with events at the rate
of the past, the time to the nearest is exponential. Where something is deployed every minute, a deploy says nothing.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from agent_tracer.server.domain.correlation.cutting import cut_at
from agent_tracer.server.domain.correlation.findings import RelatedEvent, Subject
from agent_tracer.server.domain.correlation.windows import Windows
from agent_tracer.server.domain.incidents import Incident
from agent_tracer.server.domain.rca.view import Change
from agent_tracer.server.domain.statistics.multiple import discovery_rates
from agent_tracer.server.domain.telemetry import Evaluation

DETAIL_CHARACTERS: Final = 300

ON_ITS_SERVICE: Final = 0.9
"""Correlation of an incident that a service of the trace had at the time: somebody else has said that it is ill."""

NEAREST_NS: Final = 1_000_000_000
"""Clocks of several machines agree to about a second."""


@dataclass(frozen=True, slots=True)
class Happened:
    """Something at a moment; `components` empty: not known where."""

    event: RelatedEvent
    components: Sequence[str]


def related_events(
    subject: Subject,
    windows: Windows,
    observed_ns: int,
    changes: Sequence[Change],
    incidents: Sequence[Incident],
) -> list[RelatedEvent]:
    """The most correlated first. `observed_ns`: how much of `windows.events` anything was received in."""
    certain = [event for one in incidents if (event := _going_on(subject, one)) is not None]
    named = {one.incident_id for one in incidents if _going_on(subject, one) is not None}
    happened = [*map(_changed, changes), *(_begun(one) for one in incidents if one.incident_id not in named)]
    found = [*certain, *_near(subject, windows, observed_ns, happened)]
    return sorted(found, key=lambda one: (-one.correlation, one.time_ns, one.name))


def judged(evaluations: Iterable[Evaluation]) -> list[RelatedEvent]:
    """The trace's own evaluations."""
    return [RelatedEvent(f"evaluation {one.name}", 1.0, one.create_time_ns, "", _judgement(one)) for one in evaluations]


def _judgement(one: Evaluation) -> str:
    score = "" if one.score is None else f"score {one.score:g}"
    parts = (score, one.label, one.explanation, f"by {one.annotator}" if one.annotator else "")
    return ", ".join(part for part in parts if part)[:DETAIL_CHARACTERS]


def _going_on(subject: Subject, one: Incident) -> RelatedEvent | None:
    """An incident that names the trace, or that one of its services had while the trace ran."""
    overlaps = one.start_ns <= subject.end_ns and (one.end_ns is None or one.end_ns >= subject.start_ns)
    is_named = {subject.trace_id, subject.key.hex()} & set(one.trace_ids)
    if not is_named and not (overlaps and one.service in subject.services):
        return None
    return _incident(one, 1.0 if is_named else ON_ITS_SERVICE)


def _incident(one: Incident, correlation: float) -> RelatedEvent:
    detail = ", ".join(part for part in (one.title, one.severity, str(one.status), f"from {one.source}") if part)
    return RelatedEvent(
        f"incident {one.incident_id}", correlation, one.start_ns, one.service, detail[:DETAIL_CHARACTERS]
    )


def _begun(one: Incident) -> Happened:
    return Happened(_incident(one, 0.0), [one.service] if one.service else [])


def _changed(change: Change) -> Happened:
    name = f"{change.kind} {change.change_id}".strip()
    text = " ".join(change.text.split())[:DETAIL_CHARACTERS]
    return Happened(
        RelatedEvent(name, 0.0, change.time_ns, ", ".join(change.components), text), list(change.components)
    )


def _near(subject: Subject, windows: Windows, observed_ns: int, happened: Sequence[Happened]) -> list[RelatedEvent]:
    window = windows.window
    inside = [one for one in happened if window.start_ns <= one.event.time_ns < window.end_ns]
    earlier = [one for one in happened if one.event.time_ns < window.start_ns]
    chances = [_chance(subject, one, earlier, inside, observed_ns) for one in inside]
    rates = discovery_rates(chances)
    limit = cut_at(unusual=subject.is_unusual)
    return [
        RelatedEvent(one.event.name, 1.0 - chance, one.event.time_ns, one.event.component, one.event.detail)
        for one, chance, rate in zip(inside, chances, rates, strict=True)
        if rate <= limit
    ]


def _chance(
    subject: Subject, one: Happened, earlier: Sequence[Happened], inside: Sequence[Happened], observed_ns: int
) -> float:
    """That an event on as near a component comes as near in time. What comes after the trace counts twice as far."""
    concerns = _concerns(subject, one)
    alike = sum(_concerns(subject, other) >= concerns for other in earlier)
    alike += sum(_concerns(subject, other) >= concerns for other in inside) - 1
    rate = (alike + 1) / max(observed_ns, NEAREST_NS)
    return -math.expm1(-rate * _distance(subject, one.event.time_ns))


def _concerns(subject: Subject, one: Happened) -> bool:
    """Whether it was on a service of the trace."""
    return bool({*subject.services, *subject.agents}.intersection(one.components))


def _distance(subject: Subject, time_ns: int) -> float:
    """From the trace's start back to the event; within the trace the nearest, after it twice as far."""
    if time_ns <= subject.start_ns:
        return float(max(NEAREST_NS, subject.start_ns - time_ns))
    return float(max(NEAREST_NS, 2 * (time_ns - subject.end_ns), time_ns - subject.start_ns))
