"""Alarms of a service put together to incidents: one at a time, whatever measures it shows in."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from agent_tracer.server.domain.detection.figures import Alarm, Measure
from agent_tracer.server.domain.detection.limits import BUCKET_SECONDS
from agent_tracer.server.domain.ids import TenantId, TraceId
from agent_tracer.server.domain.incidents import Incident, IncidentSource, IncidentStatus

BUCKET_NS: Final = BUCKET_SECONDS * 1_000_000_000
APART_BUCKETS: Final = 72
"""Six hours: what comes sooner after an incident belongs to it."""
RESOLVED_BUCKETS: Final = 6
"""Half an hour without an alarm: it is over, as far as is known."""

_PERSON: Final = b"agent-tracer:det"
_CRITICAL_TIMES: Final = 3.0
_LAST_SEEN: Final = "last_seen"
_QUIET_SINCE: Final = "quiet_since"
_MEASURES: Final = "measures"


class Kind(StrEnum):
    """What a series is of."""

    SERVICE = "service"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class Subject:
    """A service, or an agent with the service that its tasks ran in ("": not known)."""

    kind: Kind
    name: str
    service: str

    @property
    def place(self) -> str:
        """What has one incident at a time: the service, and an agent where its service is not known."""
        return f"service {self.service}" if self.service else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Episode:
    """From the first alarm's bucket to the last one's; `worst` is the first of the worst alarms, of `subject`.

    `ended_ns`: when it ended as somebody said, which stays whatever is noticed.
    """

    incident_id: str
    subject: Subject
    first: int
    last: int
    worst: Alarm
    measures: tuple[str, ...]
    trace_ids: tuple[TraceId, ...] = ()
    ended_ns: int | None = None

    @property
    def until(self) -> int:
        """The last bucket of it."""
        return self.last if self.ended_ns is None else max(self.last, (self.ended_ns - 1) // BUCKET_NS)

    @property
    def reach(self) -> int:
        """The last bucket of which an alarm belongs to it."""
        return self.last + APART_BUCKETS if self.ended_ns is None else self.until

    def is_over(self, judged_to: int) -> bool:
        """Whether it is, as far as is known when everything up to that bucket is judged."""
        return self.ended_ns is not None or judged_to - self.last >= RESOLVED_BUCKETS


def episodes(
    tenant: TenantId, former: Sequence[Episode], found: Iterable[tuple[Subject, Alarm]]
) -> tuple[list[Episode], list[Episode]]:
    """All episodes of a place by time, and those of them that are new or changed.

    `former`: those known by now, by time. Alarms, in any order, within APART_BUCKETS of an episode belong to it; what
    comes after an end that somebody gave does not.
    """
    known = list(former)
    for subject, alarm in sorted(found, key=lambda one: (one[1].bucket, -one[1].times)):
        near = [one for one in known if one.first - APART_BUCKETS <= alarm.bucket <= one.reach]
        if near:
            of = next((one for one in near if one.first <= alarm.bucket <= one.until), near[-1])
            known[known.index(of)] = _joined(of, subject, alarm)
        else:
            made = _id(tenant, subject, alarm.bucket)
            known.append(Episode(made, subject, alarm.bucket, alarm.bucket, alarm, (str(alarm.measure),)))
    known.sort(key=lambda one: one.first)
    return known, [one for one in known if one not in former]


def incident_of(episode: Episode, judged_to: int) -> Incident:
    """As it is kept. `judged_to`: the bucket up to which is known that nothing more came."""
    subject, worst = episode.subject, episode.worst
    is_over = episode.is_over(judged_to)
    seen_ns = (episode.last + 1) * BUCKET_NS
    end_ns = seen_ns if episode.ended_ns is None else episode.ended_ns
    labels = {"measure": str(worst.measure), "kind": str(subject.kind), _MEASURES: ",".join(episode.measures)}
    if subject.kind is Kind.AGENT:
        labels["agent_id"] = subject.name
    return Incident(
        incident_id=episode.incident_id,
        title=_title(subject, worst),
        status=IncidentStatus.RESOLVED if is_over else IncidentStatus.OPEN,
        severity="critical" if worst.times >= _CRITICAL_TIMES else "warning",
        service=subject.service,
        start_ns=episode.first * BUCKET_NS,
        end_ns=end_ns if is_over else None,
        source=IncidentSource.DETECTOR,
        labels=labels,
        annotations={
            _LAST_SEEN: _text_of(seen_ns),
            "worst": _text_of(worst.bucket * BUCKET_NS),
            "direction": "low" if worst.sign < 0 else "high",
            "value": repr(worst.value),
            "usual": repr(worst.usual),
            "times_limit": repr(worst.times),
            **({_QUIET_SINCE: _text_of(seen_ns)} if is_over and episode.ended_ns is None else {}),
        },
        trace_ids=episode.trace_ids,
    )


def episode_of(incident: Incident) -> Episode | None:
    """What `incident_of` kept; None of what it has not made."""
    labels, told = incident.labels, incident.annotations
    try:
        kind = Kind(labels["kind"])
        subject = Subject(kind, incident.service if kind is Kind.SERVICE else labels["agent_id"], incident.service)
        first, seen_ns = incident.start_ns // BUCKET_NS, _time_of(told[_LAST_SEEN])
        sign = -1 if told["direction"] == "low" else 1
        worst = Alarm(
            _time_of(told["worst"]) // BUCKET_NS,
            Measure(labels["measure"]),
            sign,
            float(told["times_limit"]),
            float(told["value"]),
            float(told["usual"]),
        )
    except (KeyError, ValueError):
        return None
    measures = tuple(labels.get(_MEASURES, "").split(","))
    traces = tuple(incident.trace_ids)
    last = seen_ns // BUCKET_NS - 1
    return Episode(incident.incident_id, subject, first, last, worst, measures, traces, given_end_ns(incident))


def given_end_ns(incident: Incident) -> int | None:
    """The end that somebody gave a detected incident; None where it has none, or the detector's own."""
    return None if _QUIET_SINCE in incident.annotations else incident.end_ns


def _joined(episode: Episode, subject: Subject, alarm: Alarm) -> Episode:
    measure = str(alarm.measure)
    measures = episode.measures if measure in episode.measures else (*episode.measures, measure)
    # An end that came sooner keeps the id, by which the incident is known.
    made = replace(
        episode, first=min(episode.first, alarm.bucket), last=max(episode.last, alarm.bucket), measures=measures
    )
    if alarm.times <= episode.worst.times:
        return made
    return replace(made, worst=alarm, subject=subject)


def _id(tenant: TenantId, subject: Subject, bucket: int) -> str:
    key = "\0".join((tenant, subject.place, str(bucket)))
    return f"detected-{hashlib.blake2b(key.encode(), digest_size=12, person=_PERSON).hexdigest()}"


def _short(value: float) -> str:
    """Two digits and noughts: figures are quantiles within half a per cent."""
    rounded = float(f"{value:.1e}")
    return f"{rounded:,.0f}" if abs(rounded) >= 10 else f"{rounded:g}"  # noqa: PLR2004 - two digits


def _figure(measure: Measure, value: float) -> str:
    match measure:
        case Measure.ERROR_RATE:
            return f"{_short(100 * value)} %"
        case Measure.LATENCY:
            return f"{_short(value / 1000)} s" if value >= 1000 else f"{_short(value)} ms"  # noqa: PLR2004 - a second
        case Measure.COST:
            return f"{_short(value)} USD"
        case _:
            return _short(value)


_NAMES: Final[Mapping[Measure, str]] = {
    Measure.ERROR_RATE: "error rate",
    Measure.LATENCY: "latency",
    Measure.CALLS: "calls in 5 minutes",
    Measure.TOKENS: "tokens in 5 minutes",
    Measure.COST: "cost of 5 minutes",
}


def _title(subject: Subject, worst: Alarm) -> str:
    """Such as "error rate of checkout: 34 % (usual 1 %)"."""
    of = f"agent {subject.name}" if subject.kind is Kind.AGENT else subject.name
    value, usual = _figure(worst.measure, worst.value), _figure(worst.measure, worst.usual)
    return f"{_NAMES[worst.measure]} of {of}: {value} (usual {usual})"


def _text_of(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _time_of(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 1_000_000_000
