"""The feed within one process: the loader publishes, live tails follow."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Final

from agent_tracer.server.domain.errors import OverloadedError
from agent_tracer.server.domain.ids import OtelTraceId, TenantId
from agent_tracer.server.limits import FEED_SUBSCRIBERS_MAX, FEED_TRACES_MAX
from agent_tracer.server.ports.feed import TraceSubscription

_RETRY_SECONDS: Final = 1.0


class TraceBroadcast:
    """TraceFeed and TracePublisher. Not thread-safe: all of it runs on one event loop."""

    def __init__(self) -> None:
        self._followers: set[_Follower] = set()
        self._closed = False

    def is_followed(self, tenant: TenantId) -> bool:
        """Whether anybody would be told."""
        return any(follower.tenant == tenant for follower in self._followers)

    def publish(self, tenant: TenantId, trace_ids: Sequence[OtelTraceId]) -> None:
        """Tell every follower of the tenant."""
        for follower in self._followers:
            if follower.tenant == tenant and trace_ids:
                follower.add(trace_ids)

    @contextmanager
    def subscribe(self, tenant: TenantId) -> Iterator[TraceSubscription]:
        """Follow from now on. Raises OverloadedError at FEED_SUBSCRIBERS_MAX followers."""
        if len(self._followers) >= FEED_SUBSCRIBERS_MAX:
            message = f"{FEED_SUBSCRIBERS_MAX} live tails are open already; close one or try again later"
            raise OverloadedError(message, _RETRY_SECONDS)
        follower = _Follower(tenant)
        if self._closed:
            follower.close()
        self._followers.add(follower)
        try:
            yield follower
        finally:
            self._followers.discard(follower)

    def close(self) -> None:
        """End every subscription, now and later: the server stops."""
        self._closed = True
        for follower in self._followers:
            follower.close()


class _Follower:
    """Waiting ids are kept in order and once each, so a trace that grows does not fill the bound."""

    def __init__(self, tenant: TenantId) -> None:
        self.tenant = tenant
        self._waiting: dict[OtelTraceId, None] = {}
        self._overrun = False
        self._closed = False
        self._news = asyncio.Event()

    def add(self, trace_ids: Sequence[OtelTraceId]) -> None:
        self._waiting.update(dict.fromkeys(trace_ids))
        if len(self._waiting) > FEED_TRACES_MAX:
            self._overrun = True
            self._waiting.clear()
        self._news.set()

    def close(self) -> None:
        self._closed = True
        self._news.set()

    async def touched(self, *, limit: int) -> Sequence[OtelTraceId]:
        while True:
            await self._news.wait()
            if self._overrun:
                message = "traces came faster than this live tail took them; watch again, with more filters"
                raise OverloadedError(message, _RETRY_SECONDS)
            taken = list(islice(self._waiting, limit))
            for trace_id in taken:
                del self._waiting[trace_id]
            if not self._waiting and not self._closed:
                self._news.clear()
            if taken or self._closed:
                return taken
