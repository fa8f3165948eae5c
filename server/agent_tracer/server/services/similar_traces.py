"""Use case: which traces are most like a trace?"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agent_tracer.server.domain.checks import check_choice, check_id
from agent_tracer.server.domain.conditions import STATUSES, analysis_range
from agent_tracer.server.domain.errors import TraceNotFoundError, Violations
from agent_tracer.server.domain.ids import AgentId, OtelTraceId, TenantId, TraceId, otel_trace_id
from agent_tracer.server.domain.telemetry import TimeRange, Trace, TraceStatus
from agent_tracer.server.limits import (
    SIMILAR_LIMIT_DEFAULT,
    SIMILAR_LIMIT_MAX,
    SIMILAR_LOOKED_UP_MAX,
    SIMILAR_SPARE,
    WATCH_BATCH_MAX,
)
from agent_tracer.server.ports.store import TraceReader
from agent_tracer.server.ports.vectors import Neighbour, Vector, VectorConditions, VectorIndex
from agent_tracer.server.services.loaded_reads import LoadedReads
from agent_tracer.server.services.trace_indexer import TraceIndexer

_DIGITS: Final = 6
"""Of a similarity: what 32-bit floats hold, so that equal traces are equally similar."""

_ANY_PERIOD: Final = "1d"


@dataclass(frozen=True, slots=True)
class SimilarRequest:
    """As the caller wrote it. A limit of 0 is the default's."""

    trace_id: str
    limit: int = 0
    status: str = ""
    period: str = ""


@dataclass(frozen=True, slots=True)
class SimilarTrace:
    """`similarity`: the cosine, 0 to 1."""

    trace_id: TraceId
    similarity: float
    agent_id: AgentId
    operation: str
    status: TraceStatus
    start_ns: int


@dataclass(frozen=True, slots=True)
class _Question:
    """A checked request. Empty status: any; no range: any time."""

    tenant: TenantId
    key: OtelTraceId
    limit: int
    status: str
    time_range: TimeRange | None

    def fits(self, trace: Trace) -> bool:
        """Whether the trace as it is now may be answered."""
        in_range = self.time_range is None or self.time_range.start_ns <= trace.start_ns < self.time_range.end_ns
        return in_range and self.status in ("", trace.status) and trace.otel_trace_id != self.key


class SimilarTraces:
    """Raises InvalidFieldsError, TraceNotFoundError, VectorsDownError, EmbedderDownError, and what the store raises."""

    def __init__(  # noqa: PLR0913 - its collaborators, by name
        self,
        *,
        reader: TraceReader,
        index: VectorIndex,
        indexer: TraceIndexer,
        loaded: LoadedReads,
        catch_up: Callable[[], Awaitable[object]],
        clock_ns: Callable[[], int],
    ) -> None:
        """`catch_up` waits a moment for what was acknowledged before to be indexed."""
        self._reader = reader
        self._index = index
        self._indexer = indexer
        self._loaded = loaded
        self._catch_up = catch_up
        self._clock_ns = clock_ns

    async def find(self, tenant: TenantId, request: SimilarRequest) -> Sequence[SimilarTrace]:
        """The most similar first, by id where they are equally similar; without the trace itself.

        What the index says is looked up in the store, so that deleted and expired traces are never answered, and a
        trace's status is as of now.
        """
        question = _question(tenant, request, self._clock_ns())
        await self._catch_up()
        vectors = await self._loaded.find_whole(
            tenant, question.key, lambda: self._indexer.embedded(tenant, question.key)
        )
        if vectors is None:
            raise TraceNotFoundError(request.trace_id)
        looked_up = question.limit + SIMILAR_SPARE
        while True:
            near = await self._near(question, vectors, looked_up)
            found = await self._current(question, near)
            if len(found) >= question.limit or len(near) < looked_up or looked_up >= SIMILAR_LOOKED_UP_MAX:
                return found[: question.limit]
            looked_up = min(2 * looked_up, SIMILAR_LOOKED_UP_MAX)

    async def _near(
        self, question: _Question, vectors: Sequence[tuple[str, Vector]], limit: int
    ) -> Sequence[Neighbour]:
        """Of each embedder, for a trace has one point only: while traces are embedded anew, some have the former's."""
        # What was running when it was indexed may have ended without a word, by being quiet.
        statuses = (question.status, TraceStatus.RUNNING) if question.status else ()
        near: list[Neighbour] = []
        for embedder, vector in vectors:
            where = VectorConditions(question.tenant, embedder, statuses, question.time_range)
            near += await self._index.nearest(vector, where, limit=limit)
        return sorted(near, key=lambda one: -one.similarity)[:limit]

    async def _current(self, question: _Question, near: Sequence[Neighbour]) -> list[SimilarTrace]:
        """Those that are stored and fit, as the store knows them."""
        similarities = {one.point.trace_id: one.similarity for one in near}
        traces: dict[OtelTraceId, Trace] = {}
        for first in range(0, len(near), WATCH_BATCH_MAX):
            ids = list(similarities)[first : first + WATCH_BATCH_MAX]
            traces |= {trace.otel_trace_id: trace for trace in await self._reader.traces_by_id(question.tenant, ids)}
        return _ranked(similarities, [trace for trace in traces.values() if question.fits(trace)])


def _ranked(similarities: Mapping[OtelTraceId, float], traces: Sequence[Trace]) -> list[SimilarTrace]:
    answers = [
        SimilarTrace(
            trace_id=trace.trace_id,
            similarity=round(min(1.0, max(0.0, similarities[trace.otel_trace_id])), _DIGITS),
            agent_id=trace.agent_id,
            operation=trace.operation,
            status=trace.status,
            start_ns=trace.start_ns,
        )
        for trace in traces
    ]
    return sorted(answers, key=lambda one: (-one.similarity, one.trace_id))


def _question(tenant: TenantId, request: SimilarRequest, now_ns: int) -> _Question:
    found = Violations()
    check_id(found, "trace_id", request.trace_id)
    if not 0 <= request.limit <= SIMILAR_LIMIT_MAX:
        found.add("limit", f"must be from 1 to {SIMILAR_LIMIT_MAX}, or 0 for {SIMILAR_LIMIT_DEFAULT}")
    check_choice(found, "status", request.status, STATUSES)
    time_range = analysis_range(found, request.period, _ANY_PERIOD, None, now_ns) if request.period else None
    found.raise_any()
    key = otel_trace_id(TraceId(request.trace_id))
    return _Question(tenant, key, request.limit or SIMILAR_LIMIT_DEFAULT, request.status, time_range)
