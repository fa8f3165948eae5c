"""One event loop in a thread, in which programs without a loop of their own have their calls made."""

import asyncio
import atexit
import os
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import suppress
from typing import Any, Final, TypeVar

__all__ = ["PORTAL", "Portal"]

_Result = TypeVar("_Result")
_JOIN_SECONDS: Final = 2.0
_END: Final = object()


class Portal:
    """The loop starts with the first call, again in a forked child, and ends with the process."""

    _lock: threading.Lock
    _loop: asyncio.AbstractEventLoop | None
    _thread: threading.Thread | None

    def __init__(self) -> None:
        self._forget()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """What the coroutine returns or raises; it is cancelled when the wait is interrupted."""
        future = asyncio.run_coroutine_threadsafe(work, self._started())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def soon(self, work: Callable[[], object]) -> None:
        """Have a short function called in the loop, without waiting; nothing where the loop has ended."""
        with suppress(RuntimeError):
            if self._loop is not None:
                self._loop.call_soon_threadsafe(work)

    def iterate(self, stream: AsyncGenerator[_Result, None]) -> Generator[_Result, None, None]:
        """The items of the stream, each asked for when it is wanted; the stream is closed with the generator.

        Raises RuntimeError in a forked child: what its parent began is its parent's.
        """
        loop = self._started()

        async def step() -> Any:  # noqa: ANN401 - an item, or the mark of the end
            return await anext(stream, _END)

        try:
            while (item := self.run(step())) is not _END:
                yield item
                if loop is not self._loop:
                    message = "a stream is read by the process that began it: call the method again in this one"
                    raise RuntimeError(message)
        finally:
            self._end(stream, loop)

    def close(self) -> None:
        """End the loop and its thread."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(_JOIN_SECONDS)

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=_serve, args=(self._loop,), name="agent-tracer-client", daemon=True
                )
                self._thread.start()
            return self._loop

    def _end(self, stream: AsyncGenerator[Any, None], loop: asyncio.AbstractEventLoop) -> None:
        if loop is not self._loop:  # it has ended, or is a parent process's, whose stream this is
            return
        if threading.current_thread() is self._thread:  # a generator that nobody finished, collected right here
            loop.create_task(_close(stream))
        else:
            self.run(_close(stream))

    def _forget(self) -> None:
        """A child of a fork has no other threads, and may have got the lock as another one held it."""
        self._lock = threading.Lock()
        self._loop = self._thread = None


async def _close(stream: AsyncGenerator[Any, None]) -> None:
    await stream.aclose()


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


PORTAL: Final = Portal()
atexit.register(PORTAL.close)
