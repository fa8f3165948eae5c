"""`run_benchmark`: callables run on tasks, recorded as tasks, ranked by the running program."""

import asyncio
import time
import uuid

import pytest

from agent_tracer.betterproto.agent_tracer.v1 import ListSpansRequest, ListTracesRequest
from agent_tracer.client import AgentTracer
from agent_tracer.client.benchmarking import Task, TasksNotSentError, run_benchmark
from tests.fixtures.program import Program, free_ports

CAPITALS = {"France": "Paris", "Peru": "Lima", "Kenya": "Nairobi"}
TASKS = [
    Task("capital", country, check=lambda answer, city=city: answer == city)  # type: ignore[misc]
    for country, city in CAPITALS.items()
]


async def knows_all(country: str) -> str:
    return CAPITALS[country]


def knows_france_alone(country: str) -> str:
    return {"France": "Paris"}[country]


async def test_agents_are_ranked_by_what_they_did(program: Program) -> None:
    good, bad = f"good-{uuid.uuid4().hex[:8]}", f"bad-{uuid.uuid4().hex[:8]}"
    async with AgentTracer(program.target) as tracer:
        ranking = await run_benchmark(tracer, {good: knows_all, bad: knows_france_alone}, TASKS, repeats=10)
        listed = await tracer.traces.list_traces(ListTracesRequest(agent_id=bad, status="error", page_size=1))
        spans = await tracer.traces.list_spans(ListSpansRequest(trace_id=listed.traces[0].trace_id))
    assert [(agent.agent_id, agent.overall_rank) for agent in ranking.agents] == [(good, 1), (bad, 2)]
    assert (ranking.agent_id, ranking.scores["capital"].task_count) == (good, 30)
    of_bad = ranking.agents[1].scores["capital"]
    assert of_bad.success_count == 10
    assert of_bad.pass_k == pytest.approx([1 / 3] * 10)
    assert spans.spans[0].attributes is not None
    assert "KeyError" in str(spans.spans[0])


async def test_runs_of_an_agent_go_on_at_the_same_time(program: Program) -> None:
    under_way, most = 0, 0

    async def slow(_: int) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1

    async with AgentTracer(program.target) as tracer:
        await run_benchmark(
            tracer, {f"slow-{uuid.uuid4().hex[:8]}": slow}, [Task("wait", n) for n in range(6)], concurrency=3
        )
    assert most == 3


async def test_a_server_that_is_not_there_is_told_and_not_waited_for_long() -> None:
    (port,) = free_ports(1)
    began = time.monotonic()
    async with AgentTracer(f"127.0.0.1:{port}") as tracer:
        with pytest.raises(TasksNotSentError):
            await run_benchmark(tracer, {"a": knows_all}, TASKS)
    assert time.monotonic() - began < 60


async def test_nothing_to_run_is_refused() -> None:
    async with AgentTracer() as tracer:
        with pytest.raises(ValueError, match="at least one"):
            await run_benchmark(tracer, {}, TASKS)
