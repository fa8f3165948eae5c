"""What an agent's own process does to be seen: OpenTelemetry set up, spans of agents, tasks and tools, exporters.

Names are loaded when they are first used, so that importing this package costs next to nothing.
"""

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from agent_tracer.client.telemetry.decorators import agent, task, tool, workflow
    from agent_tracer.client.telemetry.instrumentation import Instrumentation, instrument
    from agent_tracer.client.telemetry.otlp import OTLPExporter
    from agent_tracer.client.telemetry.phoenix import LLMCall, PhoenixTracer, Quality
    from agent_tracer.client.telemetry.prometheus import PrometheusExporter
    from agent_tracer.client.telemetry.scopes import Scope

__all__ = [
    "Instrumentation",
    "LLMCall",
    "OTLPExporter",
    "PhoenixTracer",
    "PrometheusExporter",
    "Quality",
    "Scope",
    "agent",
    "instrument",
    "task",
    "tool",
    "workflow",
]

_HOMES: Final = {
    "Instrumentation": "instrumentation",
    "LLMCall": "phoenix",
    "OTLPExporter": "otlp",
    "PhoenixTracer": "phoenix",
    "PrometheusExporter": "prometheus",
    "Quality": "phoenix",
    "Scope": "scopes",
    "agent": "decorators",
    "instrument": "instrumentation",
    "task": "decorators",
    "tool": "decorators",
    "workflow": "decorators",
}


def __getattr__(name: str) -> object:
    """Load a public name's module (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
