"""`doctor`: is everything as it should be, and if not, what to do."""

# Imports wait until a command needs them: `--help` must be quick.
# ruff: noqa: PLC0415

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent_tracer.server.cli import options
from agent_tracer.server.cli.connection import is_loopback, server_address
from agent_tracer.server.cli.console import console

if TYPE_CHECKING:
    from rich.console import Console

    from agent_tracer.server.cli.checks import Finding

_STYLES = {"OK": "green", "WARN": "yellow", "FAIL": "bold red"}
_SUBJECT_COLUMNS = 18
_NOT_REACHED = 3


def doctor(
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

    address = server_address(endpoint)
    out = console()
    told: list[Finding] = []

    def tell(findings: "list[Finding]") -> None:
        told.extend(findings)
        for finding in findings:
            _print(out, finding)

    tell(list(checks.versions()))
    settings, findings = checks.configuration(config, data_dir)
    tell(findings)
    answers = list(checks.server(endpoint, address))
    tell(answers)
    running = checks.reached(answers)
    if settings is not None and is_loopback(address):
        if running:
            tell(list(checks.readiness(settings.tracer.host, settings.tracer.port)))
        tell(list(checks.ports(settings, running=running)))
        tell(list(checks.data_directory(settings.data_dir)))
    if not running:
        raise typer.Exit(_NOT_REACHED)
    if any(finding.level is checks.Level.FAIL for finding in told):
        raise typer.Exit(1)


def _print(out: "Console", finding: "Finding") -> None:
    from rich.text import Text

    from agent_tracer.server.cli.text import plain

    line = Text(f"{finding.level.value:<5}", style=_STYLES[finding.level])
    line.append(f" {plain(finding.subject):<{_SUBJECT_COLUMNS}}", style="bold")
    line.append(f" {plain(finding.detail)}", style="default")
    out.print(line, soft_wrap=True)
    for advice in finding.advice.splitlines():
        out.print(Text(f"{'':<5} {'':<{_SUBJECT_COLUMNS}} {plain(advice)}", style="dim"), soft_wrap=True)
