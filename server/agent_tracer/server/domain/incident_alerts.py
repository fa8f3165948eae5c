"""Alertmanager's notifications as incidents: a group of alerts is one, for as long as it goes on.

The message is Alertmanager's webhook, version 4 (prometheus.io/docs/alerting/latest/configuration, webhook_config).
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from agent_tracer.server.domain.alert_labels import (
    bounded,
    service_of,
    severity_of,
    title_of,
    trace_ids_of,
)
from agent_tracer.server.domain.checks import NS_PER_MS, check_choice, check_time
from agent_tracer.server.domain.errors import Violations
from agent_tracer.server.domain.ids import TraceId
from agent_tracer.server.domain.incidents import Incident, IncidentSource, IncidentStatus
from agent_tracer.server.limits import ALERTS_MAX, INCIDENT_TRACE_IDS_MAX

FIRING, RESOLVED = "firing", "resolved"
_STATUSES: Final = (FIRING, RESOLVED)
_HASH_PERSON: Final = b"at:alert-group"
_NAMES_MAX: Final = 20
"""Names of alerts, and of services, that are told of a group; a larger one is no longer told by its names."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert of a group. Times are UTC nanoseconds; None, or the year 1 as Go writes it, where there is none."""

    status: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    starts_ns: int | None = None
    ends_ns: int | None = None
    generator_url: str = ""


@dataclass(frozen=True, slots=True)
class AlertGroup:
    """A notification: the alerts of one group that fire, or have ended since the last one."""

    alerts: Sequence[Alert]
    group_key: str = ""
    status: str = ""
    receiver: str = ""
    group_labels: Mapping[str, str] = field(default_factory=dict)
    common_labels: Mapping[str, str] = field(default_factory=dict)
    common_annotations: Mapping[str, str] = field(default_factory=dict)
    external_url: str = ""
    truncated_alerts: int = 0

    @property
    def fires(self) -> bool:
        """Whether any alert of the group still does; of those that were cut off, only the group's status knows."""
        status = self.status or (RESOLVED if all(alert.status == RESOLVED for alert in self.alerts) else FIRING)
        return status == FIRING


def check_alerts(group: AlertGroup, now_ns: int) -> None:
    """Raises InvalidFieldsError with every wrong field. Texts of any length are taken, and cut when kept."""
    found = Violations()
    check_choice(found, "status", group.status, _STATUSES)
    if not group.alerts:
        found.add("alerts", "must hold at least one alert: send Alertmanager's webhook as it is")
    if len(group.alerts) > ALERTS_MAX:
        found.add("alerts", f"must be at most {ALERTS_MAX}: set max_alerts of Alertmanager's webhook_configs")
    for index, alert in enumerate(group.alerts[:ALERTS_MAX]):
        check_choice(found, f"alerts[{index}].status", alert.status, _STATUSES)
        if _given(alert.starts_ns):
            check_time(found, f"alerts[{index}].starts_at", alert.starts_ns or 0, now_ns)
        if alert.status == RESOLVED and _given(alert.ends_ns):
            check_time(found, f"alerts[{index}].ends_at", alert.ends_ns or 0, now_ns)
    found.raise_any()


def group_prefix(group: AlertGroup) -> str:
    """With what the ids of the group's incidents begin. Without a group key, as of old versions, its labels say it."""
    key = group.group_key or repr(sorted((group.group_labels or group.common_labels).items()))
    return f"alert-{hashlib.blake2b(key.encode(), digest_size=8, person=_HASH_PERSON).hexdigest()}-"


def incident_id_of(group: AlertGroup, now_ns: int) -> str:
    """The id of an incident that begins with this notification: the same at every repeat of it."""
    return f"{group_prefix(group)}{_start(group, now_ns) // NS_PER_MS}"


def told_until(group: AlertGroup, now_ns: int) -> int:
    """The end of the time that the notification tells of: now where an alert fires. Its incident had begun by then."""
    return _end(group, 0, now_ns)


def goes_on(group: AlertGroup, former: Incident, now_ns: int) -> bool:
    """Whether the notification is of that incident, its group's last one to begin within the time that it tells of.

    It is while the incident is open, and afterwards where it tells of the same time; an alert that fires again starts
    later than the former one ended.
    """
    return former.end_ns is None or _start(group, now_ns) <= former.end_ns


def incident_of(group: AlertGroup, former: Incident | None, now_ns: int) -> Incident:
    """The incident after a checked notification. Its id, start and service stay what they were at the first one."""
    start_ns = _start(group, now_ns) if former is None else former.start_ns
    made = Incident(
        incident_id=incident_id_of(group, now_ns) if former is None else former.incident_id,
        title=title_of(group.common_annotations, _firing(group)) if former is None else former.title,
        status=IncidentStatus.OPEN if group.fires else IncidentStatus.RESOLVED,
        severity=severity_of(_firing(group)),
        service=(former.service if former else "") or service_of(group.common_labels, _firing(group)),
        start_ns=start_ns,
        end_ns=None if group.fires else _end(group, start_ns, now_ns),
        source=IncidentSource.ALERTMANAGER,
        labels=bounded(_labels(group)),
        annotations=bounded(_annotations(group)),
        trace_ids=_trace_ids(group, former),
    )
    if former is None or group.fires:
        return made
    # The last message tells of what has ended last, not of the incident: what was told of it stays.
    return replace(made, severity=former.severity, labels=former.labels, annotations=former.annotations)


def _given(time_ns: int | None) -> bool:
    return time_ns is not None and time_ns > 0


def _start(group: AlertGroup, now_ns: int) -> int:
    """The earliest of its alerts; now where none says."""
    return min((alert.starts_ns for alert in group.alerts if alert.starts_ns and alert.starts_ns > 0), default=now_ns)


def _end(group: AlertGroup, start_ns: int, now_ns: int) -> int:
    """The last end of its alerts, not before the start; now where one fires, or none says."""
    if group.fires:
        return now_ns
    ends = [alert.ends_ns for alert in group.alerts if alert.ends_ns and alert.ends_ns > 0]
    return max(start_ns, max(ends, default=now_ns))


def _firing(group: AlertGroup) -> Sequence[Alert]:
    """Those that fire, or all where none does, the first to start before the others."""
    alerts = [alert for alert in group.alerts if alert.status != RESOLVED] or group.alerts
    return sorted(alerts, key=lambda alert: alert.starts_ns or 0)


def _labels(group: AlertGroup) -> Mapping[str, str]:
    """What the alerts share, with the names of all that they differ in and an analysis asks for."""
    labels = {**group.group_labels, **group.common_labels}
    for name in ("alertname", "metric"):
        values = _distinct(group, name)
        if values and name not in labels:
            labels[name] = ", ".join(values)
    return labels


def _annotations(group: AlertGroup) -> Mapping[str, str]:
    """The shared ones (of one alert: its own), before what is told of the group itself."""
    told = {
        "alert_count": str(len(group.alerts) + group.truncated_alerts),
        "truncated_alerts": str(group.truncated_alerts or ""),
        "services": ", ".join(_services(group)),
        "receiver": group.receiver,
        "group_key": group.group_key,
        "external_url": group.external_url,
        "generator_url": next((alert.generator_url for alert in _firing(group) if alert.generator_url), ""),
    }
    own = group.common_annotations or (group.alerts[0].annotations if len(group.alerts) == 1 else {})
    return {**own, **{key: value for key, value in told.items() if value and key not in own}}


def _services(group: AlertGroup) -> Sequence[str]:
    """Of a group with several; one is the incident's own."""
    found = dict.fromkeys(service_of({}, [alert]) for alert in group.alerts)
    named = [service for service in found if service]
    return named[:_NAMES_MAX] if len(named) > 1 else ()


def _distinct(group: AlertGroup, label: str) -> Sequence[str]:
    found = dict.fromkeys(alert.labels.get(label, "") for alert in group.alerts)
    return [value for value in found if value][:_NAMES_MAX]


def _trace_ids(group: AlertGroup, former: Incident | None) -> tuple[TraceId, ...]:
    """The first that were named, over all notifications."""
    known = former.trace_ids if former else ()
    named = dict.fromkeys((*known, *_named(group)))
    return tuple(named)[:INCIDENT_TRACE_IDS_MAX]


def _named(group: AlertGroup) -> Iterator[TraceId]:
    for entries in (group.common_annotations, group.common_labels):
        yield from trace_ids_of(entries)
    for alert in group.alerts:
        yield from trace_ids_of(alert.annotations)
        yield from trace_ids_of(alert.labels)
