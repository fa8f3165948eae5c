"""Keeps the vector index tidy: by one embedder, of traces that are stored, not too old and not too many."""

import time
from collections.abc import Callable
from itertools import groupby
from typing import Final

import structlog

from agent_tracer.server.domain.ids import OtelTraceId, TenantId
from agent_tracer.server.limits import (
    INDEX_FORGOTTEN_MAX,
    INDEX_UPKEEP_SECONDS,
    SIMILAR_TRACES_MAX,
    SIMILAR_TRACES_SLACK,
)
from agent_tracer.server.ports.vectors import Embedders, VectorIndex
from agent_tracer.server.services.backlog import Backlog

_log: Final = structlog.get_logger("similar")
_DAY_NS: Final = 86_400 * 1_000_000_000


class IndexUpkeep:
    """What goes from the index, and how many points it has. Where a call fails, the next one makes up for it.

    `backlog` is of the traces to index, begun for the embedder in use.
    """

    def __init__(
        self,
        *,
        index: VectorIndex,
        embedders: Embedders,
        backlog: Backlog,
        clock_ns: Callable[[], int],
        retention_days: int,
    ) -> None:
        self._index = index
        self._embedders = embedders
        self._backlog = backlog
        self._clock_ns = clock_ns
        self._retention_ns = retention_days * _DAY_NS
        self._trimmed_at = float("-inf")
        self._forgotten: dict[tuple[TenantId, OtelTraceId], None] = {}
        self.points: int | None = None
        """None: not asked yet, so that an index which nobody needs is not opened."""
        self.is_mixed = False
        """Whether there are points of a former embedder, as of when they were counted."""

    async def count(self) -> int:
        """How many points there are; the first time, whether they are what the progress says."""
        if self.points is None:
            points, current = await self._index.count(), await self._index.count(self._backlog.maker)
            if self._backlog.is_continued and not current:
                self._backlog.again()
            self.points, self.is_mixed = points, points > current
        return self.points

    def forget(self, tenant: TenantId, trace_id: OtelTraceId) -> None:
        """Have `delete_forgotten` remove it. Of too many, the first ones stay: answers never show them."""
        self._forgotten[tenant, trace_id] = None
        while len(self._forgotten) > INDEX_FORGOTTEN_MAX:
            del self._forgotten[next(iter(self._forgotten))]

    async def delete_forgotten(self) -> None:
        """Remove what the store has removed."""
        for tenant, of_tenant in groupby(sorted(self._forgotten), key=lambda key: key[0]):
            keys = list(of_tenant)
            await self._index.delete(tenant, [trace_id for _, trace_id in keys])
            for key in keys:
                self._forgotten.pop(key, None)

    async def end_mixture(self) -> None:
        """Once every trace has a vector of the embedder in use, those of the former one go."""
        if self.is_mixed and not self._backlog:
            await self._index.keep_only(self._backlog.maker)
            self._embedders.forget_former()
            self.points, self.is_mixed = await self._index.count(), False
            _log.info("every trace is embedded anew", embedder=self._backlog.maker, traces=self.points)

    async def trim(self) -> None:
        """Remove what is too old or too much, from time to time."""
        if self.points is None:
            return
        is_full = self.points > SIMILAR_TRACES_MAX + SIMILAR_TRACES_SLACK
        if not is_full and time.perf_counter() - self._trimmed_at < INDEX_UPKEEP_SECONDS:
            return
        oldest_ns = self._clock_ns() - self._retention_ns
        cut_ns = await self._index.trim(keep=SIMILAR_TRACES_MAX, received_from_ns=oldest_ns)
        self._backlog.drop_before(oldest_ns if cut_ns is None else cut_ns)
        self._trimmed_at = time.perf_counter()
        before, self.points = self.points, await self._index.count()
        if before and not self.points:
            self._backlog.again()  # somebody emptied it
