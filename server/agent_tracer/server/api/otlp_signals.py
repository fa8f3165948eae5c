"""OTLP's three services: what they are called over gRPC and HTTP, and how they answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces

from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.services.ingest import ExportOutcome

Response: TypeAlias = (
    traces.ExportTraceServiceResponse | logs.ExportLogsServiceResponse | metrics.ExportMetricsServiceResponse
)


@dataclass(frozen=True, slots=True)
class OtlpService:
    """One of the services. `rejected_field` counts what a partial success left out."""

    grpc_name: str
    http_path: str
    response_type: type[Response]
    rejected_field: str


OTLP_SERVICES: Final[Mapping[Signal, OtlpService]] = {
    Signal.TRACES: OtlpService(
        "opentelemetry.proto.collector.trace.v1.TraceService",
        "/v1/traces",
        traces.ExportTraceServiceResponse,
        "rejected_spans",
    ),
    Signal.LOGS: OtlpService(
        "opentelemetry.proto.collector.logs.v1.LogsService",
        "/v1/logs",
        logs.ExportLogsServiceResponse,
        "rejected_log_records",
    ),
    Signal.METRICS: OtlpService(
        "opentelemetry.proto.collector.metrics.v1.MetricsService",
        "/v1/metrics",
        metrics.ExportMetricsServiceResponse,
        "rejected_data_points",
    ),
}


def export_response(signal: Signal, outcome: ExportOutcome) -> Response:
    """Empty where all was kept as sent, else a partial success; 0 rejected in it is a warning (OTLP spec)."""
    service = OTLP_SERVICES[signal]
    response = service.response_type()
    if outcome.message:
        response.partial_success.error_message = outcome.message
        setattr(response.partial_success, service.rejected_field, outcome.rejected)
    return response
