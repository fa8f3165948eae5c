"""agent_tracer.v1.AceService: convert, call a service, convert."""
# Methods are named, and described, by the proto.
# ruff: noqa: D102, N802

from dataclasses import dataclass

from agent_tracer.server.api import ace_convert as convert
from agent_tracer.server.api.trace_service import Context, TenantOf, default_tenant
from agent_tracer.server.services.agent_scores import AgentScores
from agent_tracer.server.services.benchmarks import Benchmarks
from agent_tracer.server.services.version_comparisons import VersionComparisons
from agent_tracer.v1 import ace_pb2 as pb
from agent_tracer.v1 import ace_pb2_grpc


@dataclass(frozen=True, slots=True)
class AceUseCases:
    """What the service calls."""

    scores: AgentScores
    benchmarks: Benchmarks
    comparisons: VersionComparisons


class AceServicer(ace_pb2_grpc.AceServiceServicer):
    """Errors are raised as they come; the interceptor tells them."""

    def __init__(self, use: AceUseCases, tenant_of: TenantOf = default_tenant) -> None:
        self._use = use
        self._tenant_of = tenant_of

    async def ScoreAgent(self, request: pb.ScoreAgentRequest, context: Context) -> pb.AgentScore:
        return convert.score_to(await self._use.scores.score(self._tenant_of(context), convert.score_from(request)))

    async def ListScores(self, request: pb.ListScoresRequest, context: Context) -> pb.ListScoresResponse:
        tenant, page = self._tenant_of(context), convert.page_from(request)
        return convert.scores_to(await self._use.scores.list(tenant, request.agent_id, page))

    async def CreateBenchmark(self, request: pb.CreateBenchmarkRequest, context: Context) -> pb.Benchmark:
        tenant, asked = self._tenant_of(context), convert.benchmark_from(request)
        return convert.benchmark_to(await self._use.benchmarks.create(tenant, asked))

    async def GetBenchmark(self, request: pb.GetBenchmarkRequest, context: Context) -> pb.Benchmark:
        return convert.benchmark_to(await self._use.benchmarks.get(self._tenant_of(context), request.benchmark_id))

    async def ListBenchmarks(self, request: pb.ListBenchmarksRequest, context: Context) -> pb.ListBenchmarksResponse:
        tenant, page = self._tenant_of(context), convert.page_from(request)
        return convert.benchmarks_to(await self._use.benchmarks.list(tenant, request.agent_id, page))

    async def CompareVersions(self, request: pb.CompareVersionsRequest, context: Context) -> pb.VersionComparison:
        tenant, asked = self._tenant_of(context), convert.comparison_from(request)
        return convert.comparison_to(request, await self._use.comparisons.compare(tenant, asked))
