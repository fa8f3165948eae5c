"""Incidents: what was noticed, on which service, since when, by whom."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from agent_tracer.server.domain.ids import TraceId


class IncidentStatus(StrEnum):
    """As the API names them."""

    OPEN = "open"
    RESOLVED = "resolved"


class IncidentSource(StrEnum):
    """Who noticed it."""

    API = "api"
    ALERTMANAGER = "alertmanager"
    DETECTOR = "detector"


@dataclass(frozen=True, slots=True)
class Incident:
    """Times are UTC nanoseconds; `end_ns` None: not known to be over. `service` empty: not known where."""

    incident_id: str
    title: str
    status: IncidentStatus
    severity: str
    service: str
    start_ns: int
    end_ns: int | None
    source: IncidentSource
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    trace_ids: tuple[TraceId, ...] = ()
