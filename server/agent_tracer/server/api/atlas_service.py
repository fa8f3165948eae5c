"""agent_tracer.v1.AtlasService: convert, call a service, convert."""
# Methods are named, and described, by the proto.
# ruff: noqa: D102, N802

from dataclasses import dataclass

from agent_tracer.server.api import atlas_convert as convert
from agent_tracer.server.api.trace_service import Context, TenantOf, default_tenant
from agent_tracer.server.services.learning import LearningAnalytics
from agent_tracer.server.services.similar_traces import SimilarTraces
from agent_tracer.server.services.workflows import Workflows
from agent_tracer.v1 import atlas_pb2 as pb
from agent_tracer.v1 import atlas_pb2_grpc


@dataclass(frozen=True, slots=True)
class AtlasUseCases:
    """What the service calls."""

    learning: LearningAnalytics
    workflows: Workflows
    similar: SimilarTraces


class AtlasServicer(atlas_pb2_grpc.AtlasServiceServicer):
    """Errors are raised as they come; the interceptor tells them."""

    def __init__(self, use: AtlasUseCases, tenant_of: TenantOf = default_tenant) -> None:
        self._use = use
        self._tenant_of = tenant_of

    async def AnalyzeLearning(self, request: pb.AnalyzeLearningRequest, context: Context) -> pb.LearningAnalysis:
        tenant, asked = self._tenant_of(context), convert.learning_from(request)
        return convert.learning_to(request.agent_id, await self._use.learning.analyze(tenant, asked))

    async def OptimizeWorkflow(self, request: pb.OptimizeWorkflowRequest, context: Context) -> pb.WorkflowOptimization:
        tenant, asked = self._tenant_of(context), convert.optimization_from(request)
        return convert.optimization_to(request.workflow_id, await self._use.workflows.optimize(tenant, asked))

    async def GetCriticalPath(self, request: pb.GetCriticalPathRequest, context: Context) -> pb.CriticalPath:
        found = await self._use.workflows.critical_path(self._tenant_of(context), request.trace_id)
        return convert.critical_path_to(request.trace_id, found)

    async def FindSimilarTraces(
        self, request: pb.FindSimilarTracesRequest, context: Context
    ) -> pb.FindSimilarTracesResponse:
        tenant, asked = self._tenant_of(context), convert.similar_from(request)
        return convert.similar_to(await self._use.similar.find(tenant, asked))
