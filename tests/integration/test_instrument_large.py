"""Batches that are larger than a request may be, against the running program."""

import uuid

import pytest

from agent_tracer.v1 import trace_pb2
from tests.e2e.talk import CALL_SECONDS, stubs
from tests.fixtures.agent_process import run_agent
from tests.fixtures.program import Program

SPANS = 150
SCRIPT = f"""
import logging
from agent_tracer.client.telemetry import instrument, agent, task
handle = instrument("large-{uuid.uuid4().hex}", auto=False, logs=True)
text = "é" * 60_000

@task
def step(text):
    logging.warning(text)

with agent("Reader") as span:
    for number in range({SPANS}):
        step(text)
print(span.trace_id, handle.flush(60), handle.dropped_spans, handle.dropped_log_records)
"""


@pytest.mark.parametrize("transport", ["otlp http", "otlp grpc"])
def test_spans_and_log_records_that_are_more_than_one_request_may_carry_get_there(
    program: Program, transport: str
) -> None:
    url, protocol = (
        (f"http://127.0.0.1:{program.otlp_grpc}", "grpc")
        if transport == "otlp grpc"
        else (program.url, "http/protobuf")
    )
    waiting = {"OTEL_BSP_SCHEDULE_DELAY": "60000", "OTEL_BLRP_SCHEDULE_DELAY": "60000"}
    told = run_agent(SCRIPT, AGENT_TRACER_URL=url, OTEL_EXPORTER_OTLP_PROTOCOL=protocol, **waiting)
    trace_id, *rest = told.out.split()
    assert rest == ["True", "0", "0"], told.err
    with stubs(program.target) as stub:
        trace = stub.GetTrace(trace_pb2.GetTraceRequest(trace_id=trace_id), timeout=CALL_SECONDS)
    assert trace.span_count == SPANS + 1
