"""Sizes and compression of what passes Envoy."""

import gzip
import os

import grpc
import pytest

from agent_tracer.server.adapters.envoy.plan import Bounds
from agent_tracer.server.limits import MESSAGE_BYTES_MAX
from agent_tracer.v1 import trace_pb2, trace_pb2_grpc
from tests.fixtures.envoy_served import GZIP, JSON, Served, error_of, serving
from tests.fixtures.envoy_served import served as served
from tests.fixtures.envoy_served import shared as shared

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]


def body_of(size: int) -> bytes:
    frame = b'{"traceId":"t","operation":"%s"}'
    return frame % (b"y" * (size - len(frame) + 2))


async def test_a_body_of_just_the_limit_is_taken_and_one_byte_more_is_413(served: Served) -> None:
    taken = await served.client.post("/api/v1/traces", content=body_of(MESSAGE_BYTES_MAX), headers=JSON)
    refused = await served.client.post("/api/v1/traces", content=body_of(MESSAGE_BYTES_MAX + 1), headers=JSON)

    assert taken.status_code == 200
    assert str(MESSAGE_BYTES_MAX) in error_of(refused, 413, "TOO_LARGE")["message"]
    assert len(served.backend.calls) == 1


async def test_the_limit_holds_for_otlp_over_http_too(served: Served) -> None:
    answer = await served.client.post("/v1/traces", content=b"x" * (MESSAGE_BYTES_MAX + 1))

    error_of(answer, 413, "TOO_LARGE")


async def test_a_gzip_body_is_opened(served: Served) -> None:
    body = gzip.compress(b'{"traceId":"packed"}')

    answer = await served.client.post("/api/v1/traces", content=body, headers=GZIP)

    assert answer.status_code == 200
    assert served.backend.last.request.trace_id == "packed"


async def test_a_gzip_bomb_is_413_and_costs_little_memory(served: Served) -> None:
    bomb = gzip.compress(body_of(400 * 1024 * 1024), compresslevel=1)
    before = peak_memory_bytes(served.envoy.pid)

    answer = await served.client.post("/api/v1/traces", content=bomb, headers=GZIP)

    error_of(answer, 413, "TOO_LARGE")
    assert peak_memory_bytes(served.envoy.pid) - before < 150 * 1024 * 1024
    assert not served.backend.calls


def peak_memory_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/status", encoding="ascii") as status:  # noqa: PTH123 - a file of the kernel
        return 1024 * next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


@pytest.mark.parametrize(
    "body",
    [
        b"this is no gzip at all",
        gzip.compress(b'{"traceId":"t","operation":"' + bytes(range(32, 34)) + b"unfinished"),
        gzip.compress(os.urandom(3000).hex().encode())[:-200],
        gzip.compress(b""),
        b"",
    ],
)
async def test_a_broken_gzip_body_is_refused_at_once_not_taken_as_empty(served: Served, body: bytes) -> None:
    answer = await served.client.post("/api/v1/traces", content=body, headers=GZIP)

    assert "gzip" in error_of(answer, 400, "INVALID_FIELD")["message"]
    assert not served.backend.calls


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip"])
async def test_other_content_encodings_are_415(served: Served, encoding: str) -> None:
    headers = {**JSON, "content-encoding": encoding}

    answer = await served.client.post("/api/v1/traces", content=b"{}", headers=headers)

    error_of(answer, 415, "INVALID_FIELD")


async def test_long_answers_are_sent_as_gzip_where_the_caller_takes_it(served: Served) -> None:
    packed = await served.client.get("/api/v1/traces")
    plain = await served.client.get("/api/v1/traces", headers={"accept-encoding": "identity"})

    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.json() == plain.json()


async def test_an_answer_above_one_mebibyte_is_sent_whole(served: Served) -> None:
    answer = await served.client.get("/api/v1/traces/long")

    assert len(answer.json()["operation"]) == 2_000_000


async def test_an_answer_above_the_limit_is_an_error_in_json_not_a_cut_off_one() -> None:
    async with serving(Bounds(response_bytes=100_000)) as served:
        answer = await served.client.get("/api/v1/traces/long")

    error_of(answer, 500, "INTERNAL")


async def test_grpc_bodies_are_not_held_back_by_the_body_limit(served: Served) -> None:
    options = [("grpc.max_receive_message_length", 64 * 1024 * 1024)]
    async with served.channel("tracer", options=options) as channel:
        request = trace_pb2.CreateTraceRequest(operation="x" * (MESSAGE_BYTES_MAX + 1000))
        answer = await trace_pb2_grpc.TraceServiceStub(channel).CreateTrace(request)

    assert len(answer.operation) == len(request.operation)


async def test_compressed_grpc_messages_pass(served: Served) -> None:
    async with served.channel("tracer", compression=grpc.Compression.Gzip) as channel:
        request = trace_pb2.CreateTraceRequest(trace_id="t", operation="x" * 10_000)
        await trace_pb2_grpc.TraceServiceStub(channel).CreateTrace(request)

    assert served.backend.last.request == request
