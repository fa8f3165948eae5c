"""`rca`: one call of CorrelationService."""

# Imports wait until a command needs them: `--help` must be quick.
# ruff: noqa: PLC0415

from typing import Annotated

import typer

from agent_tracer.server.cli import options
from agent_tracer.server.cli.connection import correlation_service
from agent_tracer.server.cli.console import console, show_json
from agent_tracer.server.limits import CLI_CALL_SECONDS


def rca(
    incident_id: Annotated[str, typer.Option("--incident-id", help="The incident.", show_default=False)],
    time_window: Annotated[
        str, typer.Option("--time-window", help="Before the incident: what is usual.", show_default="1h")
    ] = "",
    depth: Annotated[int, typer.Option("--depth", help="Calls followed, 1 to 10.", show_default="3")] = 0,
    as_json: options.AsJson = False,
    endpoint: options.Endpoint = None,
) -> None:
    """Find what caused an incident.

    The cause with its confidence, how it spread, what it rests on, and what to do; or why none is named.
    """
    from agent_tracer.v1 import correlation_pb2

    request = correlation_pb2.AnalyzeRootCauseRequest(incident_id=incident_id, time_window=time_window, depth=depth)
    with correlation_service(endpoint) as correlation:
        answer = correlation.AnalyzeRootCause(request, timeout=CLI_CALL_SECONDS)
    if as_json:
        show_json(answer)
        return
    from agent_tracer.server.cli.causes import print_analysis

    print_analysis(console(), answer)
