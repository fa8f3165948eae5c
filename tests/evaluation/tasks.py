"""Tasks of agents, and the OTLP spans that tell of them."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from agent_tracer.server.domain.task_sums import Moments, TaskSums
from tests.e2e.otlp import Scalar, attribute

MS_NS: Final = 1_000_000
MINUTE_NS: Final = 60_000 * MS_NS
DAY_NS: Final = 86_400_000 * MS_NS
BASE_NS: Final = 1_704_067_200_000 * MS_NS
"""Monday, 2024-01-01: when what has no times of its own is said to have begun."""

_traces: Final = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Task:
    """One task. `cost` in US dollars; None where no call of a model is told of."""

    agent_id: str
    task_type: str
    start_ns: int
    is_success: bool
    duration_ms: float = 1_000.0
    cost: float | None = None
    task_id: str = ""
    version: str = ""
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def end_ns(self) -> int:
        return self.start_ns + round(self.duration_ms * MS_NS)

    def as_sums(self) -> TaskSums:
        """The task as a bucket by itself, for methods that are looked at without the product."""
        return TaskSums(
            self.task_type,
            self.start_ns,
            1,
            int(self.is_success),
            durations_ms=Moments.of([self.duration_ms]),
            costs=Moments.of([] if self.cost is None else [self.cost]),
        )


def new_trace_id() -> bytes:
    """One that this process has not given before."""
    return next(_traces).to_bytes(16, "big")


def one_span(task: Task) -> list[Span]:
    """A trace of one span, which is the task, and the call of a model too where the task has a cost."""
    return [_span(new_trace_id(), 1, task, {**_of_task(task), **(_of_call(task) if task.cost is not None else {})})]


def task_and_call(task: Task) -> list[Span]:
    """A trace of two spans: the task, and within it all of its calls of the model as one."""
    trace_id = new_trace_id()
    call = _span(trace_id, 2, task, _of_call(task))
    call.parent_span_id = _span_id(1)
    call.name = f"chat {task.model}"
    call.ClearField("status")
    return [_span(trace_id, 1, task, {"gen_ai.operation.name": "invoke_agent", **_of_task(task)}), call]


def spans_of(tasks: Iterable[Task]) -> Iterator[Span]:
    """Each task as one span."""
    return (span for task in tasks for span in one_span(task))


def _span(trace_id: bytes, number: int, task: Task, attributes: dict[str, Scalar]) -> Span:
    return Span(
        trace_id=trace_id,
        span_id=_span_id(number),
        name=task.task_type or "task",
        start_time_unix_nano=task.start_ns,
        end_time_unix_nano=task.end_ns,
        attributes=[attribute(key, value) for key, value in attributes.items()],
        status=Status(code=Status.STATUS_CODE_OK if task.is_success else Status.STATUS_CODE_ERROR),
    )


def _span_id(number: int) -> bytes:
    return number.to_bytes(8, "big")


def _of_task(task: Task) -> dict[str, Scalar]:
    named = {
        "gen_ai.agent.id": task.agent_id,
        "task.type": task.task_type,
        "task.id": task.task_id,
        "gen_ai.agent.version": task.version,
    }
    return {key: value for key, value in named.items() if value}


def _of_call(task: Task) -> dict[str, Scalar]:
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": task.model or "model",
        "gen_ai.usage.input_tokens": task.input_tokens or 1,
        "gen_ai.usage.output_tokens": task.output_tokens or 1,
        "gen_ai.usage.cost": task.cost or 0.0,
    }
