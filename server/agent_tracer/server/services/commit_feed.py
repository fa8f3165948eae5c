"""Tells live tails which traces a commit touched."""

from collections.abc import Sequence
from typing import Final

from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.ports.feed import TracePublisher
from agent_tracer.server.ports.journal import Record
from agent_tracer.server.ports.settling import ReceivedRange
from agent_tracer.server.ports.store import (
    QueryTimeoutError,
    StoreBusyError,
    StoreDownError,
    TooMuchDataError,
    TraceReader,
)
from agent_tracer.server.services.follower import Follower
from agent_tracer.server.services.pacing import Pace

_PACE: Final = Pace(
    part="feed",
    what="live tails are told of what comes",
    expected=(StoreDownError, StoreBusyError, QueryTimeoutError, TooMuchDataError),
    cost_factor=0.0,
    seconds_min=0.0,
)


class CommitFeed:
    """CommitListener; `run` is its task. Asks the store only while somebody follows."""

    def __init__(self, reader: TraceReader, publisher: TracePublisher) -> None:
        self._reader = reader
        self._publisher = publisher
        self._waiting: dict[TenantId, ReceivedRange] = {}
        self._follower = Follower(_PACE, self._publish)

    async def committed(self, records: Sequence[Record]) -> None:
        """Have the traces of these records published."""
        traces = [r for r in records if r.signal is Signal.TRACES]
        for tenant in {r.tenant for r in traces}:
            if self._publisher.is_followed(tenant):
                received = [r.received_ns for r in traces if r.tenant == tenant]
                waiting = self._waiting.get(tenant)
                if waiting is not None:
                    received += (waiting.start_ns, waiting.end_ns)
                self._waiting[tenant] = ReceivedRange(min(received), max(received))
                self._follower.wake()

    async def run(self) -> None:
        """Publish until cancelled, commits that came meanwhile together."""
        await self._follower.run()

    async def _publish(self) -> None:
        """What the store cannot say now, the tails miss; the next commit or a list shows it."""
        waiting, self._waiting = self._waiting, {}
        for tenant, received in waiting.items():
            touched = await self._reader.touched(tenant, received.start_ns, received.end_ns)
            self._publisher.publish(tenant, touched)
