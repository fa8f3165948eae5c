"""agent_tracer.v1.TraceService: convert, call a service, convert."""
# Methods are named, and described, by the proto.
# ruff: noqa: D102, N802

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeAlias

from google.protobuf.empty_pb2 import Empty
from grpc.aio import ServicerContext

from agent_tracer.server.api import convert
from agent_tracer.server.domain.ids import DEFAULT_TENANT, TenantId
from agent_tracer.server.services.evaluations import Evaluations
from agent_tracer.server.services.trace_export import TraceExport
from agent_tracer.server.services.trace_statistics import TraceStatistics
from agent_tracer.server.services.trace_watch import TraceWatch
from agent_tracer.server.services.traces import Traces
from agent_tracer.v1 import trace_pb2 as pb
from agent_tracer.v1 import trace_pb2_grpc

Context: TypeAlias = ServicerContext[Any, Any]
TenantOf: TypeAlias = Callable[[Context], TenantId]


def default_tenant(_: Context) -> TenantId:
    """Everybody's tenant where no keys are in use."""
    return DEFAULT_TENANT


@dataclass(frozen=True, slots=True)
class TraceUseCases:
    """What the service calls."""

    traces: Traces
    statistics: TraceStatistics
    watch: TraceWatch
    export: TraceExport
    evaluations: Evaluations


class TraceServicer(trace_pb2_grpc.TraceServiceServicer):
    """Errors are raised as they come; the interceptor tells them."""

    def __init__(self, use: TraceUseCases, tenant_of: TenantOf = default_tenant) -> None:
        self._use = use
        self._tenant_of = tenant_of

    async def CreateTrace(self, request: pb.CreateTraceRequest, context: Context) -> pb.Trace:
        record = convert.record_from(request)
        return convert.trace_to(await self._use.traces.create(self._tenant_of(context), record))

    async def GetTrace(self, request: pb.GetTraceRequest, context: Context) -> pb.Trace:
        return convert.trace_to(await self._use.traces.get(self._tenant_of(context), request.trace_id))

    async def ListTraces(self, request: pb.ListTracesRequest, context: Context) -> pb.ListTracesResponse:
        conditions, page = convert.conditions_from(request), convert.page_from(request)
        return convert.traces_to(await self._use.traces.list(self._tenant_of(context), conditions, page))

    async def WatchTraces(self, request: pb.WatchTracesRequest, context: Context) -> AsyncIterator[pb.Trace]:
        tenant, conditions = self._tenant_of(context), convert.watch_from(request)
        with self._use.watch.watch(tenant, conditions) as watched:
            # A caller by REST sees nothing else, not even the status, before the first trace.
            await context.send_initial_metadata(())
            async with aclosing(watched):
                async for trace in watched:
                    yield convert.trace_to(trace)

    async def AggregateTraces(self, request: pb.AggregateTracesRequest, context: Context) -> pb.AggregateTracesResponse:
        conditions = convert.aggregate_from(request)
        return convert.aggregate_to(await self._use.statistics.aggregate(self._tenant_of(context), conditions))

    async def DeleteTrace(self, request: pb.DeleteTraceRequest, context: Context) -> Empty:
        await self._use.traces.delete(self._tenant_of(context), request.trace_id)
        return Empty()

    async def ExportTraces(
        self, request: pb.ExportTracesRequest, context: Context
    ) -> AsyncIterator[pb.ExportTracesResponse]:
        exported = self._use.export.export(self._tenant_of(context), convert.export_from(request))
        async with aclosing(exported):
            async for otlp in exported:
                yield pb.ExportTracesResponse(otlp=otlp)

    async def ListSpans(self, request: pb.ListSpansRequest, context: Context) -> pb.ListSpansResponse:
        tenant, page = self._tenant_of(context), convert.page_from(request)
        return convert.spans_to(await self._use.traces.spans(tenant, request.trace_id, page))

    async def ListAgents(self, request: pb.ListAgentsRequest, context: Context) -> pb.ListAgentsResponse:
        tenant, page = self._tenant_of(context), convert.page_from(request)
        return convert.agents_to(await self._use.statistics.agents(tenant, request.period, page))

    async def CreateEvaluation(self, request: pb.CreateEvaluationRequest, context: Context) -> pb.Evaluation:
        tenant, draft = self._tenant_of(context), convert.draft_from(request.evaluation)
        return convert.evaluation_to(await self._use.evaluations.create(tenant, request.trace_id, draft))
