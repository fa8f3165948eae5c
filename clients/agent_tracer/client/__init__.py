"""Agent Tracer for the programs that it looks after: the server's API, and telemetry to it.

    from agent_tracer.client import AgentTracer, instrument

    async with AgentTracer("127.0.0.1:50051") as tracer:
        trace = await tracer.traces.get_trace("my-first-trace")

Every name here is loaded when it is first asked for, so that a program pays for what it uses.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from agent_tracer.client.api import ACE as ACE
    from agent_tracer.client.api import ATLAS as ATLAS
    from agent_tracer.client.api import DEFAULT_ENDPOINT as DEFAULT_ENDPOINT
    from agent_tracer.client.api import AgentTracer as AgentTracer
    from agent_tracer.client.api import AgentTracerError as AgentTracerError
    from agent_tracer.client.api import CallCancelledError as CallCancelledError
    from agent_tracer.client.api import ConflictError as ConflictError
    from agent_tracer.client.api import CorrelationEngine as CorrelationEngine
    from agent_tracer.client.api import DeadlineError as DeadlineError
    from agent_tracer.client.api import FieldViolation as FieldViolation
    from agent_tracer.client.api import InternalError as InternalError
    from agent_tracer.client.api import InvalidArgumentError as InvalidArgumentError
    from agent_tracer.client.api import KeyInvalidError as KeyInvalidError
    from agent_tracer.client.api import NoDataError as NoDataError
    from agent_tracer.client.api import NotFoundError as NotFoundError
    from agent_tracer.client.api import OverloadedError as OverloadedError
    from agent_tracer.client.api import PermissionDeniedError as PermissionDeniedError
    from agent_tracer.client.api import SyncAgentTracer as SyncAgentTracer
    from agent_tracer.client.api import TooLargeError as TooLargeError
    from agent_tracer.client.api import UnavailableError as UnavailableError
    from agent_tracer.client.api import UnimplementedError as UnimplementedError
    from agent_tracer.client.telemetry import OTLPExporter as OTLPExporter
    from agent_tracer.client.telemetry import PhoenixTracer as PhoenixTracer
    from agent_tracer.client.telemetry import PrometheusExporter as PrometheusExporter
    from agent_tracer.client.telemetry import agent as agent
    from agent_tracer.client.telemetry import instrument as instrument
    from agent_tracer.client.telemetry import task as task
    from agent_tracer.client.telemetry import tool as tool
    from agent_tracer.client.telemetry import workflow as workflow

_API: Final = "agent_tracer.client.api"
_TELEMETRY: Final = "agent_tracer.client.telemetry"

_HOMES: Final = {
    "ACE": _API,
    "ATLAS": _API,
    "AgentTracer": _API,
    "AgentTracerError": _API,
    "CallCancelledError": _API,
    "ConflictError": _API,
    "CorrelationEngine": _API,
    "DEFAULT_ENDPOINT": _API,
    "DeadlineError": _API,
    "FieldViolation": _API,
    "InternalError": _API,
    "InvalidArgumentError": _API,
    "KeyInvalidError": _API,
    "NoDataError": _API,
    "NotFoundError": _API,
    "OTLPExporter": _TELEMETRY,
    "OverloadedError": _API,
    "PermissionDeniedError": _API,
    "PhoenixTracer": _TELEMETRY,
    "PrometheusExporter": _TELEMETRY,
    "SyncAgentTracer": _API,
    "TooLargeError": _API,
    "UnavailableError": _API,
    "UnimplementedError": _API,
    "agent": _TELEMETRY,
    "instrument": _TELEMETRY,
    "task": _TELEMETRY,
    "tool": _TELEMETRY,
    "workflow": _TELEMETRY,
}
"""Where each public name is defined."""

__all__ = sorted(_HOMES)  # noqa: PLE0605 - the table is the list


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
