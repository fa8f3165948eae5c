"""The client package against the running program."""

import asyncio
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

import pytest
from grpclib import GRPCError
from grpclib.const import Status

from agent_tracer.betterproto.agent_tracer.v1 import (
    AnalyzeLearningRequest,
    CreateTraceRequest,
    FindCorrelationsRequest,
    GetTraceRequest,
    ListBenchmarksRequest,
    Trace,
    WatchTracesRequest,
)
from agent_tracer.client import connect
from tests.fixtures.program import Program, free_ports


async def test_a_trace_that_was_created_is_read_back_over_the_same_connection(program: Program) -> None:
    trace_id = f"client-{uuid.uuid4().hex}"
    async with connect(program.target) as tracer:
        created = await tracer.traces.create_trace(
            CreateTraceRequest(trace_id=trace_id, agent_id="client-agent", operation="greet", duration=120)
        )
        found = await tracer.traces.get_trace(GetTraceRequest(trace_id=trace_id))
    assert created.trace_id == found.trace_id == trace_id
    assert (found.agent_id, found.operation, found.duration) == ("client-agent", "greet", 120)
    assert [span.name for span in found.spans] == ["greet"]


async def test_a_stream_gives_traces_as_they_arrive(program: Program) -> None:
    agent = f"client-{uuid.uuid4().hex}"
    async with connect(program.target) as tracer:
        watching = tracer.traces.watch_traces(WatchTracesRequest(agent_id=agent), timeout=60)
        async with aclosing(cast("AsyncGenerator[Trace, None]", watching)) as watched:
            first = asyncio.ensure_future(anext(watched))
            # Nobody tells when the watch has begun, so records follow one another until it has seen one.
            while not first.done():
                record = CreateTraceRequest(trace_id=f"client-{uuid.uuid4().hex}", agent_id=agent, operation="greet")
                await tracer.traces.create_trace(record)
                await asyncio.wait((first,), timeout=0.5)
            seen = await first
    assert seen.agent_id == agent


async def test_every_service_is_reached(program: Program) -> None:
    async with connect(program.target) as tracer:
        assert (await tracer.ace.list_benchmarks(ListBenchmarksRequest(agent_id="nobody"))).benchmarks == []
        with pytest.raises(GRPCError) as unknown:
            await tracer.atlas.analyze_learning(AnalyzeLearningRequest(agent_id="nobody-at-all"))
        with pytest.raises(GRPCError) as untraced:
            await tracer.correlation.find_correlations(FindCorrelationsRequest(trace_id="no-such-trace"))
    assert unknown.value.status is untraced.value.status is Status.NOT_FOUND


async def test_a_refused_call_raises_with_code_and_text(program: Program) -> None:
    async with connect(program.target) as tracer:
        with pytest.raises(GRPCError) as refused:
            await tracer.traces.get_trace(GetTraceRequest(trace_id="nobody-made-it"))
    assert refused.value.status is Status.NOT_FOUND
    assert "nobody-made-it" in str(refused.value.message)


async def test_nobody_there_is_an_operating_system_error() -> None:
    (port,) = free_ports(1)
    async with connect(f"127.0.0.1:{port}") as tracer:
        with pytest.raises(OSError, match=str(port)):
            await tracer.traces.get_trace(GetTraceRequest(trace_id="t"))


@pytest.mark.parametrize("endpoint", ["", "localhost", "http://localhost:50051", "localhost:0", "localhost:65536"])
async def test_another_endpoint_is_refused_with_an_example(endpoint: str) -> None:
    with pytest.raises(ValueError, match=r"such as 127\.0\.0\.1:50051"):
        async with connect(endpoint):
            pytest.fail("the endpoint was taken")
