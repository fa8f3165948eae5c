"""`doctor`: is everything as it should be, and if not, what to do."""

# Imports wait until a command needs them: `--help` must be quick.
# ruff: noqa: PLC0415

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent_tracer.server.cli import options
from agent_tracer.server.cli.connection import DEFAULT_ENDPOINT, address_of, clients_server, is_loopback, server_address
from agent_tracer.server.cli.console import console

if TYPE_CHECKING:
    from rich.console import Console

    from agent_tracer.server.cli.checks import Finding
    from agent_tracer.server.config import Settings

_STYLES = {"OK": "green", "WARN": "yellow", "FAIL": "bold red"}
_SUBJECT_COLUMNS = 18
_NOT_REACHED = 3
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where a server that listens everywhere is asked


def doctor(
    ctx: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option("--config", dir_okay=False, help="The server's configuration file.", show_default=False),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="The server's data directory.", show_default=False)
    ] = None,
    endpoint: options.Endpoint = None,
) -> None:
    """Say what is wrong, and what to do about it."""
    from agent_tracer.server.cli import checks

    out = console()
    told: list[Finding] = []

    def tell(findings: "list[Finding]") -> None:
        told.extend(findings)
        for finding in findings:
            _print(out, finding)

    tell(list(checks.versions()))
    settings, findings = checks.configuration(config, data_dir)
    tell(findings)
    own = None if settings is None else _own_address(settings)
    by_flag = getattr(ctx.get_parameter_source("endpoint"), "name", "") == "COMMANDLINE"
    address = _address(endpoint, own, configured=config is not None and not by_flag)
    answers = list(checks.server(address))
    tell(answers)
    running = checks.reached(answers)
    same = own is not None and _is_same(address, own)
    if settings is not None and same:
        if running:
            tell(list(checks.readiness(settings.tracer.host, settings.tracer.port)))
        tell(list(checks.ports(settings, running=running)))
    elif own is not None and is_loopback(address):
        tell(list(checks.other_server(own)))
    if settings is not None and (same or data_dir is not None):
        tell(list(checks.data_directory(settings.data_dir)))
    if not running:
        raise typer.Exit(_NOT_REACHED)
    if any(finding.level is checks.Level.FAIL for finding in told):
        raise typer.Exit(1)


def _own_address(settings: "Settings") -> str:
    host = str(settings.tracer.host)
    return address_of(_ANY.get(host, host), settings.tracer.grpc_port)


def _address(endpoint: str | None, own: str | None, *, configured: bool) -> str:
    """Of the server that is meant: what a flag says goes before the environment, and that before what is usual."""
    if own is not None and configured:
        return own
    return server_address(endpoint or clients_server() or own or DEFAULT_ENDPOINT)


def _is_same(address: str, own: str) -> bool:
    return address == own or (is_loopback(address) and address.rpartition(":")[2] == own.rpartition(":")[2])


def _print(out: "Console", finding: "Finding") -> None:
    from rich.text import Text

    from agent_tracer.server.cli.text import plain

    line = Text(f"{finding.level.value:<5}", style=_STYLES[finding.level])
    line.append(f" {plain(finding.subject):<{_SUBJECT_COLUMNS}}", style="bold")
    line.append(f" {plain(finding.detail)}", style="default")
    out.print(line, soft_wrap=True)
    for advice in finding.advice.splitlines():
        out.print(Text(f"{'':<5} {'':<{_SUBJECT_COLUMNS}} {plain(advice)}", style="dim"), soft_wrap=True)
