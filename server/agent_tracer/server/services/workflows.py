"""Use cases: what would make a workflow faster, and what a trace's duration is made of."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from agent_tracer.server.domain.atlas.critical_path import CriticalPath, critical_path
from agent_tracer.server.domain.atlas.optimization import optimize
from agent_tracer.server.domain.atlas.workflow import WorkflowAnalysis, WorkSpan
from agent_tracer.server.domain.checks import check_id
from agent_tracer.server.domain.conditions import analysis_range
from agent_tracer.server.domain.errors import TooLargeError, TraceNotFoundError, Violations, WorkflowNotFoundError
from agent_tracer.server.domain.ids import OtelTraceId, TenantId, TraceId, otel_trace_id
from agent_tracer.server.domain.telemetry import TimeRange
from agent_tracer.server.limits import CRITICAL_PATH_SPANS_MAX
from agent_tracer.server.ports.work import WorkReader
from agent_tracer.server.services.loaded_reads import LoadedReads
from agent_tracer.server.services.settled_reads import CatchUp

PERIOD_DEFAULT: Final = "7d"
_LEFT_OUT: Final = "{} earlier traces of the period are not among the {} that were replayed"
_NONE: Final = "the workflow is known, but no finished trace of it began in the period"


@dataclass(frozen=True, slots=True)
class OptimizationRequest:
    """As the caller wrote it."""

    workflow_id: str
    period: str = ""
    end_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Optimization:
    """The analysis with the period that it is of."""

    period: str
    analysis: WorkflowAnalysis


class Workflows:
    """Raises InvalidFieldsError, WorkflowNotFoundError, TraceNotFoundError, TooLargeError, and what the ports raise."""

    def __init__(
        self,
        *,
        reader: WorkReader,
        loaded: LoadedReads,
        catch_up: CatchUp,
        clock_ns: Callable[[], int],
    ) -> None:
        self._reader = reader
        self._loaded = loaded
        self._catch_up = catch_up
        self._clock_ns = clock_ns

    async def optimize(self, tenant: TenantId, request: OptimizationRequest) -> Optimization:
        """Suggestions, each replayed on the workflow's recorded traces."""
        time_range = _range(request, self._clock_ns())
        behind = await self._catch_up()
        found = await self._reader.workflow_work(tenant, request.workflow_id, time_range)
        period = request.period or PERIOD_DEFAULT
        if not found.traces:
            if not await self._reader.is_workflow(tenant, request.workflow_id):
                raise WorkflowNotFoundError(request.workflow_id)
            return Optimization(period, WorkflowAnalysis((), 0.0, (), (), 0, 0.0, (_NONE, *behind)))
        analysis = await asyncio.to_thread(optimize, found.traces)
        left_out = (_LEFT_OUT.format(found.left_out, len(found.traces)),) if found.left_out else ()
        return Optimization(period, replace(analysis, caveats=(*analysis.caveats, *left_out, *behind)))

    async def critical_path(self, tenant: TenantId, trace_id: str) -> CriticalPath[WorkSpan]:
        """The spans that the trace's duration is made of."""
        violations = Violations()
        check_id(violations, "trace_id", trace_id)
        violations.raise_any()
        key = otel_trace_id(TraceId(trace_id))
        most = CRITICAL_PATH_SPANS_MAX
        spans = await self._loaded.find_whole(tenant, key, lambda: self._spans(tenant, key, most + 1))
        if spans is None:
            raise TraceNotFoundError(trace_id)
        if len(spans) > most:
            raise TooLargeError(f"the trace has over {most} spans: its critical path is not looked for")
        return await asyncio.to_thread(critical_path, spans)

    async def _spans(self, tenant: TenantId, key: OtelTraceId, limit: int) -> list[WorkSpan] | None:
        return list(await self._reader.trace_work(tenant, key, limit=limit)) or None


def _range(request: OptimizationRequest, now_ns: int) -> TimeRange:
    found = Violations()
    check_id(found, "workflow_id", request.workflow_id)
    time_range = analysis_range(found, request.period, PERIOD_DEFAULT, request.end_ns, now_ns)
    found.raise_any()
    return time_range
