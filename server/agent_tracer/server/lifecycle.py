"""What keeps the parts of a running server going, and tells how they are."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from agent_tracer.server.adapters.envoy.process import EnvoyError, EnvoyProcess
from agent_tracer.server.adapters.journal.stats import JournalState, JournalStats
from agent_tracer.server.limits import (
    ENVOY_RESTART_SECONDS_MAX,
    ENVOY_RESTART_SECONDS_MIN,
    JOURNAL_SEGMENT_BYTES,
    LOADER_LAG_SECONDS_MAX,
    READINESS_SECONDS,
)
from agent_tracer.server.ports.store import QueryTimeoutError, StoreBusyError, StoreDownError
from agent_tracer.server.services.health import Component, Readiness
from agent_tracer.server.services.loader import LoaderState

_log: Final = structlog.get_logger("server")
_WELL: Final = Component(ok=True, detail="")


class PartFailedError(Exception):
    """A part of the running server ended with an error that it cannot go on without."""


class Parts:
    """The server's own tasks. None of them may end by itself: better no server than half of one."""

    def __init__(self) -> None:
        """Needs a running event loop. `failure` never has a result, only an exception, PartFailedError."""
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def start(self, work: Coroutine[None, None, None], name: str) -> "asyncio.Task[None]":
        """Run the part as a task, whose error becomes `failure`."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if task.cancelled() or (error := task.exception()) is None:
            return
        _log.critical("a part of the server failed", part=task.get_name(), exc_info=error)
        if not self.failure.done():
            self.failure.set_exception(PartFailedError(f"{task.get_name()} failed; the log has the reason"))
            self.failure.exception()  # asked for, so that nobody complains when the server is ending anyway


async def ended(*tasks: "asyncio.Task[None] | None") -> None:
    """Cancel the tasks and wait until they are over, whatever comes of them."""
    started = [task for task in tasks if task is not None]
    for task in started:
        task.cancel()
    for result in await asyncio.gather(*started, return_exceptions=True):
        if isinstance(result, Exception):
            _log.debug("a task ended with an error", error=type(result).__name__)


class EnvoyKeeper:
    """Starts Envoy, and starts it again when it ends by itself; `report` hears how it is."""

    def __init__(self, make: Callable[[], EnvoyProcess], report: Callable[[Component], None]) -> None:
        self._make = make
        self._report = report
        self._envoy = make()
        self._starting: asyncio.Task[EnvoyProcess] | None = None
        self._keeping: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Start it beside whatever else is started."""
        self._starting = asyncio.create_task(self._envoy.__aenter__())

    async def ready(self) -> None:
        """Return once its ports take connections. Raises EnvoyError."""
        assert self._starting is not None, "begin comes first"  # noqa: S101 - a programming error
        await self._starting
        self._report(_WELL)
        self._keeping = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Take no more requests, finish those under way, end it. May be repeated, and come at any moment."""
        if self._starting is not None and not self._starting.done():
            self._starting.cancel()
        if self._starting is not None:
            await asyncio.gather(self._starting, return_exceptions=True)
        await ended(self._keeping)
        await self._envoy.stop()

    async def _keep(self) -> None:
        while True:
            try:
                await self._envoy.wait_exit()
            except EnvoyError as error:
                _log.error("envoy ended; it is started again", error=str(error))
                self._report(Component(ok=False, detail="Envoy ended by itself and is being started again"))
            else:
                return
            await self._envoy.stop(grace_seconds=0)
            await self._start_again()

    async def _start_again(self) -> None:
        seconds = ENVOY_RESTART_SECONDS_MIN
        while True:
            await asyncio.sleep(seconds)
            seconds = min(2 * seconds, ENVOY_RESTART_SECONDS_MAX)
            envoy = self._make()
            try:
                self._envoy = await envoy.__aenter__()
            except EnvoyError as error:
                self._report(Component(ok=False, detail=str(error)))
            else:
                self._report(_WELL)
                _log.info("envoy is back")
                return


def journal_health(stats: JournalStats, *, lag_bytes: int, free_bytes: int) -> Component:
    """Whether the journal takes requests, or would now.

    Its state is that of the last request. A server that is not ready gets none, so a state of refusal must not
    outlast its cause.
    """
    if stats.state is JournalState.BUDGET_FULL and lag_bytes > 0:
        return Component(
            ok=False, detail="journal.max_bytes is used up because the store is behind; writes are refused"
        )
    if stats.state is JournalState.DISK_FAILING and free_bytes < JOURNAL_SEGMENT_BYTES:
        return Component(ok=False, detail="the disk of data_dir is full; writes are refused until there is room")
    if stats.state is JournalState.CLOSED:
        return Component(ok=False, detail="the journal is closed")
    return _WELL


def loader_health(state: LoaderState) -> Component:
    """Whether what comes in gets into the store."""
    if state.trouble:
        return Component(ok=False, detail=state.trouble)
    if state.behind_seconds > LOADER_LAG_SECONDS_MAX:
        return Component(
            ok=False, detail=f"reads lack the newest {state.behind_seconds:.0f} s: the store is slower than the senders"
        )
    return _WELL


def free_bytes(folder: Path) -> int:
    """Room on the folder's disk; none where it cannot be asked."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize


Check = Callable[[], Awaitable[Component]]


async def watch(readiness: Readiness, checks: Sequence[tuple[str, Check]]) -> None:
    """Report every part's state each READINESS_SECONDS, for ever."""
    while True:
        for name, check in checks:
            component = await check()
            readiness.report(name, ok=component.ok, detail=component.detail)
        await asyncio.sleep(READINESS_SECONDS)


class StoreCheck:
    """Asks the store something trivial from time to time. A store that is busy is not down."""

    def __init__(self, ask: Callable[[], Awaitable[object]], *, every: int) -> None:
        self._ask = ask
        self._every = every
        self._turn = 0
        self._last = _WELL

    async def __call__(self) -> Component:
        """The state as of the last time that it was asked: each `every`-th call."""
        self._turn += 1
        if self._turn % self._every == 1:
            with suppress(TimeoutError, StoreBusyError, QueryTimeoutError):
                self._last = await self._answer()
        return self._last

    async def _answer(self) -> Component:
        try:
            async with asyncio.timeout(READINESS_SECONDS):
                await self._ask()
        except StoreBusyError:
            raise
        except StoreDownError as error:
            return Component(ok=False, detail=str(error))
        return _WELL
