"""Options that several commands share, and what they become in a request."""

# Imports wait until a command needs them: `--help` must be quick.
# ruff: noqa: PLC0415

from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from agent_tracer.server.cli.connection import CLIENTS_VARIABLE, DEFAULT_ENDPOINT, ENDPOINT_VARIABLE
from agent_tracer.server.cli.errors import WrongUsageError

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

Endpoint: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        envvar=ENDPOINT_VARIABLE,
        metavar="HOST:PORT",
        help="The server's gRPC address.",
        show_default=f"of {CLIENTS_VARIABLE}, else {DEFAULT_ENDPOINT}",
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
EndTime: TypeAlias = Annotated[
    str,
    typer.Option(
        "--end-time",
        metavar="TIME",
        help="End of the period (RFC 3339), such as 2026-05-01T12:00:00Z.",
        show_default="now",
    ),
]
PageToken: TypeAlias = Annotated[
    str, typer.Option("--page-token", help="Go on where a list ended.", show_default=False)
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


def end_time(text: str) -> "Timestamp | None":
    """The time of `--end-time`, None where it is not given. Raises WrongUsageError."""
    from google.protobuf.timestamp_pb2 import Timestamp

    if not text:
        return None
    moment = Timestamp()
    try:
        moment.FromJsonString(text)
    except ValueError:
        message = f"--end-time {text!r} is no RFC 3339 time"
        raise WrongUsageError(message, ["such as --end-time 2026-05-01T12:00:00Z"]) from None
    return moment


def listed(option: str, values: list[str]) -> list[str]:
    """The parts of a list with commas, of an option that may be repeated. Raises WrongUsageError for an empty part."""
    parts = [part.strip() for value in values for part in value.split(",")]
    if not all(parts):
        message = f"{option} has an empty part"
        raise WrongUsageError(message, [f"write them with commas between: {option} one,two"])
    return parts
