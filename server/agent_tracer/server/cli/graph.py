"""`graph`: one call of CorrelationService."""

# Imports wait until a command needs them: `--help` must be quick.
# ruff: noqa: PLC0415

from typing import Annotated

import typer

from agent_tracer.server.cli import options
from agent_tracer.server.cli.connection import correlation_service
from agent_tracer.server.cli.console import console, show, show_json
from agent_tracer.server.limits import CLI_CALL_SECONDS


def graph(
    period: Annotated[str, typer.Option("--period", help="Back from now: 15m, 1h, 7d.", show_default="1h")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, help="Lines of each table; the rest is counted.")] = 50,
    as_json: options.AsJson = False,
    endpoint: options.Endpoint = None,
) -> None:
    """Show services, agents, models, tools and databases, and who calls whom."""
    from agent_tracer.v1 import correlation_pb2

    request = correlation_pb2.GetServiceGraphRequest(period=period)
    with correlation_service(endpoint) as correlation:
        answer = correlation.GetServiceGraph(request, timeout=CLI_CALL_SECONDS)
    if as_json:
        show_json(answer)
        return
    from agent_tracer.server.cli.graphs import print_graph

    if answer.nodes:
        print_graph(console(), answer, limit)
        return
    show("No calls in this period.", stderr=True)
    for caveat in answer.caveats:
        show(f"! {caveat}", "yellow", stderr=True)
