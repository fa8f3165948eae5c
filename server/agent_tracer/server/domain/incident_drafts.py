"""Incidents as callers write them, checked, and what writing one again means."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from agent_tracer.server.domain.checks import check_id, check_length, check_time
from agent_tracer.server.domain.errors import IdConflictError, Violations
from agent_tracer.server.domain.ids import TraceId
from agent_tracer.server.domain.incidents import Incident, IncidentSource, IncidentStatus
from agent_tracer.server.limits import (
    ID_LENGTH_MAX,
    INCIDENT_CHARACTERS_MAX,
    INCIDENT_ENTRIES_MAX,
    INCIDENT_TRACE_IDS_MAX,
    INCIDENT_VALUE_LENGTH_MAX,
    TEXT_LENGTH_MAX,
)

_ENDED_BEFORE: Final = "must not be earlier than start_time"
_COMPARED: Final = ("title", "severity", "service", "labels", "annotations", "trace_ids")


@dataclass(frozen=True, slots=True)
class IncidentDraft:
    """As the caller wrote it. Times are UTC nanoseconds, None where they are left out."""

    incident_id: str = ""
    title: str = ""
    severity: str = ""
    service: str = ""
    start_ns: int | None = None
    end_ns: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    trace_ids: Sequence[str] = ()


def check_draft(draft: IncidentDraft, now_ns: int) -> None:
    """Raises InvalidFieldsError with every wrong field."""
    found = Violations()
    check_id(found, "incident_id", draft.incident_id, required=False)
    check_length(found, "title", draft.title, TEXT_LENGTH_MAX)
    check_id(found, "severity", draft.severity, required=False)
    check_id(found, "service", draft.service, required=False)
    _check_times(found, draft, now_ns)
    _check_entries(found, "labels", draft.labels)
    _check_entries(found, "annotations", draft.annotations)
    if characters(draft.labels) + characters(draft.annotations) > INCIDENT_CHARACTERS_MAX:
        found.add("annotations", f"must have at most {INCIDENT_CHARACTERS_MAX} characters together with labels")
    if len(draft.trace_ids) > INCIDENT_TRACE_IDS_MAX:
        found.add("trace_ids", f"must name at most {INCIDENT_TRACE_IDS_MAX} traces")
    for index, trace_id in enumerate(draft.trace_ids):
        check_id(found, f"trace_ids[{index}]", trace_id)
    found.raise_any()


def made_of(draft: IncidentDraft, former: Incident | None, new_id: str, now_ns: int) -> Incident:
    """The incident that a checked draft makes, `former` being what is kept under its id.

    What a draft leaves out says nothing about the former one. An end resolves it where it had none; anything else
    that differs is another incident.

    Raises:
        IdConflictError: the draft says something else than the former one.
        InvalidFieldsError: it ends before it began.
    """
    if former is not None:
        return _again(draft, former)
    start_ns = draft.start_ns
    if start_ns is None:
        start_ns = now_ns if draft.end_ns is None else min(now_ns, draft.end_ns)
    return Incident(
        incident_id=draft.incident_id or new_id,
        title=draft.title or (f"incident in {draft.service}" if draft.service else "incident"),
        status=IncidentStatus.OPEN if draft.end_ns is None else IncidentStatus.RESOLVED,
        severity=draft.severity,
        service=draft.service,
        start_ns=start_ns,
        end_ns=draft.end_ns,
        source=IncidentSource.API,
        labels=dict(draft.labels),
        annotations=dict(draft.annotations),
        trace_ids=tuple(map(TraceId, draft.trace_ids)),
    )


def characters(entries: Mapping[str, str]) -> int:
    """Of keys and values."""
    return sum(len(key) + len(value) for key, value in entries.items())


def _again(draft: IncidentDraft, former: Incident) -> Incident:
    said = {name: getattr(draft, name) for name in _COMPARED if getattr(draft, name)}
    if "trace_ids" in said:
        said["trace_ids"] = tuple(draft.trace_ids)
    other = [name for name, value in said.items() if value != getattr(former, name)]
    if draft.start_ns not in (None, former.start_ns):
        other.append("start_time")
    if None not in (draft.end_ns, former.end_ns) and draft.end_ns != former.end_ns:
        other.append("end_time")
    if other:
        raise IdConflictError(
            f"incident {former.incident_id!r} exists with another {', '.join(other)}: give a new one another "
            "incident_id; to resolve this one, leave out all but incident_id and end_time",
            {"incident_id": former.incident_id},
        )
    if draft.end_ns is None or former.end_ns is not None:
        return former
    if draft.end_ns < former.start_ns:
        found = Violations()
        found.add("end_time", _ENDED_BEFORE)
        found.raise_any()
    return replace(former, status=IncidentStatus.RESOLVED, end_ns=draft.end_ns)


def _check_times(found: Violations, draft: IncidentDraft, now_ns: int) -> None:
    for name, time_ns in (("start_time", draft.start_ns), ("end_time", draft.end_ns)):
        if time_ns is not None:
            check_time(found, name, time_ns, now_ns)
    if draft.start_ns is not None and draft.end_ns is not None and draft.end_ns < draft.start_ns:
        found.add("end_time", _ENDED_BEFORE)


def _check_entries(found: Violations, name: str, entries: Mapping[str, str]) -> None:
    if len(entries) > INCIDENT_ENTRIES_MAX:
        found.add(name, f"must have at most {INCIDENT_ENTRIES_MAX} keys")
    keys = Violations()
    for key in entries:
        check_id(keys, name, key)
    if keys.found:
        found.add(name, f"must have keys of 1 to {ID_LENGTH_MAX} characters, none a control character")
    if any(len(value) > INCIDENT_VALUE_LENGTH_MAX for value in entries.values()):
        found.add(name, f"must have values of at most {INCIDENT_VALUE_LENGTH_MAX} characters")
