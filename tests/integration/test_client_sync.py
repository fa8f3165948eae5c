"""The client without an event loop of the caller's, against the running program."""

import asyncio
import os
import subprocess
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from agent_tracer.client import (
    ACE,
    ATLAS,
    AgentTracer,
    CorrelationEngine,
    DeadlineError,
    NotFoundError,
    UnavailableError,
)
from tests.fixtures.program import Program, free_ports

SCRIPT = """
from agent_tracer.client import ACE, AgentTracer

tracer = AgentTracer().sync
tracer.traces.create_trace("{id}", "script", "greet")
print(tracer.traces.get_trace("{id}").operation, len(ACE().sync.list_benchmarks(agent_id="nobody").benchmarks))
"""


def new_id() -> str:
    return f"sync-{uuid.uuid4().hex}"


def test_a_script_writes_and_reads_without_a_loop(program: Program) -> None:
    trace_id = new_id()
    with AgentTracer(program.target).sync as tracer:
        tracer.traces.create_trace(trace_id, "script", "greet", metadata={"a": 1})
        assert tracer.traces.get_trace(trace_id).operation == "greet"
        with pytest.raises(NotFoundError):
            tracer.traces.get_trace("nobody-made-it")


def test_a_script_ends_without_closing_anything_and_says_nothing(program: Program) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", SCRIPT.format(id=new_id())],
        env={**os.environ, "AGENT_TRACER_URL": f"http://{program.target}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("greet 0\n", 0)
    assert done.stderr == ""


async def test_under_a_running_loop_it_answers_all_the_same(program: Program) -> None:
    with AgentTracer(program.target).sync as tracer:
        assert tracer.traces.list_traces(agent_id=new_id()).traces == []


def test_streams_are_generators(program: Program) -> None:
    agent, seen = new_id(), threading.Event()
    with AgentTracer(program.target).sync as tracer:
        trace_id = new_id()
        tracer.traces.create_trace(trace_id, agent, "export-me")
        tracer.traces.get_trace(trace_id)
        assert b"export-me" in b"".join(part.otlp for part in tracer.traces.export_traces(trace_ids=[trace_id]))

        def keep_writing() -> None:
            while not seen.wait(0.2):
                tracer.traces.create_trace(new_id(), agent, "greet")

        writer = threading.Thread(target=keep_writing)
        writer.start()
        try:
            for trace in tracer.traces.watch_traces(agent_id=agent):
                assert trace.agent_id == agent
                break
        finally:
            seen.set()
            writer.join()


def test_a_deadline_is_a_deadline(program: Program) -> None:
    with AgentTracer(program.target).sync as tracer, pytest.raises(DeadlineError):
        next(tracer.traces.watch_traces(agent_id=new_id(), timeout_seconds=0.2))


def test_threads_share_one(program: Program) -> None:
    trace_ids = [new_id() for _ in range(20)]
    with AgentTracer(program.target).sync as tracer, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda trace_id: tracer.traces.create_trace(trace_id, "threads", "greet"), trace_ids))
        found = list(pool.map(lambda trace_id: tracer.traces.get_trace(trace_id).trace_id, trace_ids))
    assert found == trace_ids


def test_the_clients_of_the_analyses_have_it_too(program: Program) -> None:
    with ACE(program.target).sync as ace:
        assert ace.list_scores("nobody").scores == []
    with pytest.raises(NotFoundError):
        ATLAS(program.target).sync.analyze_learning("nobody-at-all")
    with pytest.raises(NotFoundError):
        CorrelationEngine(program.target).sync.find_correlations("no-such-trace", include_logs=True)


def test_nobody_there_is_told() -> None:
    (port,) = free_ports(1)
    with AgentTracer(f"127.0.0.1:{port}", retries=0).sync as tracer, pytest.raises(UnavailableError):
        tracer.traces.get_trace("t")


async def test_a_stream_that_nobody_finished_does_not_hold_up_others(program: Program) -> None:
    with AgentTracer(program.target).sync as tracer:
        agent = new_id()
        watching = tracer.traces.watch_traces(agent_id=agent)
        asked = asyncio.ensure_future(asyncio.to_thread(next, watching))
        while not asked.done():
            await asyncio.to_thread(tracer.traces.create_trace, new_id(), agent, "greet")
            await asyncio.wait((asked,), timeout=0.3)
        del watching, asked
        assert tracer.traces.list_traces(agent_id=new_id()).traces == []
