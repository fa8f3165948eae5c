"""Streams and deadlines through Envoy."""

import asyncio
import json

import grpc
import pytest

from agent_tracer.server.adapters.envoy.plan import Bounds
from agent_tracer.v1 import trace_pb2, trace_pb2_grpc
from tests.fixtures.envoy_served import HOST, SECONDS_MAX, Served, refusal, serving
from tests.fixtures.envoy_served import served as served
from tests.fixtures.envoy_served import shared as shared

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]


async def test_watch_sends_each_trace_at_once_as_a_line_of_json(served: Served) -> None:
    headers = {"accept-encoding": "gzip"}
    async with served.client.stream("GET", "/api/v1/traces:watch?agent_id=a", headers=headers) as answer:
        lines = answer.aiter_lines()
        for trace_id in ("one", "two"):
            served.backend.watched.put_nowait(trace_pb2.Trace(trace_id=trace_id, operation="x" * 5000))
            async with asyncio.timeout(SECONDS_MAX):
                assert json.loads(await anext(lines))["traceId"] == trace_id
        served.backend.watched.put_nowait(trace_pb2.Trace(operation="end"))
        assert [line async for line in lines if line] == []

    assert served.backend.last.request.agent_id == "a"


async def test_a_watcher_that_goes_away_cancels_the_call(served: Served) -> None:
    async with served.client.stream("GET", "/api/v1/traces:watch"):
        pass

    assert await asyncio.wait_for(served.backend.cancelled.wait(), timeout=SECONDS_MAX)


async def test_watch_refused_before_its_first_trace_is_an_error_with_its_status(served: Served) -> None:
    answer = await served.client.get("/api/v1/traces:watch?status=nonsense")

    assert (answer.status_code, answer.json()["code"]) == (400, 3)


async def test_a_rest_stream_outlives_deadline_and_idle_time() -> None:
    async with (
        serving(Bounds(unary_seconds=0.4, idle_seconds=0.4)) as served,
        served.client.stream("GET", "/api/v1/traces:watch") as answer,
    ):
        await asyncio.sleep(1)  # what is tested is that time alone ends nothing
        served.backend.watched.put_nowait(trace_pb2.Trace(trace_id="late"))
        async with asyncio.timeout(SECONDS_MAX):
            assert json.loads(await anext(answer.aiter_lines()))["traceId"] == "late"


async def test_a_grpc_stream_outlives_deadline_and_idle_time() -> None:
    async with (
        serving(Bounds(unary_seconds=0.4, idle_seconds=0.4)) as served,
        served.channel("tracer") as channel,
    ):
        call = trace_pb2_grpc.TraceServiceStub(channel).WatchTraces(trace_pb2.WatchTracesRequest())
        await call.initial_metadata()
        await asyncio.sleep(1)  # what is tested is that time alone ends nothing
        served.backend.watched.put_nowait(trace_pb2.Trace(trace_id="late"))
        async with asyncio.timeout(SECONDS_MAX):
            assert (await anext(aiter(call))).trace_id == "late"


async def test_a_rest_callers_deadline_reaches_the_server_and_ends_the_call(served: Served) -> None:
    answer = await served.client.get("/api/v1/traces/slow", headers={"grpc-timeout": "1500m"})

    assert (answer.status_code, answer.json()["code"]) == (504, 4)
    left = served.backend.last.seconds_left
    assert left is not None
    assert left <= 1.5
    async with asyncio.timeout(SECONDS_MAX):
        await served.backend.cancelled.wait()


async def test_without_a_deadline_the_servers_longest_applies_and_is_told_to_it() -> None:
    async with serving(Bounds(unary_seconds=0.4)) as served:
        answer = await served.client.get("/api/v1/traces/slow")
        async with served.channel("tracer") as channel:
            stub = trace_pb2_grpc.TraceServiceStub(channel)
            native = await refusal(stub.GetTrace(trace_pb2.GetTraceRequest(trace_id="slow"), timeout=30))

    assert answer.status_code == 504
    assert native.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert all(c.seconds_left is not None and c.seconds_left <= 0.4 for c in served.backend.calls)


async def test_a_deadline_that_cannot_be_read_is_none(served: Served) -> None:
    answer = await served.client.get("/api/v1/traces/t", headers={"grpc-timeout": "soon"})

    assert answer.status_code == 200
    assert served.backend.last.seconds_left is not None
    assert served.backend.last.seconds_left > 30


async def test_a_caller_that_goes_away_cancels_the_servers_work(served: Served) -> None:
    call = asyncio.create_task(served.client.get("/api/v1/traces/slow"))
    async with asyncio.timeout(SECONDS_MAX):
        await served.backend.begun.wait()
        call.cancel()
        assert await served.backend.cancelled.wait()


async def test_a_body_that_does_not_arrive_is_408_in_json() -> None:
    async with serving(Bounds(idle_seconds=0.8)) as served:
        reader, writer = await asyncio.open_connection(HOST, served.port("tracer"))
        writer.write(b"POST /api/v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{")
        async with asyncio.timeout(SECONDS_MAX):
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()

    assert head.startswith(b"HTTP/1.1 408")
    assert "nothing of it came for 0.8s" in json.loads(body)["message"]
