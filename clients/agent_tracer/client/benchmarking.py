"""Runs agents on tasks, records every run as a task span, and asks the server for their ranking.

from agent_tracer.client import AgentTracer
from agent_tracer.client.benchmarking import Task, run_benchmark

tasks = [Task("capital", "France", check=lambda answer: answer == "Paris")]
async with AgentTracer() as tracer:
    ranking = await run_benchmark(tracer, {"small": ask_small, "large": ask_large}, tasks, repeats=4)
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, Status, StatusCode, Tracer

from agent_tracer.betterproto.agent_tracer.v1 import Benchmark
from agent_tracer.client.api.connection import Settings
from agent_tracer.client.api.tracer import AgentTracer

__all__ = ["Agent", "Task", "TasksNotSentError", "run_benchmark"]

Agent = Callable[[Any], Any | Awaitable[Any]]
"""What is asked: takes a task's input and gives a result, or a coroutine of one. An exception is a failed task."""

_OTLP: Final = "opentelemetry.proto.collector.trace.v1.TraceService"
_FLUSH_MS: Final = 30_000
_QUEUE_SPANS: Final = 4096


@dataclass(frozen=True, slots=True)
class Task:
    """One task. It succeeds where `check` says so of the agent's result; without a check, wherever nothing is raised.

    `task_id` tells tries of the same task apart from other tasks; the input's text where it is empty.
    """

    type: str
    input: Any
    check: Callable[[Any], bool] | None = None
    task_id: str = ""


class TasksNotSentError(Exception):
    """The runs are done, but the server did not take their spans, so that there is nothing to rank."""


async def run_benchmark(  # noqa: PLR0913 - what is run, and how
    tracer: AgentTracer,
    agents: Mapping[str, Agent],
    tasks: Sequence[Task],
    *,
    repeats: int = 1,
    concurrency: int = 1,
    period: str = "1d",
) -> Benchmark:
    """Run every agent `repeats` times on every task, and rank the agents by all of their recorded tasks of the period.

    The first agent is the one that the benchmark is of. Runs of one agent go on `concurrency` at a time; callables that
    are no coroutine functions run in threads. Spans that the agents make under OpenTelemetry's current context become
    children of their task's. Raises ValueError for no agents or tasks, TasksNotSentError, and what the call raises.
    """
    if not agents or not tasks or repeats < 1 or concurrency < 1:
        message = "at least one agent, one task, one repeat and one run at a time are needed"
        raise ValueError(message)
    sent = _SentSpans(tracer.settings)
    provider = TracerProvider(resource=Resource.create({"service.name": "agent-tracer-benchmark"}))
    provider.add_span_processor(BatchSpanProcessor(sent, max_queue_size=_QUEUE_SPANS))
    try:
        spans = provider.get_tracer("agent_tracer.client.benchmarking")
        for agent_id, agent in agents.items():
            await _run_agent(spans, agent_id, agent, [task for task in tasks for _ in range(repeats)], concurrency)
        flushed = await asyncio.to_thread(provider.force_flush, _FLUSH_MS)
    finally:
        await asyncio.to_thread(provider.shutdown)
    if not flushed or sent.failures:
        message = f"the server at {tracer.endpoint} did not take all spans of the benchmark"
        raise TasksNotSentError(message)
    types = dict.fromkeys(task.type for task in tasks)
    return await tracer.ace.create_benchmark(agents=agents, tasks=types, period=period)


class _SentSpans(OTLPSpanExporter):
    """Counts what the server did not take, which the exporter itself only logs."""

    def __init__(self, settings: Settings) -> None:
        headers = {"authorization": f"Bearer {settings.api_key}"} if settings.api_key else None
        super().__init__(endpoint=settings.address_of(_OTLP), insecure=not settings.is_tls, headers=headers)
        self.failures = 0

    def export(self, spans: Any) -> Any:  # noqa: ANN401 - as the exporter's
        result = super().export(spans)
        self.failures += result.value != 0
        return result


async def _run_agent(tracer: Tracer, agent_id: str, agent: Agent, runs: Sequence[Task], concurrency: int) -> None:
    turns = asyncio.Semaphore(concurrency)

    async def run(task: Task) -> None:
        async with turns:
            await _run(tracer, agent_id, agent, task)

    await asyncio.gather(*map(run, runs))


async def _run(tracer: Tracer, agent_id: str, agent: Agent, task: Task) -> None:
    attributes = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.id": agent_id,
        "task.type": task.type,
        "task.id": task.task_id or str(task.input),
    }
    with tracer.start_as_current_span(
        f"invoke_agent {agent_id}", attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            result = await _asked(agent, task.input)
            succeeded = task.check is None or task.check(result)
        except Exception as error:  # noqa: BLE001 - whatever an agent raises is a failed task, and the others go on
            _fail(span, error)
        else:
            span.set_status(Status(StatusCode.OK) if succeeded else Status(StatusCode.ERROR, "the check failed"))


async def _asked(agent: Agent, given: object) -> object:
    if inspect.iscoroutinefunction(agent):
        return await agent(given)
    result = await asyncio.to_thread(agent, given)
    return await result if inspect.isawaitable(result) else result


def _fail(span: Span, error: Exception) -> None:
    span.record_exception(error)
    span.set_attribute("error.type", type(error).__qualname__)
    span.set_status(Status(StatusCode.ERROR, str(error)))
