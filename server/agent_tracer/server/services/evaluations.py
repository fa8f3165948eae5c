"""Use case: attach a judgement to a trace or one of its spans."""

from collections.abc import Callable

from agent_tracer.server.domain.errors import SpanNotFoundError, TraceNotFoundError
from agent_tracer.server.domain.evaluations import EvaluationDraft, checked_evaluation
from agent_tracer.server.domain.ids import OtelTraceId, SpanId, TenantId, TraceId, otel_trace_id
from agent_tracer.server.domain.telemetry import Evaluation
from agent_tracer.server.ports.store import EvaluationStore, TraceReader
from agent_tracer.server.services.loaded_reads import LoadedReads


class Evaluations:
    """Judgements of what is stored, or durable and about to be."""

    def __init__(
        self,
        *,
        reader: TraceReader,
        store: EvaluationStore,
        loaded: LoadedReads,
        clock_ns: Callable[[], int],
        new_id: Callable[[], str],
    ) -> None:
        self._reader = reader
        self._store = store
        self._loaded = loaded
        self._clock_ns = clock_ns
        self._new_id = new_id

    async def create(self, tenant: TenantId, trace_id: str, draft: EvaluationDraft) -> Evaluation:
        """Keep it, durably. Raises InvalidFieldsError, TraceNotFoundError, SpanNotFoundError."""
        evaluation = checked_evaluation(TraceId(trace_id), draft, self._new_id(), self._clock_ns())
        key = otel_trace_id(evaluation.trace_id)
        if await self._loaded.find(lambda: self._reader.trace(tenant, key)) is None:
            raise TraceNotFoundError(trace_id)
        span_id = evaluation.span_id
        if span_id is not None and not await self._loaded.find(lambda: self._has_span(tenant, key, span_id)):
            raise SpanNotFoundError(span_id.hex())
        if not await self._store.add_evaluation(tenant, key, evaluation):  # It was deleted meanwhile.
            raise TraceNotFoundError(trace_id)
        return evaluation

    async def _has_span(self, tenant: TenantId, key: OtelTraceId, span_id: SpanId) -> bool | None:
        return await self._store.has_span(tenant, key, span_id) or None
