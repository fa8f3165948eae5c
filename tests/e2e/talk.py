"""The ways to the started program: REST, gRPC with generated stubs, and the clients' betterproto2 stubs."""

import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, TypeVar

import grpc
import httpx
import pytest
from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status
from grpclib.client import Channel

from agent_tracer.betterproto.agent_tracer.v1 import TraceServiceStub as ClientStub
from agent_tracer.server.limits import ANALYSIS_WAIT_SECONDS_MAX
from agent_tracer.v1 import trace_pb2
from agent_tracer.v1.trace_pb2_grpc import TraceServiceStub
from tests.fixtures.program import Program

CALL_SECONDS: Final = 60
"""Longer than any call takes that works at all."""

TRACES: Final = "/api/v1/traces"
SECOND_NS: Final = 1_000_000_000

M = TypeVar("M", bound=Message)
Found = TypeVar("Found")


def unique(name: str) -> str:
    """An id that no other test has: the started program is shared."""
    return f"{name}-{uuid.uuid4().hex[:12]}"


@contextmanager
def rest(program: Program, port: int = 0) -> Iterator[httpx.Client]:
    """HTTP to a port of the program, that of TraceService unless told otherwise."""
    base = f"http://127.0.0.1:{port}" if port else program.url
    with httpx.Client(base_url=base, timeout=CALL_SECONDS, trust_env=False) as client:
        yield client


@contextmanager
def stubs(target: str) -> Iterator[TraceServiceStub]:
    """TraceService with the server's own generated code."""
    with grpc.insecure_channel(target, options=[("grpc.max_receive_message_length", -1)]) as channel:
        yield TraceServiceStub(channel)


@asynccontextmanager
async def clients(program: Program) -> AsyncIterator[ClientStub]:
    """TraceService with the code that clients are given."""
    channel = Channel("127.0.0.1", program.grpc)
    try:
        yield ClientStub(channel)
    finally:
        channel.close()


def message(answer: httpx.Response, kind: type[M]) -> M:
    """A REST answer as the message that it is the JSON of; the answer must be 200."""
    assert answer.status_code == 200, f"{answer.request.url}: {answer.status_code} {answer.text[:600]}"
    return json_format.Parse(answer.text, kind())


def refusal(answer: httpx.Response) -> status_pb2.Status:
    """A REST error as google.rpc.Status; it must be one, with the API's ErrorInfo first."""
    assert answer.headers["content-type"] == "application/json", answer.text
    status = json_format.Parse(answer.text, status_pb2.Status())
    assert error_info(status).domain == "agent-tracer"
    return status


def grpc_refusal(call: Callable[[], object]) -> status_pb2.Status:
    """The error that a gRPC call ends with."""
    with pytest.raises(grpc.RpcError) as refused:
        call()
    status: status_pb2.Status | None = rpc_status.from_call(refused.value)
    assert status is not None, f"{refused.value} without google.rpc.Status"
    return status


def error_info(status: status_pb2.Status) -> error_details_pb2.ErrorInfo:
    """The status's ErrorInfo, of which there must be one."""
    found = error_details_pb2.ErrorInfo()
    assert sum(detail.Unpack(found) for detail in status.details) == 1, status
    return found


def wrong_fields(status: status_pb2.Status) -> list[str]:
    """The names of the fields that the status complains of."""
    found = error_details_pb2.BadRequest()
    for detail in status.details:
        detail.Unpack(found)
    return [violation.field for violation in found.field_violations]


def create(client: httpx.Client, trace_id: str, agent_id: str = "tester", **fields: Any) -> trace_pb2.Trace:
    """CreateTrace by REST."""
    body = {"traceId": trace_id, "agentId": agent_id, "operation": "work", "duration": 5, **fields}
    return message(client.post(TRACES, json=body), trace_pb2.Trace)


def all_spans(stub: TraceServiceStub, trace_id: str, page_size: int = 1000) -> list[trace_pb2.Span]:
    """Every span of a trace, page by page."""
    spans: list[trace_pb2.Span] = []
    token = ""
    while True:
        request = trace_pb2.ListSpansRequest(trace_id=trace_id, page_size=page_size, page_token=token)
        page = stub.ListSpans(request, timeout=CALL_SECONDS)
        spans += page.spans
        token = page.next_page_token
        if not token:
            return spans


def all_traces(stub: TraceServiceStub, **conditions: Any) -> list[trace_pb2.Trace]:
    """Every trace of a list, page by page."""
    traces: list[trace_pb2.Trace] = []
    request = trace_pb2.ListTracesRequest(**{"page_size": 1000, **conditions})
    while True:
        page = stub.ListTraces(request, timeout=CALL_SECONDS)
        traces += page.traces
        request.page_token = page.next_page_token
        if not request.page_token:
            return traces


def catch_up(stub: TraceServiceStub) -> None:
    """Return when whatever was acknowledged can be listed: a look for what nobody sent waits for all of it."""
    status = grpc_refusal(lambda: stub.GetTrace(trace_pb2.GetTraceRequest(trace_id=unique("nobody"))))
    assert status.code == code_pb2.NOT_FOUND


def analysed(ask: Callable[[], httpx.Response], kind: type[M], is_whole: Callable[[M], bool]) -> M:
    """What an analysis says that is asked for right after its tasks were sent.

    An answer for which the server did not wait its longest has all of them. Else it is asked again: a busy server answers
    without the last ones.
    """
    while True:
        began = time.monotonic()
        answer = ask()
        has_waited = time.monotonic() - began >= ANALYSIS_WAIT_SECONDS_MAX
        if not has_waited or (answer.is_success and is_whole(message(answer, kind))):
            return message(answer, kind)


def counted(look: Callable[[], Found], is_whole: Callable[[Found], bool]) -> Found:
    """What `look` finds of what is made out of traces once it is whole: a busy server answers without the last seconds.

    Each look lasts as long as the server waits for its own counting, so that none is needed in between.
    """
    deadline = time.monotonic() + CALL_SECONDS
    while not is_whole(found := look()):
        assert time.monotonic() < deadline, f"not counted after {CALL_SECONDS} s: {found}"
    return found
