"""Channels that are kept from call to call: one for each event loop and endpoint, and none of a parent process's."""

import asyncio
import os
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from grpclib.client import Channel

from agent_tracer.client.api.endpoint import Endpoint

__all__ = ["AT_REST_MAX", "Channels"]

AT_REST_MAX: Final = 32
"""Channels of loops that do not run: one may run again, and many were left behind by programs that never close any."""

_Key = tuple[asyncio.AbstractEventLoop, Endpoint]


class Channels:
    """A channel belongs to the event loop that made it, and is closed in no other; threads may share one of these."""

    def __init__(self) -> None:
        self._kept: dict[_Key, Channel] = {}
        _everywhere.add(self)

    def __len__(self) -> int:
        return len(self._kept)

    def of(self, endpoint: Endpoint, new: Callable[[Endpoint], Channel]) -> Channel:
        """The running loop's channel to the endpoint, made with `new` where there is none."""
        key = (asyncio.get_running_loop(), endpoint)
        channel = self._kept.get(key)
        if channel is None:
            self._close(self._ended())
            channel = self._kept[key] = new(endpoint)
        return channel

    def close(self) -> None:
        """Close and remove every channel: the running loop's at once, another's when its loop comes to it."""
        self._close(list(self._kept))

    def forget(self) -> None:
        """Remove every channel without closing it: neither close() nor __del__ of one acts without a protocol."""
        for channel in self._kept.values():
            channel._protocol = None  # noqa: SLF001 - there is no other way to let go of a connection
        self._kept.clear()

    def _ended(self) -> Iterable[_Key]:
        """Those of closed loops, and the oldest of loops at rest where these are too many."""
        idle = [key for key in list(self._kept) if not key[0].is_running()]
        resting = [key for key in idle if not key[0].is_closed()]
        return [key for key in idle if key not in resting[-AT_REST_MAX:]]

    def _close(self, keys: Iterable[_Key]) -> None:
        for key in keys:
            channel = self._kept.pop(key, None)
            if channel is not None:  # another thread may have been quicker
                _close(channel, key[0])


def _close(channel: Channel, loop: asyncio.AbstractEventLoop) -> None:
    with suppress(RuntimeError):  # the event loop is closed, and with it the connection
        if loop.is_closed() or loop is _running_loop():
            channel.close()
        else:
            loop.call_soon_threadsafe(channel.close)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


_everywhere: Final["weakref.WeakSet[Channels]"] = weakref.WeakSet()


def _forget_the_parents() -> None:
    """A child shares its parent's sockets and epoll: closing one in the child takes it from the parent's loop."""
    for channels in list(_everywhere):
        channels.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_the_parents)
