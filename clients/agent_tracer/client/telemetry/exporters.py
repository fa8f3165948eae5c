"""OTLP exporters for a target, with every OTEL_EXPORTER_OTLP_* variable left to the exporters themselves."""

import importlib
from typing import Any, Final

from agent_tracer.client._shared.environment import Signal, Target

__all__ = ["otlp_exporter"]

_CLASSES: Final = {
    ("traces", "http/protobuf"): ("http.trace_exporter", "OTLPSpanExporter"),
    ("traces", "grpc"): ("grpc.trace_exporter", "OTLPSpanExporter"),
    ("logs", "http/protobuf"): ("http._log_exporter", "OTLPLogExporter"),
    ("logs", "grpc"): ("grpc._log_exporter", "OTLPLogExporter"),
    ("metrics", "http/protobuf"): ("http.metric_exporter", "OTLPMetricExporter"),
    ("metrics", "grpc"): ("grpc.metric_exporter", "OTLPMetricExporter"),
}


def otlp_exporter(target: Target, signal: Signal) -> Any:  # noqa: ANN401 - one of six classes
    """The exporter of a signal to a target. Imported here, because gRPC takes half a second.

    Raises:
        ValueError, OSError, RuntimeError: What a variable says cannot be used.
    """
    module, name = _CLASSES[signal, target.transport]
    made = getattr(importlib.import_module(f"opentelemetry.exporter.otlp.proto.{module}"), name)
    if target.transport == "grpc":
        headers = tuple(target.headers.items()) or None
        return made(endpoint=target.url, insecure=target.insecure, headers=headers)
    return made(endpoint=target.signal_url(signal), headers=dict(target.headers))
