"""The server's API from Python: AgentTracer, the analyses as clients of their own, and what calls raise."""

from agent_tracer.client.api.analysis import ACE, ATLAS, CorrelationEngine
from agent_tracer.client.api.endpoint import DEFAULT_ENDPOINT
from agent_tracer.client.api.errors import (
    AgentTracerError,
    CallCancelledError,
    ConflictError,
    DeadlineError,
    FieldViolation,
    InternalError,
    InvalidArgumentError,
    KeyInvalidError,
    NoDataError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    TooLargeError,
    UnavailableError,
    UnimplementedError,
)
from agent_tracer.client.api.tracer import AgentTracer, SyncAgentTracer

__all__ = [
    "ACE",
    "ATLAS",
    "DEFAULT_ENDPOINT",
    "AgentTracer",
    "AgentTracerError",
    "CallCancelledError",
    "ConflictError",
    "CorrelationEngine",
    "DeadlineError",
    "FieldViolation",
    "InternalError",
    "InvalidArgumentError",
    "KeyInvalidError",
    "NoDataError",
    "NotFoundError",
    "OverloadedError",
    "PermissionDeniedError",
    "SyncAgentTracer",
    "TooLargeError",
    "UnavailableError",
    "UnimplementedError",
]
