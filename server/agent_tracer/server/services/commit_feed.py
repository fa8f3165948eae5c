"""Tells live tails which traces a commit touched."""

from collections.abc import Sequence

from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.ports.feed import TracePublisher
from agent_tracer.server.ports.journal import Record
from agent_tracer.server.ports.store import QueryTimeoutError, StoreDownError, TraceReader


class CommitFeed:
    """A CommitListener. Asks the store only while somebody follows."""

    def __init__(self, reader: TraceReader, publisher: TracePublisher) -> None:
        self._reader = reader
        self._publisher = publisher

    async def committed(self, records: Sequence[Record]) -> None:
        """Publish the traces of these records."""
        traces = [r for r in records if r.signal is Signal.TRACES]
        for tenant in {r.tenant for r in traces}:
            if not self._publisher.is_followed(tenant):
                continue
            received = [r.received_ns for r in traces if r.tenant == tenant]
            try:
                touched = await self._reader.touched(tenant, min(received), max(received))
            except (StoreDownError, QueryTimeoutError):
                continue  # The tail misses these; the next commit or a list shows them.
            self._publisher.publish(tenant, touched)
