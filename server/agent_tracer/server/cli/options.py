"""Options that several commands share, and what they become in a request."""

from typing import Annotated, TypeAlias

import typer

from agent_tracer.server.cli.connection import DEFAULT_ENDPOINT, ENDPOINT_VARIABLE
from agent_tracer.server.cli.errors import WrongUsageError

Endpoint: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        envvar=ENDPOINT_VARIABLE,
        metavar="HOST:PORT",
        help="The server's gRPC address.",
        show_default=DEFAULT_ENDPOINT,
    ),
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="The API's JSON, for programs.")]
AgentId: TypeAlias = Annotated[str, typer.Option("--agent-id", help="Only this agent's.", show_default=False)]
Status: TypeAlias = Annotated[
    str, typer.Option("--status", help="success, error, timeout or running.", show_default=False)
]
Period: TypeAlias = Annotated[
    str, typer.Option("--period", help="Back from now: 15m, 24h, 30d, 4w.", show_default=False)
]
TraceIdOption: TypeAlias = Annotated[
    str | None, typer.Option("--trace-id", help="As it was sent, or 32 hex digits.", show_default=False)
]
TraceIdArgument: TypeAlias = Annotated[
    str | None, typer.Argument(metavar="[TRACE_ID]", help="The same as --trace-id.", show_default=False)
]


def one_trace_id(option: str | None, argument: str | None) -> str:
    """The trace id, given in one of two ways. Raises WrongUsageError for none or two different ones."""
    given = {value for value in (option, argument) if value}
    if len(given) != 1:
        message = "two different trace ids are given" if given else "no trace id is given"
        raise WrongUsageError(message, ["write it once: --trace-id ID"])
    return given.pop()


def check_attributes(attributes: list[str]) -> list[str]:
    """Raises WrongUsageError where one is not key=value."""
    for attribute in attributes:
        key, sign, _ = attribute.partition("=")
        if not key or not sign:
            message = f"--attribute {attribute!r} is not key=value"
            raise WrongUsageError(message, ["such as --attribute http.route=/checkout"])
    return attributes
