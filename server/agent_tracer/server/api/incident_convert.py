"""Incidents between CorrelationService's messages and what services take. Pure."""

from agent_tracer.server.api.fields import time_from, time_to
from agent_tracer.server.domain.errors import InvalidFieldsError, Violations
from agent_tracer.server.domain.incident_alerts import Alert, AlertGroup
from agent_tracer.server.domain.incident_drafts import IncidentDraft
from agent_tracer.server.domain.incidents import Incident
from agent_tracer.server.domain.paging import Page, PageRequest
from agent_tracer.server.services.incidents import IncidentsRequest
from agent_tracer.v1 import correlation_pb2 as pb


def draft_from(request: pb.CreateIncidentRequest) -> IncidentDraft:
    """Raises InvalidFieldsError on malformed times."""
    return IncidentDraft(
        incident_id=request.incident_id,
        title=request.title,
        severity=request.severity,
        service=request.service,
        start_ns=time_from("start_time", request),
        end_ns=time_from("end_time", request),
        labels=dict(request.labels),
        annotations=dict(request.annotations),
        trace_ids=tuple(request.trace_ids),
    )


def alerts_from(request: pb.ReceiveAlertsRequest) -> AlertGroup:
    """Raises InvalidFieldsError on malformed times."""
    return AlertGroup(
        alerts=[_alert_from(index, alert) for index, alert in enumerate(request.alerts)],
        group_key=request.group_key,
        status=request.status,
        receiver=request.receiver,
        group_labels=dict(request.group_labels),
        common_labels=dict(request.common_labels),
        common_annotations=dict(request.common_annotations),
        external_url=request.external_url,
        truncated_alerts=max(0, request.truncated_alerts),
    )


def incidents_from(request: pb.ListIncidentsRequest) -> IncidentsRequest:
    """As the caller wrote it."""
    return IncidentsRequest(request.status, request.service, PageRequest(request.page_size, request.page_token))


def incident_to(incident: Incident) -> pb.Incident:
    """An end that is not known is absent."""
    return pb.Incident(
        incident_id=incident.incident_id,
        title=incident.title,
        status=str(incident.status),
        severity=incident.severity,
        service=incident.service,
        start_time=time_to(incident.start_ns),
        end_time=None if incident.end_ns is None else time_to(incident.end_ns),
        labels=incident.labels,
        annotations=incident.annotations,
        trace_ids=incident.trace_ids,
        source=str(incident.source),
    )


def received_to(incident: Incident) -> pb.ReceiveAlertsResponse:
    """The one incident of the group."""
    return pb.ReceiveAlertsResponse(incidents=[incident_to(incident)])


def incidents_to(page: Page[Incident]) -> pb.ListIncidentsResponse:
    """Newest start first."""
    return pb.ListIncidentsResponse(incidents=map(incident_to, page.items), next_page_token=page.next_token)


def _alert_from(index: int, alert: pb.Alert) -> Alert:
    return Alert(
        status=alert.status,
        labels=dict(alert.labels),
        annotations=dict(alert.annotations),
        starts_ns=_time(f"alerts[{index}].", "starts_at", alert),
        ends_ns=_time(f"alerts[{index}].", "ends_at", alert),
        generator_url=alert.generator_url,
    )


def _time(path: str, field: str, alert: pb.Alert) -> int | None:
    """As `time_from`, of a field that is told with its path."""
    try:
        return time_from(field, alert)
    except InvalidFieldsError as error:
        found = Violations()
        for violation in error.violations:
            found.add(path + violation.field, violation.description)
        raise InvalidFieldsError(found.found) from None
