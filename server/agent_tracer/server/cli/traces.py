"""`traces list | get | tail | delete | aggregate`: each one call of TraceService."""

# Imports wait until a command needs them: `--help` must be quick.
# ruff: noqa: PLC0415

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from agent_tracer.server.cli import options
from agent_tracer.server.cli.connection import trace_service
from agent_tracer.server.cli.console import console, show, show_json
from agent_tracer.server.cli.spans import read_nodes
from agent_tracer.server.limits import (
    CLI_CALL_SECONDS,
    CLI_TREE_SPANS_READ_MAX,
    PAGE_SIZE_MAX,
)

if TYPE_CHECKING:
    from agent_tracer.v1 import trace_pb2
    from agent_tracer.v1.trace_pb2_grpc import TraceServiceStub


def list_traces(  # noqa: PLR0913, PLR0917 - typer makes options of parameters
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many, newest first.")] = 10,
    agent_id: options.AgentId = "",
    status: options.Status = "",
    operation: Annotated[str, typer.Option("--operation", help="What the root span did.", show_default=False)] = "",
    workflow_id: Annotated[str, typer.Option("--workflow-id", help="Only this workflow's.", show_default=False)] = "",
    session_id: Annotated[str, typer.Option("--session-id", help="Only this session's.", show_default=False)] = "",
    service: Annotated[str, typer.Option("--service", help="With a span of this service.", show_default=False)] = "",
    model: Annotated[str, typer.Option("--model", help="With a call of this model.", show_default=False)] = "",
    period: options.Period = "",
    min_duration: Annotated[
        float | None, typer.Option("--min-duration", min=0, help="Milliseconds.", show_default=False)
    ] = None,
    min_cost: Annotated[float | None, typer.Option("--min-cost", min=0, help="US dollars.", show_default=False)] = None,
    text: Annotated[str, typer.Option("--text", help="Words in inputs and outputs.", show_default=False)] = "",
    attribute: Annotated[
        list[str] | None,
        typer.Option("--attribute", metavar="KEY=VALUE", help="May be repeated; all must hold.", show_default=False),
    ] = None,
    page_token: Annotated[str, typer.Option("--page-token", help="Go on where a list ended.", show_default=False)] = "",
    as_json: options.AsJson = False,
    endpoint: options.Endpoint = None,
) -> None:
    """The newest traces."""
    from agent_tracer.v1 import trace_pb2

    request = trace_pb2.ListTracesRequest(
        page_token=page_token,
        agent_id=agent_id,
        status=status,
        operation=operation,
        workflow_id=workflow_id,
        session_id=session_id,
        service=service,
        model=model,
        period=period,
        min_duration=min_duration,
        min_cost=min_cost,
        text=text,
        attributes=options.check_attributes(attribute or []),
    )
    with trace_service(endpoint) as traces:
        answer = _pages(traces, request, limit)
    if as_json:
        show_json(answer)
        return
    if not answer.traces:
        show("No traces." if not request.ByteSize() else "No traces match.", stderr=True)
        return
    from agent_tracer.server.cli.lists import print_traces

    print_traces(console(), answer.traces)
    if answer.next_page_token:
        show(f"There are more: --limit N, or --page-token {answer.next_page_token}", "dim", stderr=True)


def _pages(
    traces: "TraceServiceStub", request: "trace_pb2.ListTracesRequest", limit: int
) -> "trace_pb2.ListTracesResponse":
    """One answer of `limit` traces, of as many pages as that takes."""
    from agent_tracer.v1 import trace_pb2

    answer = trace_pb2.ListTracesResponse()
    while True:
        request.page_size = min(limit - len(answer.traces), PAGE_SIZE_MAX)
        page = traces.ListTraces(request, timeout=CLI_CALL_SECONDS)
        answer.traces.extend(page.traces)
        answer.next_page_token = page.next_page_token
        if not page.next_page_token or len(answer.traces) >= limit:
            return answer
        request.page_token = page.next_page_token


def get(
    argument: options.TraceIdArgument = None,
    trace_id: options.TraceIdOption = None,
    max_spans: Annotated[
        int, typer.Option("--max-spans", min=1, help="Spans drawn; errors first, the rest is counted.")
    ] = 200,
    as_json: options.AsJson = False,
    endpoint: options.Endpoint = None,
) -> None:
    """One trace: its facts and its spans as a tree."""
    from agent_tracer.v1 import trace_pb2

    wanted = options.one_trace_id(trace_id, argument)
    with trace_service(endpoint) as traces:
        trace = traces.GetTrace(trace_pb2.GetTraceRequest(trace_id=wanted), timeout=CLI_CALL_SECONDS)
        if as_json:
            show_json(trace)
            return
        spans = read_nodes(traces, trace, max(max_spans, CLI_TREE_SPANS_READ_MAX))
    from agent_tracer.server.cli.lists import print_trace

    print_trace(console(), trace, spans, max_spans)


def tail(
    agent_id: options.AgentId = "",
    status: options.Status = "",
    as_json: Annotated[bool, typer.Option("--json", help="The API's JSON, one trace a line.")] = False,
    endpoint: options.Endpoint = None,
) -> None:
    """Follow traces as they finish, until Ctrl-C."""
    from agent_tracer.v1 import trace_pb2

    out = console()
    with trace_service(endpoint) as traces:
        if sys.stderr.isatty():
            show("Following traces as they finish; Ctrl-C stops.", "dim", stderr=True)
        for trace in traces.WatchTraces(trace_pb2.WatchTracesRequest(agent_id=agent_id, status=status)):
            if as_json:
                show_json(trace, line=True)
                continue
            from agent_tracer.server.cli.lists import print_trace_line

            print_trace_line(out, trace)
            sys.stdout.flush()


def delete(
    argument: options.TraceIdArgument = None,
    trace_id: options.TraceIdOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    endpoint: options.Endpoint = None,
) -> None:
    """Delete one trace. Asks first where it can."""
    from agent_tracer.server.cli.errors import CommandError, WrongUsageError
    from agent_tracer.server.cli.text import plain
    from agent_tracer.v1 import trace_pb2

    wanted = options.one_trace_id(trace_id, argument)
    if not yes and not sys.stdin.isatty():
        raise WrongUsageError("deleting needs a yes, and nobody can be asked here", ["give --yes"])
    if not yes and not typer.confirm(f"Delete trace {plain(wanted)} and all of its spans?", err=True):
        raise CommandError("nothing was deleted")
    with trace_service(endpoint) as traces:
        traces.DeleteTrace(trace_pb2.DeleteTraceRequest(trace_id=wanted), timeout=CLI_CALL_SECONDS)
    show(f"Deleted {plain(wanted)}.", stderr=True)


def aggregate(  # noqa: PLR0913, PLR0917 - typer makes options of parameters
    group_by: Annotated[
        list[str] | None,
        typer.Option(
            "--group-by",
            metavar="FIELD",
            help="agent_id, operation, status, service, model, provider, tool_name, task_type, workflow_id; "
            "may be repeated.",
            show_default="agent_id",
        ),
    ] = None,
    period: Annotated[str, typer.Option("--period", help="Back from now: 15m, 24h, 30d, 4w.", show_default="24h")] = "",
    interval: Annotated[
        str, typer.Option("--interval", help="One row a time bucket too, such as 1h.", show_default=False)
    ] = "",
    agent_id: options.AgentId = "",
    service: Annotated[str, typer.Option("--service", help="With a span of this service.", show_default=False)] = "",
    as_json: options.AsJson = False,
    endpoint: options.Endpoint = None,
) -> None:
    """Counts, errors, latency, tokens and cost by agent, model and more."""
    from agent_tracer.v1 import trace_pb2

    request = trace_pb2.AggregateTracesRequest(
        group_by=group_by or ["agent_id"],
        period=period,
        interval=interval,
        agent_id=agent_id,
        service=service,
    )
    with trace_service(endpoint) as traces:
        answer = traces.AggregateTraces(request, timeout=CLI_CALL_SECONDS)
    if as_json:
        show_json(answer)
        return
    if not answer.rows:
        show(f"No traces in the last {period or '24h'}.", stderr=True)
        return
    from agent_tracer.server.cli.lists import print_aggregate

    print_aggregate(console(), answer.rows, buckets=bool(interval))


def list_agents(
    limit: Annotated[int, typer.Option("--limit", min=1, max=PAGE_SIZE_MAX, help="How many.")] = 50,
    period: options.Period = "",
    page_token: Annotated[str, typer.Option("--page-token", help="Go on where a list ended.", show_default=False)] = "",
    as_json: options.AsJson = False,
    endpoint: options.Endpoint = None,
) -> None:
    """The agents that sent traces."""
    from agent_tracer.v1 import trace_pb2

    request = trace_pb2.ListAgentsRequest(page_size=limit, page_token=page_token, period=period)
    with trace_service(endpoint) as traces:
        answer = traces.ListAgents(request, timeout=CLI_CALL_SECONDS)
    if as_json:
        show_json(answer)
        return
    if not answer.agents:
        show("No agents.", stderr=True)
        return
    from agent_tracer.server.cli.lists import print_agents

    print_agents(console(), answer.agents)
    if answer.next_page_token:
        show(f"There are more: --page-token {answer.next_page_token}", "dim", stderr=True)
