"""The client package against the running program."""

import asyncio
import uuid
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from grpclib.const import Status

from agent_tracer.betterproto.agent_tracer.v1 import Evaluation, GetTraceRequest
from agent_tracer.client import (
    ACE,
    ATLAS,
    AgentTracer,
    CorrelationEngine,
    DeadlineError,
    InvalidArgumentError,
    NoDataError,
    NotFoundError,
    TooLargeError,
    UnavailableError,
    UnimplementedError,
)
from tests.fixtures.program import Program, free_ports, running_program


def new_id() -> str:
    return f"client-{uuid.uuid4().hex}"


async def test_a_trace_that_was_created_is_read_back_with_its_metadata(program: Program) -> None:
    trace_id = new_id()
    metadata = {"coverage": 85, "nested": {"list": [1, "two", None, True]}, "text": "żółw"}
    async with AgentTracer(program.target) as tracer:
        created = await tracer.traces.create_trace(
            trace_id=trace_id, agent_id="client-agent", operation="greet", duration=120, metadata=metadata
        )
        found = await tracer.traces.get_trace(GetTraceRequest(trace_id=trace_id))
    assert created.trace_id == found.trace_id == trace_id
    assert (found.agent_id, found.operation, found.duration) == ("client-agent", "greet", 120)
    assert [span.name for span in found.spans] == ["greet"]
    assert found.metadata is not None
    assert found.metadata.to_dict() == metadata


async def test_a_call_takes_a_message_or_fields_and_the_id_may_stand_first(program: Program) -> None:
    trace_id = new_id()
    async with AgentTracer(program.target) as tracer:
        await tracer.traces.create_trace(trace_id, "client-agent", "greet", timeout_seconds=10)
        by_message = await tracer.traces.get_trace(GetTraceRequest(trace_id=trace_id), timeout_seconds=10)
        assert by_message == await tracer.traces.get_trace(trace_id=trace_id) == await tracer.traces.get_trace(trace_id)
        with pytest.raises(TypeError, match="no_such_field"):
            await tracer.traces.get_trace(no_such_field="x")  # type: ignore[call-overload]


async def test_a_stream_gives_traces_as_they_arrive(program: Program) -> None:
    agent = new_id()
    async with AgentTracer(program.target) as tracer:
        async with aclosing(tracer.traces.watch_traces(agent_id=agent)) as watched:
            first = asyncio.ensure_future(anext(watched))
            # Nobody tells when the watch has begun, so records follow one another until it has seen one.
            while not first.done():
                await tracer.traces.create_trace(new_id(), agent, "greet")
                await asyncio.wait((first,), timeout=0.5)
            seen = await first
    assert seen.agent_id == agent


async def test_a_stream_ends_with_its_deadline_when_it_is_given_one(program: Program) -> None:
    async with AgentTracer(program.target) as tracer:
        with pytest.raises(DeadlineError):
            async for _ in tracer.traces.watch_traces(agent_id=new_id(), timeout_seconds=0.3):
                pytest.fail("nobody sent a trace")


async def test_what_was_stored_is_exported(program: Program) -> None:
    trace_id = new_id()
    async with AgentTracer(program.target) as tracer:
        await tracer.traces.create_trace(trace_id, "client-agent", "export-me")
        await tracer.traces.get_trace(trace_id)
        parts = [part.otlp async for part in tracer.traces.export_traces(trace_ids=[trace_id])]
        with pytest.raises(NotFoundError):
            _ = [part async for part in tracer.traces.export_traces(trace_ids=["nobody-made-it"])]
    assert b"export-me" in b"".join(parts)


async def test_an_answer_of_many_megabytes_arrives_whole(program: Program) -> None:
    trace_ids = [new_id() for _ in range(24)]
    async with AgentTracer(program.target) as tracer:
        for trace_id in trace_ids:
            await tracer.traces.create_trace(trace_id, "large-agent", "op", metadata={"text": "x" * 250_000})
        await tracer.traces.get_trace(trace_ids[-1])
        parts = [part.otlp async for part in tracer.traces.export_traces(trace_ids=trace_ids)]
    assert sum(map(len, parts)) > 6_000_000


async def test_errors_say_reason_code_and_fields(program: Program) -> None:
    async with AgentTracer(program.target) as tracer:
        with pytest.raises(NotFoundError, match="nobody-made-it") as missing:
            await tracer.traces.get_trace("nobody-made-it")
        with pytest.raises(NotFoundError) as unknown:
            await tracer.atlas.analyze_learning("nobody-at-all")
        with pytest.raises(InvalidArgumentError) as refused:
            await tracer.traces.list_traces(page_size=-1)
        with pytest.raises(TooLargeError):
            await tracer.traces.create_trace(new_id(), "a", "o", metadata={"text": "x" * 17_000_000})
        agent = new_id()
        await tracer.traces.create_trace(new_id(), agent, "greet")
        with pytest.raises(NoDataError):
            await tracer.ace.score_agent(agent, period="1h", end_time=datetime(2020, 1, 1, tzinfo=UTC))
    assert (missing.value.reason, missing.value.code) == ("TRACE_NOT_FOUND", Status.NOT_FOUND)
    assert unknown.value.reason == "AGENT_NOT_FOUND"
    assert refused.value.reason == "INVALID_FIELD"
    assert [violation.field for violation in refused.value.violations] == ["page_size"]


async def test_the_clients_of_the_analyses_answer_without_being_opened(program: Program) -> None:
    agents = [new_id(), new_id()]
    async with AgentTracer(program.target) as tracer:
        for agent in agents:
            for _ in range(3):
                await tracer.traces.create_trace(trace := new_id(), agent, "review", 100, task_type="review")
            await tracer.traces.get_trace(trace)
        await asyncio.wait_for(_settled(tracer, agents), 60)
        shared = await ACE(tracer).list_scores(agents[0])
    score = await ACE(program.target).score_agent(agents[0], period="24h")
    ranking = await ACE(program.target).benchmark(agents=agents, tasks=["review"])
    related = await CorrelationEngine(program.target).find_correlations(
        trace_id=trace, include_metrics=True, include_logs=True, include_events=True, time_window="5m"
    )
    learning = await ATLAS(program.target).analyze_learning(agent_id=agents[0], period="30d")
    assert shared.scores == []
    assert (score.agent_id, score.sample_size) == (agents[0], 3)
    assert {agent.agent_id for agent in ranking.agents} == set(agents)
    assert related.trace is not None
    assert related.trace.id == trace
    assert learning.verdict == "insufficient_data"


async def test_every_service_is_reached_by_its_rest_port_too(program: Program) -> None:
    async with AgentTracer(program.url) as tracer, ACE(f"http://127.0.0.1:{program.ace}") as ace:
        assert (await tracer.traces.list_traces(agent_id=new_id())).traces == []
        assert (await ace.list_benchmarks(agent_id="nobody")).benchmarks == []
        assert (await CorrelationEngine(program.url).list_incidents(service=new_id())).incidents == []
        with pytest.raises(NotFoundError, match="no-such-trace"):
            await ATLAS(f"http://127.0.0.1:{program.atlas}/").get_critical_path("no-such-trace")
        with pytest.raises(UnimplementedError, match="gRPC port"):
            await tracer.ace.list_benchmarks()


async def test_a_judgement_is_attached(program: Program) -> None:
    trace_id = new_id()
    async with AgentTracer(program.target) as tracer:
        await tracer.traces.create_trace(trace_id, "client-agent", "greet")
        evaluation = Evaluation(name="helpfulness", score=0.9, annotator="human")
        made = await tracer.traces.create_evaluation(trace_id=trace_id, evaluation=evaluation)
    assert (made.name, made.score, made.trace_id) == ("helpfulness", 0.9, trace_id)


async def test_nobody_there_says_where_and_how_to_start_a_server() -> None:
    (port,) = free_ports(1)
    async with AgentTracer(f"127.0.0.1:{port}", retries=1) as tracer:
        with pytest.raises(UnavailableError, match=f"127.0.0.1:{port}.*agent-tracer start") as nobody:
            await tracer.traces.get_trace("t")
        with pytest.raises(ConnectionError):
            await anext(tracer.traces.watch_traces())
    assert nobody.value.code is Status.UNAVAILABLE


async def test_a_port_that_speaks_no_grpc_is_told_apart(program: Program) -> None:
    async with AgentTracer(f"127.0.0.1:{program.otlp_http}", retries=0, timeout_seconds=10) as tracer:
        with pytest.raises(UnavailableError, match="does not speak gRPC"):
            await tracer.traces.get_trace("t")


async def test_a_call_outlives_a_killed_server_that_comes_back(tmp_path: Path) -> None:
    with running_program(tmp_path) as program:
        trace_id = new_id()
        async with AgentTracer(program.target, retries=1000, timeout_seconds=300) as tracer:
            await tracer.traces.create_trace(trace_id, "client-agent", "greet")
            program.kill()
            asked = asyncio.ensure_future(tracer.traces.get_trace(trace_id))
            await asyncio.wait((asked,), timeout=0.5)
            assert not asked.done()
            await asyncio.to_thread(program.restart)
            assert (await asked).trace_id == trace_id


async def _settled(tracer: AgentTracer, agents: list[str]) -> None:
    """Until the tasks of all agents can be counted."""
    for agent in agents:
        while True:
            rows = (await tracer.traces.aggregate_traces(group_by=["agent_id"], agent_id=agent)).rows
            if sum(row.count for row in rows) >= 3:
                break
            await asyncio.sleep(0.2)
