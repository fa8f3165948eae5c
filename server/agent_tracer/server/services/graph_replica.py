"""Keeps a graph database like the store's graph, whenever it is there: what it missed, it gets."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog

from agent_tracer.server.limits import (
    GRAPH_ANSWER_SECONDS_MAX,
    GRAPH_FACTS_READ_MAX,
    GRAPH_REPLICA_DAYS,
    GRAPH_REPLICA_ROWS,
    GRAPH_REPLICA_TRIM_SECONDS,
    GRAPH_RETRY_SECONDS_MAX,
    GRAPH_RETRY_SECONDS_MIN,
)
from agent_tracer.server.ports.graph import GraphDownError, GraphLog, GraphReader, GraphStore, Versions
from agent_tracer.server.ports.store import QueryTimeoutError, StoreDownError, TooMuchDataError

_log: Final = structlog.get_logger("graph")
_DAY_NS: Final = 86_400 * 1_000_000_000
_STORE_DOWN: Final = (StoreDownError, QueryTimeoutError, TooMuchDataError)
_BEHIND: Final = "the graph database does not have the latest calls yet"
_FAULT: Final = "the graph database could not be brought up to date; the server's log has the reason"


class GraphReplica:
    """`run` is its task. How far the database got is asked of the database itself: an emptied one is filled again."""

    def __init__(self, *, log: GraphLog, target: GraphStore, clock_ns: Callable[[], int]) -> None:
        self._log = log
        self._target = target
        self._clock_ns = clock_ns
        self._reached: Versions | None = None
        self._wake = asyncio.Event()
        self._wake.set()
        self._current = asyncio.Event()
        self._failed = asyncio.Event()
        self._pause_seconds = GRAPH_RETRY_SECONDS_MIN
        self._trimmed_at = -GRAPH_REPLICA_TRIM_SECONDS
        self._problem = ""

    @property
    def problem(self) -> str:
        """Why it should not be read now, for callers; empty where it has everything."""
        if self._problem:
            return self._problem
        return "" if self._current.is_set() else _BEHIND

    @property
    def reader(self) -> GraphReader:
        """Where to read while there is no problem."""
        return self._target

    def wake(self) -> None:
        """There is something to copy."""
        self._current.clear()
        self._wake.set()

    def failed(self, error: GraphDownError) -> None:
        """A read of the database failed."""
        self._current.clear()
        self._note(str(error))
        self._wake.set()

    async def caught_up(self) -> None:
        """Return once everything is copied, or the database is known to be down, or after a while."""
        if self._problem or self._current.is_set():
            return
        waits = [asyncio.create_task(event.wait()) for event in (self._current, self._failed)]
        try:
            await asyncio.wait(waits, timeout=GRAPH_ANSWER_SECONDS_MAX, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def run(self) -> None:
        """Copy until cancelled. A database that is down is asked again and again, ever more rarely."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                if not await self._copied():
                    self._wake.set()
                    await asyncio.sleep(self._pause_seconds)
                    self._pause_seconds = min(2 * self._pause_seconds, GRAPH_RETRY_SECONDS_MAX)
        finally:
            with suppress(GraphDownError):
                await self._target.aclose()

    async def _copied(self) -> bool:
        """Whether everything is there now."""
        try:
            await self._copy()
        except GraphDownError as error:
            self._note(str(error))
        except _STORE_DOWN as error:
            self._note(_FAULT)
            _log.warning("the graph is copied later", reason=type(error).__name__)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the graph, the server must go on
            self._note(_FAULT)
            _log.error("the graph is copied later", reason=type(error).__name__)
        else:
            if self._problem:
                _log.info("the graph database is up to date again")
            self._problem, self._pause_seconds = "", GRAPH_RETRY_SECONDS_MIN
            self._failed.clear()
            if not self._wake.is_set():
                self._current.set()
            return True
        return False

    def _note(self, problem: str) -> None:
        if problem != self._problem:
            _log.warning("the graph database is left out", problem=problem)
        self._problem, self._reached = problem, None
        self._failed.set()

    async def _copy(self) -> None:
        from_ns = self._clock_ns() - GRAPH_REPLICA_DAYS * _DAY_NS
        reached = self._reached or await self._target.versions()
        while buckets := await self._log.buckets_after(reached.buckets, from_ns=from_ns, rows=GRAPH_REPLICA_ROWS):
            await self._target.put(buckets)
            reached = self._reached = reached._replace(buckets=buckets[-1].version)
        while facts := await self._log.facts_after(reached.facts, limit=GRAPH_FACTS_READ_MAX):
            await self._target.put_facts(facts)
            reached = self._reached = reached._replace(facts=facts[-1].version)
        self._reached = reached
        if time.monotonic() - self._trimmed_at >= GRAPH_REPLICA_TRIM_SECONDS:
            await self._target.trim(from_ns)
            self._trimmed_at = time.monotonic()
