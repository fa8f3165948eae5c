"""uvicorn inside of an event loop that somebody else runs, with bounds on what a connection may take."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator, Sequence

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from agent_tracer.server.limits import (
    HTTP_CONNECTIONS_MAX,
    HTTP_DRAIN_SECONDS,
    HTTP_HEADER_BYTES_MAX,
    HTTP_HEADER_SECONDS_MAX,
    HTTP_KEEPALIVE_SECONDS,
)


class _Protocol(H11Protocol):
    """Bounds the time in which headers arrive, which uvicorn does not."""

    _waits_for_headers: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watching()
        super().connection_lost(exc)

    def _watch(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_watching()
        elif self._waits_for_headers is None:
            self._waits_for_headers = self.loop.call_later(HTTP_HEADER_SECONDS_MAX, self.transport.close)

    def _stop_watching(self) -> None:
        if self._waits_for_headers is not None:
            self._waits_for_headers.cancel()
            self._waits_for_headers = None


class _Server(uvicorn.Server):
    """Leaves the process's signal handlers alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(app: ASGIApp, sockets: Sequence[socket.socket], *, stop: asyncio.Event) -> None:
    """Serve the app on bound sockets until `stop` is set, then answer what is under way and close them.

    Answers that take longer than HTTP_DRAIN_SECONDS are broken off. Cancelling closes everything at once.
    """
    for listener in sockets:
        listener.listen()  # from here on connections wait instead of being refused
    server = _Server(_config(app))
    try:
        async with asyncio.TaskGroup() as tasks:
            stopper = tasks.create_task(_stop_at(stop, server))
            await server.serve(list(sockets))
            stopper.cancel()
    finally:
        _close(server, sockets)


def _close(server: uvicorn.Server, sockets: Sequence[socket.socket]) -> None:
    """What uvicorn does while it stops, and not where it is cancelled."""
    for accepting in getattr(server, "servers", ()):
        accepting.close()
    for connection in tuple(server.server_state.connections):
        connection.transport.abort()
    for listener in sockets:
        listener.close()


async def _stop_at(stop: asyncio.Event, server: uvicorn.Server) -> None:
    await stop.wait()
    server.should_exit = True


def _config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        h11_max_incomplete_event_size=HTTP_HEADER_BYTES_MAX,
        limit_concurrency=HTTP_CONNECTIONS_MAX,
        timeout_keep_alive=HTTP_KEEPALIVE_SECONDS,
        timeout_graceful_shutdown=HTTP_DRAIN_SECONDS,
    )
