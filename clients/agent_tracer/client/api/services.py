"""The server's services: every method of the protos, in snake_case, with what may be asked twice."""

from agent_tracer.betterproto.agent_tracer.v1 import (
    AceServiceStub,
    AggregateTracesRequest,
    AnalyzeLearningRequest,
    AnalyzeRootCauseRequest,
    AtlasServiceStub,
    AttributeFailureRequest,
    CompareVersionsRequest,
    CorrelationServiceStub,
    CreateEvaluationRequest,
    CreateIncidentRequest,
    DeleteTraceRequest,
    ExportTracesRequest,
    FindCorrelationsRequest,
    FindSimilarTracesRequest,
    GetBenchmarkRequest,
    GetCriticalPathRequest,
    GetIncidentRequest,
    GetServiceGraphRequest,
    GetTraceRequest,
    ListAgentsRequest,
    ListBenchmarksRequest,
    ListFailureGroupsRequest,
    ListIncidentsRequest,
    ListScoresRequest,
    ListSpansRequest,
    ListTracesRequest,
    OptimizeWorkflowRequest,
    ReceiveAlertsRequest,
    ScoreAgentRequest,
    TraceServiceStub,
    WatchTracesRequest,
)
from agent_tracer.client.api.calls import Mode, Service, Stream, Unary
from agent_tracer.client.api.requests import benchmark_request, create_trace_request

__all__ = ["AceService", "AtlasService", "CorrelationService", "TraceService"]


class TraceService(Service[Mode]):
    """Traces, spans, agents and evaluations (trace.proto)."""

    stub = TraceServiceStub

    # The same record again is no new one.
    create_trace = Unary(create_trace_request, TraceServiceStub.create_trace)
    get_trace = Unary(GetTraceRequest, TraceServiceStub.get_trace)
    list_traces = Unary(ListTracesRequest, TraceServiceStub.list_traces)
    watch_traces = Stream(WatchTracesRequest, TraceServiceStub.watch_traces)
    aggregate_traces = Unary(AggregateTracesRequest, TraceServiceStub.aggregate_traces)
    # What the first attempt deleted, the second does not find.
    delete_trace = Unary(DeleteTraceRequest, TraceServiceStub.delete_trace, repeatable=False)
    export_traces = Stream(ExportTracesRequest, TraceServiceStub.export_traces)
    list_spans = Unary(ListSpansRequest, TraceServiceStub.list_spans)
    list_agents = Unary(ListAgentsRequest, TraceServiceStub.list_agents)
    create_evaluation = Unary(CreateEvaluationRequest, TraceServiceStub.create_evaluation, repeatable=False)


class AceService(Service[Mode]):
    """How well agents perform (ace.proto)."""

    stub = AceServiceStub

    # Scores and benchmarks are kept, so that twice is one too many.
    score_agent = Unary(ScoreAgentRequest, AceServiceStub.score_agent, repeatable=False)
    list_scores = Unary(ListScoresRequest, AceServiceStub.list_scores)
    create_benchmark = Unary(benchmark_request, AceServiceStub.create_benchmark, repeatable=False)
    get_benchmark = Unary(GetBenchmarkRequest, AceServiceStub.get_benchmark)
    list_benchmarks = Unary(ListBenchmarksRequest, AceServiceStub.list_benchmarks)
    compare_versions = Unary(CompareVersionsRequest, AceServiceStub.compare_versions)


class AtlasService(Service[Mode]):
    """How agents and workflows change (atlas.proto)."""

    stub = AtlasServiceStub

    analyze_learning = Unary(AnalyzeLearningRequest, AtlasServiceStub.analyze_learning)
    optimize_workflow = Unary(OptimizeWorkflowRequest, AtlasServiceStub.optimize_workflow)
    get_critical_path = Unary(GetCriticalPathRequest, AtlasServiceStub.get_critical_path)
    find_similar_traces = Unary(FindSimilarTracesRequest, AtlasServiceStub.find_similar_traces)


class CorrelationService(Service[Mode]):
    """What belongs together and what caused it (correlation.proto)."""

    stub = CorrelationServiceStub

    find_correlations = Unary(FindCorrelationsRequest, CorrelationServiceStub.find_correlations)
    analyze_root_cause = Unary(AnalyzeRootCauseRequest, CorrelationServiceStub.analyze_root_cause)
    attribute_failure = Unary(AttributeFailureRequest, CorrelationServiceStub.attribute_failure)
    list_failure_groups = Unary(ListFailureGroupsRequest, CorrelationServiceStub.list_failure_groups)
    # Without an id of its own, every call makes another incident.
    create_incident = Unary(CreateIncidentRequest, CorrelationServiceStub.create_incident, repeatable=False)
    # A group of alerts is one incident, however often it is told.
    receive_alerts = Unary(ReceiveAlertsRequest, CorrelationServiceStub.receive_alerts)
    get_incident = Unary(GetIncidentRequest, CorrelationServiceStub.get_incident)
    list_incidents = Unary(ListIncidentsRequest, CorrelationServiceStub.list_incidents)
    get_service_graph = Unary(GetServiceGraphRequest, CorrelationServiceStub.get_service_graph)
