"""`agent-tracer start`: the whole server in one process, until it is told to stop."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from agent_tracer.server.adapters.clickhouse.schema import StoreTooNewError
from agent_tracer.server.adapters.data_directory import DataDirectoryError
from agent_tracer.server.adapters.envoy.process import EnvoyError
from agent_tracer.server.adapters.journal import JournalFormatError
from agent_tracer.server.api.listening import CannotListenError
from agent_tracer.server.app import ALL_LISTENERS, CannotStartError, PartFailedError, running
from agent_tracer.server.cli.banner import show_banner
from agent_tracer.server.cli.errors import CommandError
from agent_tracer.server.config import ConfigError, load_settings
from agent_tracer.server.log import configure_log

_CANNOT_RUN: Final = (
    ConfigError,
    DataDirectoryError,
    CannotListenError,
    EnvoyError,
    StoreTooNewError,
    JournalFormatError,
    CannotStartError,
    PartFailedError,
)

Config = Annotated[Path | None, typer.Option("--config", "-c", help="Configuration file (YAML).")]
DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Where everything is kept.")]
LogLevel = Annotated[str | None, typer.Option("--log-level", help="debug, info, warning or error.")]


def start(config: Config = None, data_dir: DataDir = None, log_level: LogLevel = None) -> None:
    """Start the server with all REST listeners."""
    _start(ALL_LISTENERS, config, data_dir, log_level)


def ace_start(config: Config = None, data_dir: DataDir = None, log_level: LogLevel = None) -> None:
    """Start the server with the REST listener of ACE."""
    _start(("ace",), config, data_dir, log_level)


def atlas_start(config: Config = None, data_dir: DataDir = None, log_level: LogLevel = None) -> None:
    """Start the server with the REST listener of ATLAS."""
    _start(("atlas",), config, data_dir, log_level)


def _start(listeners: Sequence[str], config: Path | None, data_dir: Path | None, log_level: str | None) -> None:
    # Threads of the store and the journal hand the interpreter over to the event loop sooner than by default (5 ms).
    sys.setswitchinterval(0.001)
    try:
        settings = load_settings(config, {"data_dir": data_dir, "log.level": log_level})
        configure_log(settings.log.level, settings.log.format)
        asyncio.run(_serve(settings, listeners))
    except _CANNOT_RUN as error:
        raise CommandError(str(error)) from None


async def _serve(settings: object, listeners: Sequence[str]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _stop_or_end, stop, number)
    async with running(settings, listeners) as started:  # type: ignore[arg-type]
        # Collections pass over what start-up made, which lives as long as the process.
        gc.freeze()
        show_banner(started)
        await started.until(stop)


def _stop_or_end(stop: asyncio.Event, number: signal.Signals) -> None:
    """The first signal stops in good order, the second at once; the journal keeps what is durable either way."""
    if stop.is_set():
        os._exit(128 + number)
    stop.set()
