"""Requests on their way from the journal into the store: which traces do they bring more of?"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from agent_tracer.server.domain.ids import OtelTraceId, TenantId
from agent_tracer.server.ports.journal import Position, Record


class Waiting(NamedTuple):
    """How many waiting requests name a trace; `is_all` says that no others wait that were not looked at."""

    requests: int
    is_all: bool


class _Request(NamedTuple):
    tenant: TenantId
    end: Position
    payload: bytes


class WaitingRequests:
    """CommitListener. Holds requests with spans from their acknowledgement until they are loaded.

    A trace is looked for by its id's bytes: two gigabytes a second, and nothing to do for each span that comes in.
    Bytes that are the same by chance, or in a link, cost a needless wait and no wrong answer.
    """

    def __init__(self, loaded: Position, begin: Position, capacity_bytes: int) -> None:
        """`loaded` is in the store; from there to `begin` an earlier run acknowledged what is not known here."""
        self._capacity_bytes = capacity_bytes
        self._loaded = loaded
        self._unknown_until = begin
        self._requests: deque[_Request] = deque()
        self._bytes = 0

    def add(self, tenant: TenantId, end: Position, payload: bytes) -> None:
        """A request that is durable up to `end`, before its sender is told. Past the capacity the oldest is let go."""
        if end <= self._loaded:
            return
        self._requests.append(_Request(tenant, end, payload))
        self._bytes += len(payload)
        while self._bytes > self._capacity_bytes:
            self._unknown_until = max(self._unknown_until, self._drop_oldest())

    async def committed(self, records: Sequence[Record]) -> None:
        """Let go of what can be read from the store."""
        self._loaded = max(self._loaded, records[-1].end)
        # Appends end in nearly the order of their positions: one that is early waits for those before it.
        while self._requests and self._requests[0].end <= self._loaded:
            self._drop_oldest()

    async def naming(self, tenant: TenantId, trace_id: OtelTraceId) -> Waiting:
        """The requests of the tenant that were acknowledged before the call, are not loaded and name the trace."""
        is_all = self._unknown_until <= self._loaded
        if not self._requests:
            return Waiting(0, is_all)
        requests = tuple(self._requests)
        count = await asyncio.to_thread(
            lambda: sum(request.tenant == tenant and request.payload.find(trace_id) >= 0 for request in requests)
        )
        return Waiting(count, is_all)

    def _drop_oldest(self) -> Position:
        oldest = self._requests.popleft()
        self._bytes -= len(oldest.payload)
        return oldest.end
