"""`incidents list | get | create | resolve`: each one call of CorrelationService."""

# Imports wait until a command needs them: `--help` must be quick.
# ruff: noqa: PLC0415

from typing import TYPE_CHECKING, Annotated

import typer

from agent_tracer.server.cli import options
from agent_tracer.server.cli.connection import correlation_service
from agent_tracer.server.cli.console import console, show, show_json
from agent_tracer.server.cli.errors import WrongUsageError
from agent_tracer.server.limits import CLI_CALL_SECONDS, PAGE_SIZE_MAX

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

    from agent_tracer.v1 import correlation_pb2

IncidentId = Annotated[str, typer.Option("--incident-id", help="The incident.", show_default=False)]


def list_incidents(  # noqa: PLR0913, PLR0917 - typer makes options of parameters
    status: Annotated[str, typer.Option("--status", help="open or resolved.", show_default=False)] = "",
    service: Annotated[str, typer.Option("--service", help="Only this service's.", show_default=False)] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=PAGE_SIZE_MAX, help="How many, newest first.")] = 20,
    page_token: options.PageToken = "",
    as_json: options.AsJson = False,
    endpoint: options.Endpoint = None,
) -> None:
    """List incidents, newest first."""
    from agent_tracer.v1 import correlation_pb2

    request = correlation_pb2.ListIncidentsRequest(
        status=status, service=service, page_size=limit, page_token=page_token
    )
    with correlation_service(endpoint) as correlation:
        answer = correlation.ListIncidents(request, timeout=CLI_CALL_SECONDS)
    if as_json:
        show_json(answer)
        return
    if not answer.incidents:
        show("No incidents.", stderr=True)
        return
    from agent_tracer.server.cli.incident_tables import print_incidents

    print_incidents(console(), answer.incidents)
    if answer.next_page_token:
        show(f"There are more: --limit N, or --page-token {answer.next_page_token}", "dim", stderr=True)


def get(incident_id: IncidentId, as_json: options.AsJson = False, endpoint: options.Endpoint = None) -> None:
    """Show one incident in full."""
    from agent_tracer.v1 import correlation_pb2

    request = correlation_pb2.GetIncidentRequest(incident_id=incident_id)
    with correlation_service(endpoint) as correlation:
        answer = correlation.GetIncident(request, timeout=CLI_CALL_SECONDS)
    _show(answer, as_json=as_json)


def create(  # noqa: PLR0913, PLR0917 - typer makes options of parameters
    title: Annotated[str, typer.Option("--title", help="What is wrong, in a line.", show_default=False)] = "",
    service: Annotated[str, typer.Option("--service", help="Where it shows.", show_default=False)] = "",
    severity: Annotated[str, typer.Option("--severity", help="Such as critical.", show_default=False)] = "",
    start: Annotated[
        str, typer.Option("--start", metavar="TIME", help="Since when (RFC 3339).", show_default="now")
    ] = "",
    end: Annotated[
        str, typer.Option("--end", metavar="TIME", help="Until when, where it is over.", show_default=False)
    ] = "",
    incident_id: Annotated[
        str, typer.Option("--incident-id", help="An id of your own.", show_default="one is made")
    ] = "",
    labels: Annotated[
        list[str] | None, typer.Option("--label", metavar="KEY=VALUE", help="Such as metric=p95. May be repeated.")
    ] = None,
    annotations: Annotated[
        list[str] | None, typer.Option("--annotation", metavar="KEY=VALUE", help="A note. May be repeated.")
    ] = None,
    trace_ids: Annotated[
        list[str] | None, typer.Option("--trace-id", metavar="ID", help="A trace that shows it. May be repeated.")
    ] = None,
    as_json: options.AsJson = False,
    endpoint: options.Endpoint = None,
) -> None:
    """Tell of an incident. The same id with the same content again is no error."""
    from agent_tracer.v1 import correlation_pb2

    request = correlation_pb2.CreateIncidentRequest(
        incident_id=incident_id,
        title=title,
        severity=severity,
        service=service,
        start_time=_moment("--start", start),
        end_time=_moment("--end", end),
        labels=_pairs("--label", labels),
        annotations=_pairs("--annotation", annotations),
        trace_ids=trace_ids or (),
    )
    with correlation_service(endpoint) as correlation:
        answer = correlation.CreateIncident(request, timeout=CLI_CALL_SECONDS)
    _show(answer, as_json=as_json)


def resolve(
    incident_id: IncidentId,
    end: Annotated[
        str, typer.Option("--end", metavar="TIME", help="When it ended (RFC 3339).", show_default="now")
    ] = "",
    as_json: options.AsJson = False,
    endpoint: options.Endpoint = None,
) -> None:
    """Say that an incident is over. One that was resolved before stays as it was."""
    from agent_tracer.v1 import correlation_pb2

    until = _moment("--end", end)
    with correlation_service(endpoint) as correlation:
        asked = correlation_pb2.GetIncidentRequest(incident_id=incident_id)
        answer = correlation.GetIncident(asked, timeout=CLI_CALL_SECONDS)
        if until is not None or not answer.HasField("end_time"):
            request = correlation_pb2.CreateIncidentRequest(incident_id=incident_id, end_time=until or _now())
            answer = correlation.CreateIncident(request, timeout=CLI_CALL_SECONDS)
    _show(answer, as_json=as_json)


def _show(incident: "correlation_pb2.Incident", *, as_json: bool) -> None:
    if as_json:
        show_json(incident)
        return
    from agent_tracer.server.cli.incident_tables import print_incident

    print_incident(console(), incident)


def _now() -> "Timestamp":
    from google.protobuf.timestamp_pb2 import Timestamp

    moment = Timestamp()
    moment.GetCurrentTime()
    return moment


def _moment(option: str, text: str) -> "Timestamp | None":
    from google.protobuf.timestamp_pb2 import Timestamp

    if not text:
        return None
    moment = Timestamp()
    try:
        moment.FromJsonString(text)
    except ValueError:
        message = f"{option} {text!r} is no RFC 3339 time"
        raise WrongUsageError(message, [f"such as {option} 2026-05-01T12:00:00Z"]) from None
    return moment


def _pairs(option: str, texts: list[str] | None) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts or ():
        key, sign, value = text.partition("=")
        if not key or not sign:
            message = f"{option} {text!r} is not KEY=VALUE"
            raise WrongUsageError(message, [f"such as {option} team=payments"])
        pairs[key] = value
    return pairs
