"""`correlate`: one call of CorrelationService, FindCorrelations."""

# Imports wait until a command needs them: `--help` must be quick.
# ruff: noqa: PLC0415

from typing import Annotated

import typer

from agent_tracer.server.cli import options
from agent_tracer.server.cli.connection import correlation_service
from agent_tracer.server.cli.console import console, show_json
from agent_tracer.server.limits import CLI_CALL_SECONDS


def correlate(  # noqa: PLR0913, PLR0917 - typer makes options of parameters
    argument: options.TraceIdArgument = None,
    trace_id: options.TraceIdOption = None,
    metrics: Annotated[bool, typer.Option("--metrics/--no-metrics", help="Metrics that changed with it.")] = True,
    logs: Annotated[bool, typer.Option("--logs/--no-logs", help="Its log records, and bursts of others.")] = True,
    events: Annotated[
        bool, typer.Option("--events/--no-events", help="Deploys, flags, settings, incidents, evaluations.")
    ] = True,
    time_window: Annotated[
        str, typer.Option("--time-window", help="Either side of the trace: 90s, 5m, 1h.", show_default="5m")
    ] = "",
    as_json: options.AsJson = False,
    endpoint: options.Endpoint = None,
) -> None:
    """Find what belongs with a trace.

    Other traces, metrics, log records and events around it, and a first guess at what went wrong.
    """
    from agent_tracer.v1 import correlation_pb2

    request = correlation_pb2.FindCorrelationsRequest(
        trace_id=options.one_trace_id(trace_id, argument),
        include_metrics=metrics,
        include_logs=logs,
        include_events=events,
        time_window=time_window,
    )
    with correlation_service(endpoint) as correlation:
        answer = correlation.FindCorrelations(request, timeout=CLI_CALL_SECONDS)
    if as_json:
        show_json(answer)
        return
    from agent_tracer.server.cli.correlations import print_correlations

    print_correlations(console(), answer)
