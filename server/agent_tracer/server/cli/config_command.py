"""`config check` and `config show`."""

# Imports wait until a command needs them: `--help` must be quick.
# ruff: noqa: PLC0415

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent_tracer.server.cli.console import show
from agent_tracer.server.cli.errors import CommandError
from agent_tracer.server.cli.text import plain

if TYPE_CHECKING:
    from agent_tracer.server.config import Settings

_FILE_HELP = "A YAML file; none: defaults and environment."


def check(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help=_FILE_HELP, show_default=False)] = None,
) -> None:
    """Whether the configuration can be used; if not, every problem at once."""
    load(file)
    show(f"OK {plain(str(file)) if file else 'defaults and environment'}")


def show_settings(
    config: Annotated[Path | None, typer.Option("--config", help=_FILE_HELP, show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of YAML.")] = False,
) -> None:
    """The settings as file and environment make them, secrets masked."""
    import yaml

    settings = load(config).to_display()
    # Both escape control characters in values.
    typer.echo(json.dumps(settings, indent=2) if as_json else yaml.safe_dump(settings, sort_keys=False), nl=as_json)


def load(file: Path | None, data_dir: Path | None = None) -> "Settings":
    """The settings. Raises CommandError with each problem as a hint."""
    from agent_tracer.server.config import ConfigError, load_settings

    try:
        return load_settings(file, {"data_dir": data_dir})
    except ConfigError as error:
        raise CommandError("the configuration cannot be used", [str(p) for p in error.problems]) from None
