"""Writes into the store's graph: each row gets a version after all before it, by which a replica copies."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from agent_tracer.server.domain.graph.records import GraphBucket, GraphFact
from agent_tracer.server.ports.graph import GraphWriter
from agent_tracer.server.services.graph_replica import GraphReplica

_Row = TypeVar("_Row", GraphBucket, GraphFact)


class GraphWrites:
    """The only writer of the store's graph. `replica` is told of what was written."""

    def __init__(self, store: GraphWriter, clock_ns: Callable[[], int], replica: GraphReplica | None) -> None:
        self._store = store
        self._clock_ns = clock_ns
        self._replica = replica
        # An incident does not wait for buckets to be made.
        self._facts_turn = asyncio.Lock()
        self._bucket_version: int | None = None
        self._fact_version: int | None = None

    async def put(self, buckets: Sequence[GraphBucket]) -> None:
        """One call at a time. Raises StoreDownError."""
        last = self._bucket_version
        if last is None:
            last = (await self._store.versions()).buckets
        numbered = self._numbered(buckets, last)
        await self._store.put(numbered)
        self._bucket_version = max([last, *(one.version for one in numbered)])
        self._tell_replica()

    async def put_facts(self, facts: Sequence[GraphFact]) -> None:
        """Incidents and causes, whatever else is being written. Raises StoreDownError."""
        async with self._facts_turn:
            last = self._fact_version
            if last is None:
                last = (await self._store.versions()).facts
            numbered = self._numbered(facts, last)
            await self._store.put_facts(numbered)
            self._fact_version = max([last, *(one.version for one in numbered)])
        self._tell_replica()

    def _numbered(self, rows: Sequence[_Row], last: int) -> list[_Row]:
        """In their order, with versions after the last."""
        numbered = []
        for row in rows:
            last = max(self._clock_ns(), last + 1)
            numbered.append(replace(row, version=last))
        return numbered

    def _tell_replica(self) -> None:
        if self._replica is not None:
            self._replica.wake()
