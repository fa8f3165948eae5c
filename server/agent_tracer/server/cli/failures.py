"""`failures` and `failures attribute`: each one call of CorrelationService, or one a page."""

# Imports wait until a command needs them: `--help` must be quick.
# ruff: noqa: PLC0415

from typing import TYPE_CHECKING, Annotated, Final

import typer

from agent_tracer.server.cli import options
from agent_tracer.server.cli.connection import correlation_service
from agent_tracer.server.cli.console import console, show, show_json
from agent_tracer.server.limits import CLI_CALL_SECONDS, PAGE_SIZE_MAX

if TYPE_CHECKING:
    from agent_tracer.v1 import correlation_pb2
    from agent_tracer.v1.correlation_pb2_grpc import CorrelationServiceStub

LIMIT: Final = 20


def list_groups(  # noqa: PLR0913, PLR0917 - typer makes options of parameters
    context: typer.Context,
    period: Annotated[str, typer.Option("--period", help="Back from now: 24h, 7d, 4w.", show_default="7d")] = "",
    agent_id: Annotated[
        str, typer.Option("--agent-id", help="Only runs in which it took part.", show_default=False)
    ] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many, most affected first.")] = LIMIT,
    page_token: options.PageToken = "",
    as_json: options.AsJson = False,
    endpoint: options.Endpoint = None,
) -> None:
    """Failed runs by what failed: what to mend first. `failures attribute` tells who made one run fail."""
    if context.invoked_subcommand is not None:
        return
    from agent_tracer.v1 import correlation_pb2

    request = correlation_pb2.ListFailureGroupsRequest(page_token=page_token, period=period, agent_id=agent_id)
    with correlation_service(endpoint) as correlation:
        answer = _pages(correlation, request, limit)
    if as_json:
        show_json(answer)
        return
    from agent_tracer.server.cli.culprits import print_groups

    if answer.groups:
        print_groups(console(), answer)
    else:
        show("No failed runs.", stderr=True)
        for caveat in answer.caveats:
            show(f"! {caveat}", "yellow", stderr=True)
    if answer.next_page_token:
        show(f"There are more: --limit N, or --page-token {answer.next_page_token}", "dim", stderr=True)


def _pages(
    correlation: "CorrelationServiceStub", request: "correlation_pb2.ListFailureGroupsRequest", limit: int
) -> "correlation_pb2.ListFailureGroupsResponse":
    """One answer of `limit` groups, of as many pages as that takes."""
    from agent_tracer.v1 import correlation_pb2

    answer = correlation_pb2.ListFailureGroupsResponse()
    while True:
        request.page_size = min(limit - len(answer.groups), PAGE_SIZE_MAX)
        page = correlation.ListFailureGroups(request, timeout=CLI_CALL_SECONDS)
        answer.groups.extend(page.groups)
        answer.next_page_token = page.next_page_token
        del answer.caveats[:]
        answer.caveats.extend(page.caveats)
        if not page.next_page_token or len(answer.groups) >= limit:
            return answer
        request.page_token = page.next_page_token


def attribute(
    argument: options.TraceIdArgument = None,
    trace_id: options.TraceIdOption = None,
    as_json: options.AsJson = False,
    endpoint: options.Endpoint = None,
) -> None:
    """Which agent, at which step, made a failed run fail."""
    from agent_tracer.v1 import correlation_pb2

    request = correlation_pb2.AttributeFailureRequest(trace_id=options.one_trace_id(trace_id, argument))
    with correlation_service(endpoint) as correlation:
        answer = correlation.AttributeFailure(request, timeout=CLI_CALL_SECONDS)
    if as_json:
        show_json(answer)
        return
    if not answer.candidates:
        show("Nobody did anything in this run that it could have failed by.", stderr=True)
        return
    from agent_tracer.server.cli.culprits import print_attribution

    print_attribution(console(), answer)
