"""Recorded runs as OTLP: a span a step under one that stands for the run, as an agent's instrumentation sends them."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Final

from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from agent_tracer.server.domain.failures.steps import Step
from tests.e2e.otlp import attribute

SECOND_NS: Final = 1_000_000_000
STEP_NS: Final = 2 * SECOND_NS
_PAUSE_NS: Final = SECOND_NS // 10


def trace_key(name: str) -> bytes:
    """A trace id of its own for each name."""
    return hashlib.blake2b(name.encode(), digest_size=16).digest()


def span_key(name: str, index: int) -> bytes:
    """The id of the span of a step."""
    return hashlib.blake2b(f"{name}/{index}".encode(), digest_size=8).digest()


def run_spans(name: str, steps: Sequence[Step], start_ns: int, *, failed: bool = True) -> Iterator[Span]:
    """The run's root, then its steps two seconds apart."""
    root = span_key(name, -1)
    status = Status(code=Status.STATUS_CODE_ERROR if failed else Status.STATUS_CODE_OK)
    yield Span(
        trace_id=trace_key(name),
        span_id=root,
        name="run",
        start_time_unix_nano=start_ns,
        end_time_unix_nano=start_ns + (len(steps) + 1) * STEP_NS,
        status=status,
        attributes=[attribute("gen_ai.operation.name", "invoke_workflow")],
    )
    for at, step in enumerate(steps):
        begun_ns = start_ns + at * STEP_NS + _PAUSE_NS
        span = Span(
            trace_id=trace_key(name),
            span_id=span_key(name, at),
            parent_span_id=root,
            name=step.name,
            start_time_unix_nano=begun_ns,
            end_time_unix_nano=begun_ns + STEP_NS - 2 * _PAUSE_NS,
            attributes=[attribute(key, value) for key, value in _attributes(step).items() if value],
        )
        if step.failed:
            span.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR, message=step.message))
        yield span


def _attributes(step: Step) -> dict[str, str]:
    """Messages in the GenAI conventions, tools' calls with arguments and result, a person's turns as plain text."""
    if step.kind == "tool":
        return {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": step.tool_name,
            "gen_ai.tool.call.arguments": step.input,
            "gen_ai.tool.call.result": step.output,
            "error.type": step.error_type,
        }
    if step.kind == "user":
        return {"gen_ai.agent.name": step.name, "input.value": step.output}
    operation = "chat" if step.kind == "llm" else "invoke_agent"
    said = [{"role": "assistant", "parts": [{"type": "text", "content": step.output}]}]
    return {
        "gen_ai.operation.name": operation,
        "gen_ai.agent.name": step.agent_id,
        "gen_ai.output.messages": json.dumps(said),
        "error.type": step.error_type,
    }
