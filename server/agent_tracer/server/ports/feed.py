"""Which traces a commit of the loader touched: what a live tail follows."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from agent_tracer.server.domain.ids import OtelTraceId, TenantId


class TraceSubscription(Protocol):
    """One follower's view. Bounded: a follower that is too slow is told, and never gets a gap unnoticed."""

    async def touched(self, *, limit: int) -> Sequence[OtelTraceId]:
        """Wait for traces that were touched since the last call: at least one, at most `limit`, each once.

        Empty once the feed is closed and nothing is left. Raises OverloadedError when so many traces waited
        that some had to be dropped.
        """
        ...


class TraceFeed(Protocol):
    """Traces touched by commits, of one tenant. What was committed before `subscribe` is not told."""

    def subscribe(self, tenant: TenantId) -> AbstractContextManager[TraceSubscription]:
        """Follow from now on, until the context ends. Raises OverloadedError at too many followers."""
        ...


class TracePublisher(Protocol):
    """The loader's side. Called on the event loop, after the commit can be read; never waits."""

    def is_followed(self, tenant: TenantId) -> bool:
        """Whether anybody would be told."""
        ...

    def publish(self, tenant: TenantId, trace_ids: Sequence[OtelTraceId]) -> None:
        """Tell every follower of the tenant."""
        ...
