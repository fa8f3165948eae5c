"""Requests from what programs hold: dicts for structs, names for messages of one field."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from agent_tracer.betterproto.agent_tracer.v1 import BenchmarkTask, CreateBenchmarkRequest, CreateTraceRequest
from agent_tracer.betterproto.google.protobuf import Struct

__all__ = ["benchmark_request", "create_trace_request"]


def create_trace_request(  # noqa: PLR0913, PLR0917 - the message's fields
    trace_id: str = "",
    agent_id: str = "",
    operation: str = "",
    duration: float = 0.0,
    status: str = "",
    metadata: Mapping[str, Any] | Struct | None = None,
    start_time: datetime | None = None,
    workflow_id: str = "",
    session_id: str = "",
    task_type: str = "",
) -> CreateTraceRequest:
    """CreateTraceRequest, with metadata as a dict of what JSON holds."""
    if isinstance(metadata, Mapping):
        metadata = Struct.from_dict(dict(metadata))
    return CreateTraceRequest(
        trace_id, agent_id, operation, duration, status, metadata, start_time, workflow_id, session_id, task_type
    )


def benchmark_request(  # noqa: PLR0913 - the message's fields, and agents for two of them
    agent_id: str = "",
    tasks: Iterable[str | BenchmarkTask] = (),
    compare_against: Iterable[str] = (),
    period: str = "",
    end_time: datetime | None = None,
    *,
    agents: Iterable[str] = (),
) -> CreateBenchmarkRequest:
    """CreateBenchmarkRequest, with tasks by their types. `agents` are all who are compared, agent_id or not.

    Without an agent_id the benchmark is of the first of the agents.
    """
    everyone = list(dict.fromkeys([*([agent_id] if agent_id else []), *agents, *compare_against]))
    return CreateBenchmarkRequest(
        agent_id=everyone[0] if everyone else "",
        tasks=[BenchmarkTask(type=task) if isinstance(task, str) else task for task in tasks],
        compare_against=everyone[1:],
        period=period,
        end_time=end_time,
    )
