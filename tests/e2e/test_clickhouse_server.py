"""The same program with its store in a ClickHouse server: another setting, nothing else."""

import uuid
from pathlib import Path

from agent_tracer.v1 import trace_pb2
from tests.e2e.otlp import otlp_span, send, spans_request
from tests.e2e.servers.arriving import trace_at
from tests.e2e.talk import CALL_SECONDS, all_traces, catch_up, stubs
from tests.fixtures.program import running_program
from tests.servers.clickhouse import ClickHouse


def test_traces_are_kept_listed_and_found_again_in_a_clickhouse_server(tmp_path: Path) -> None:
    trace_id = uuid.uuid4().bytes
    call = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4.1-mini", "gen_ai.usage.input_tokens": 9}
    request = spans_request(otlp_span(trace_id, 1, 0), otlp_span(trace_id, 2, 1, call))
    with ClickHouse(tmp_path / "clickhouse") as store:
        with running_program(tmp_path / "program", store={"url": store.url}) as program:
            send(program, request)
            with stubs(program.target) as stub:
                catch_up(stub)
                (listed,) = all_traces(stub, attributes=["gen_ai.request.model=gpt-4.1-mini"])
            first = trace_at(program, trace_id.hex(), 2)
            program.stop()
        with running_program(tmp_path / "other", store={"url": store.url}) as program:
            again = trace_at(program, trace_id.hex(), 2)
            with stubs(program.target) as stub:
                deleted = trace_pb2.DeleteTraceRequest(trace_id=trace_id.hex())
                stub.DeleteTrace(deleted, timeout=CALL_SECONDS)
                assert all_traces(stub) == []
    assert (listed.trace_id, listed.span_count, listed.usage.input_tokens) == (trace_id.hex(), 2, 9)
    assert first.cost == again.cost > 0
    assert again == first
