"""agent_tracer.v1.CorrelationService: convert, call a service, convert."""
# Methods are named, and described, by the proto.
# ruff: noqa: D102, N802

from dataclasses import dataclass

from agent_tracer.server.api import correlations_convert, failure_convert, graph_convert, incident_convert, rca_convert
from agent_tracer.server.api.trace_service import Context, TenantOf, default_tenant
from agent_tracer.server.services.correlations import Correlations
from agent_tracer.server.services.failures import Failures
from agent_tracer.server.services.incidents import Incidents
from agent_tracer.server.services.root_causes import RootCauses
from agent_tracer.server.services.service_graphs import ServiceGraphs
from agent_tracer.v1 import correlation_pb2 as pb
from agent_tracer.v1 import correlation_pb2_grpc


@dataclass(frozen=True, slots=True)
class CorrelationUseCases:
    """What the service calls."""

    correlations: Correlations
    root_causes: RootCauses
    failures: Failures
    incidents: Incidents
    graphs: ServiceGraphs


class CorrelationServicer(correlation_pb2_grpc.CorrelationServiceServicer):
    """Errors are raised as they come; the interceptor tells them."""

    def __init__(self, use: CorrelationUseCases, tenant_of: TenantOf = default_tenant) -> None:
        self._use = use
        self._tenant_of = tenant_of

    async def FindCorrelations(self, request: pb.FindCorrelationsRequest, context: Context) -> pb.Correlations:
        tenant, asked = self._tenant_of(context), correlations_convert.correlations_from(request)
        return correlations_convert.correlations_to(await self._use.correlations.find(tenant, asked))

    async def AnalyzeRootCause(self, request: pb.AnalyzeRootCauseRequest, context: Context) -> pb.RootCauseAnalysis:
        tenant, asked = self._tenant_of(context), rca_convert.root_cause_from(request)
        return rca_convert.root_cause_to(request.incident_id, await self._use.root_causes.analyze(tenant, asked))

    async def AttributeFailure(self, request: pb.AttributeFailureRequest, context: Context) -> pb.FailureAttribution:
        found = await self._use.failures.attribute(self._tenant_of(context), request.trace_id)
        return failure_convert.attribution_to(request.trace_id, found)

    async def ListFailureGroups(
        self, request: pb.ListFailureGroupsRequest, context: Context
    ) -> pb.ListFailureGroupsResponse:
        asked, page = failure_convert.groups_from(request)
        return failure_convert.groups_to(await self._use.failures.groups(self._tenant_of(context), asked, page))

    async def CreateIncident(self, request: pb.CreateIncidentRequest, context: Context) -> pb.Incident:
        tenant, draft = self._tenant_of(context), incident_convert.draft_from(request)
        return incident_convert.incident_to(await self._use.incidents.create(tenant, draft))

    async def ReceiveAlerts(self, request: pb.ReceiveAlertsRequest, context: Context) -> pb.ReceiveAlertsResponse:
        tenant, alerts = self._tenant_of(context), incident_convert.alerts_from(request)
        return incident_convert.received_to(await self._use.incidents.receive(tenant, alerts))

    async def GetIncident(self, request: pb.GetIncidentRequest, context: Context) -> pb.Incident:
        found = await self._use.incidents.get(self._tenant_of(context), request.incident_id)
        return incident_convert.incident_to(found)

    async def ListIncidents(self, request: pb.ListIncidentsRequest, context: Context) -> pb.ListIncidentsResponse:
        tenant, asked = self._tenant_of(context), incident_convert.incidents_from(request)
        return incident_convert.incidents_to(await self._use.incidents.list(tenant, asked))

    async def GetServiceGraph(self, request: pb.GetServiceGraphRequest, context: Context) -> pb.ServiceGraph:
        return graph_convert.service_graph_to(await self._use.graphs.graph(self._tenant_of(context), request.period))
