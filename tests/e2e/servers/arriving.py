"""Waits for what somebody else sends on."""

import grpc

from agent_tracer.v1 import trace_pb2
from tests.e2e.talk import CALL_SECONDS, stubs
from tests.fixtures.program import Program
from tests.servers.child import eventually


def trace_at(program: Program, trace_id: str, spans: int) -> trace_pb2.Trace:
    """A trace as soon as all its spans are there: who stands between sends when it likes."""

    def look() -> trace_pb2.Trace | None:
        try:
            found = stub.GetTrace(trace_pb2.GetTraceRequest(trace_id=trace_id), timeout=CALL_SECONDS)
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.NOT_FOUND:
                raise
            return None
        return found if found.span_count >= spans else None

    with stubs(program.target) as stub:
        found = eventually(look, 90)
    assert found is not None, f"no {trace_id} of {spans} spans"
    return found
