"""Clients of the store, one a worker thread: embedded chdb or a ClickHouse server behind the same driver.

The driver's handles are not to be shared between threads (a shared one returns other callers' rows), so each worker
thread owns one for life.
"""

import asyncio
import itertools
import os
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NoReturn, Self, TypeVar

import clickhouse_connect
import structlog
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from agent_tracer.server.limits import (
    QUERY_MEMORY_BYTES_MAX,
    QUERY_QUEUE_MAX,
    QUERY_SECONDS_MAX,
    QUERY_WORKERS,
)
from agent_tracer.server.ports.store import (
    QueryTimeoutError,
    StoreBusyError,
    StoreDownError,
    TooMuchDataError,
)

T = TypeVar("T")
Row = Sequence[Any]
EMBEDDED: Final = "chdb://"

_log: Final = structlog.get_logger("store")
BYTES: Final = {"String": "bytes"}
"""Query formats that give texts as bytes."""
_QUOTED: Final = re.compile(r"'(?:[^'\\]|\\.)*'?", re.DOTALL)
_CODE: Final = re.compile(r"Code: (\d+)")
_FAILURES: Final = (ClickHouseError, OSError)
"""The driver's own errors, and those of the files that it writes for the embedded engine."""
_KILL_AGAIN_SECONDS: Final = 0.05
_TIMEOUT_EXCEEDED, _MEMORY_LIMIT_EXCEEDED, _TOO_MANY_QUERIES = 159, 241, 202
_READ_SETTINGS: Final[Mapping[str, Any]] = {
    "max_execution_time": QUERY_SECONDS_MAX,
    "max_memory_usage": QUERY_MEMORY_BYTES_MAX,
    # Indexes while reading cost more than they save on narrow columns (57 against 35 ms for a whole trace).
    "use_skip_indexes_on_data_read": 0,
}


class Worker:
    """A thread with a client of its own."""

    def __init__(self, name: str, connect: Callable[[], Client]) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"store-{name}")
        self._connect = connect
        self._client: Client | None = None

    def submit(self, work: Callable[[Client], T]) -> "asyncio.Future[T]":
        """Run it on the thread. The work goes on when the future is cancelled."""
        return asyncio.wrap_future(self._thread.submit(self._run, work))

    def call(self, work: Callable[[Client], T]) -> T:
        """Run it on the thread and wait, outside of an event loop."""
        return self._thread.submit(self._run, work).result()

    def _run(self, work: Callable[[Client], T]) -> T:
        if self._client is None:
            self._client = self._connect()
        return work(self._client)

    def close(self) -> None:
        """Wait for the running work, then let go of the client."""
        self._thread.submit(self._disconnect).result()
        self._thread.shutdown()

    def _disconnect(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


class Engine:
    """Runs statements on the store. Raises ports.store's errors; the driver's own text goes to the log alone."""

    def __init__(self, connect: Callable[[], Client], schemas: Path | None = None) -> None:
        """`schemas`: where the embedded engine reads protobuf schemas; a server takes them with the statement."""
        self.schemas = schemas
        self.writer = Worker("write", connect)
        # Beside the writer, so that settling does not hold up a commit.
        self.settler = Worker("settle", connect)
        self._control = Worker("control", connect)
        self._readers = [Worker(f"read-{n}", connect) for n in range(QUERY_WORKERS)]
        self._idle: asyncio.LifoQueue[Worker] = asyncio.LifoQueue()
        for reader in self._readers:
            self._idle.put_nowait(reader)
        self._waiting = 0
        self._tags = itertools.count()
        self._process = os.getpid()
        self._kills: set[asyncio.Future[None]] = set()

    @classmethod
    def open(cls, url: str, directory: Path) -> Self:
        """`chdb://` (embedded, data under `directory`) or the http(s) URL of a ClickHouse server."""
        if url == EMBEDDED:
            directory.mkdir(parents=True, exist_ok=True)
            return cls(
                lambda: clickhouse_connect.get_client(interface="chdb", path=str(directory)),
                schemas=directory / "protobuf",
            )
        return cls(lambda: clickhouse_connect.get_client(dsn=url, autogenerate_session_id=False))

    async def rows(self, statement: str, parameters: Mapping[str, Any] | None = None) -> Sequence[Row]:
        """The rows of a SELECT. `parameters` fill `{name:Type}` places; cancelling stops the query.

        Texts come as bytes: telemetry holds serialised values beside them, which are no UTF-8.
        """
        tag = f"agent-tracer-{self._process}-{next(self._tags)}"
        settings = {**_READ_SETTINGS, "log_comment": tag}

        def read(client: Client) -> Sequence[Row]:
            found = client.query(statement, parameters=dict(parameters or {}), settings=settings, query_formats=BYTES)
            rows: Sequence[Row] = found.result_rows
            return rows

        reader = await self._take_reader()
        future = reader.submit(read)
        # When the work has ended, which after a cancelled wait is later than the wait.
        future.add_done_callback(lambda _: self._idle.put_nowait(reader))
        return await self._until_done(future, tag)

    async def _take_reader(self) -> Worker:
        if self._waiting >= QUERY_QUEUE_MAX:
            raise StoreBusyError("too many queries are waiting; try again in a moment")
        self._waiting += 1
        try:
            return await self._idle.get()
        finally:
            self._waiting -= 1

    async def _until_done(self, future: "asyncio.Future[T]", tag: str) -> T:
        """Wait for a query; when cancelled, stop it first."""
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            killing = asyncio.ensure_future(self._kill(future, tag))
            self._kills.add(killing)
            killing.add_done_callback(self._kills.discard)
            await asyncio.shield(killing)
            raise
        except _FAILURES as error:
            translate(error)

    async def _kill(self, future: "asyncio.Future[T]", tag: str) -> None:
        def kill(client: Client) -> None:
            client.command("KILL QUERY WHERE Settings['log_comment'] = {tag:String} ASYNC", parameters={"tag": tag})

        while not future.done():
            with suppress(*_FAILURES):
                await self._control.submit(kill)
            await asyncio.wait((future,), timeout=_KILL_AGAIN_SECONDS)
        if not future.cancelled():
            future.exception()

    async def write(self, work: Callable[[Client], T]) -> T:
        """Run it on the one thread that writes; not cancelled half way."""
        return await _finished(self.writer.submit(work))

    async def settle(self, work: Callable[[Client], T]) -> T:
        """Run it on the one thread that writes what is made out of spans; not cancelled half way."""
        return await _finished(self.settler.submit(work))

    def close(self) -> None:
        """Finish what runs and close every client."""
        for worker in (*self._readers, self.writer, self.settler, self._control):
            worker.close()


async def _finished(work: "asyncio.Future[T]") -> T:
    try:
        return await asyncio.shield(work)
    except _FAILURES as error:
        translate(error)


def error_code(error: Exception) -> int:
    """The engine's number of an error; 0 where it gave none."""
    match = _CODE.search(str(error)) if isinstance(error, ClickHouseError) else None
    return int(match[1]) if match else 0


def translate(error: Exception) -> NoReturn:
    """Raise the port's error for a driver's."""
    match error_code(error):
        case code if code == _TIMEOUT_EXCEEDED:
            raise QueryTimeoutError(f"the query took longer than {QUERY_SECONDS_MAX:.0f} s; narrow it") from None
        case code if code == _MEMORY_LIMIT_EXCEEDED:
            raise TooMuchDataError("the query needs too much memory; narrow its time range or filters") from None
        case code if code == _TOO_MANY_QUERIES:
            raise StoreBusyError("the store is busy; try again in a moment") from None
        case code:
            # The engine quotes what it was given, which may be a prompt.
            _log.error("store failed", code=code, error=_QUOTED.sub("'...'", str(error))[:2000])
            raise StoreDownError("the store does not answer; the server's log has the reason") from None
