"""FindCorrelations against the started program: lone traces, wrong requests, and a fault in the middle of much else."""

import time
from collections.abc import Iterator

import httpx
import pytest
from google.rpc import code_pb2

from agent_tracer.v1 import correlation_pb2 as pb
from tests.e2e.talk import counted, create, error_info, message, refusal, rest, unique, wrong_fields
from tests.fixtures.program import Program
from tests.fixtures.shop import REFUSED, Shop

CORRELATIONS = "/api/v1/correlations"
ALL = {"includeMetrics": True, "includeLogs": True, "includeEvents": True}


@pytest.fixture
def traces(program: Program) -> Iterator[httpx.Client]:
    with rest(program) as client:
        yield client


def test_a_lone_trace_has_empty_lists_and_says_why(traces: httpx.Client) -> None:
    trace_id = unique("trace")
    create(traces, trace_id, unique("agent"), startTime="2025-11-05T12:00:00Z")
    asked = {"traceId": trace_id, "timeWindow": "5m", **ALL}
    found = message(traces.post(CORRELATIONS, json=asked), pb.Correlations)
    assert (found.trace.id, found.trace.status) == (trace_id, "success")
    assert [*found.related_traces, *found.metrics, *found.logs, *found.events] == []
    assert not found.HasField("root_cause")
    assert any("no metrics were received" in told for told in found.caveats)


def test_a_fault_is_found_with_its_metrics_log_lines_traces_and_deploy(program: Program, traces: httpx.Client) -> None:
    shop = Shop(time.time_ns() - 3600 * 10**9, seed=11, fault=True, suffix=unique("-e2e"))
    with rest(program, program.otlp_http) as otlp:
        requests = [("traces", of) for of in shop.spans()] + [("metrics", shop.metrics()), ("logs", shop.logs())]
        for signal, request in requests:
            headers = {"content-type": "application/x-protobuf"}
            sent = otlp.post(f"/v1/{signal}", content=request.SerializeToString(), headers=headers)
            assert sent.status_code == 200, sent.text
    found = counted(
        lambda: message(traces.post(CORRELATIONS, json={"traceId": shop.failed[3], **ALL}), pb.Correlations),
        lambda answer: not any("not caught up" in caveat for caveat in answer.caveats),
    )
    assert {"process.cpu.utilization", "db.pool.in_use"} <= {metric.name for metric in found.metrics}
    # A failure of the usual kind may lie in the window as well.
    assert len({trace.id for trace in found.related_traces} & set(shop.failed)) >= len(shop.failed) - 1
    assert REFUSED in {log.message for log in found.logs}
    assert any(event.name.startswith("deploy") for event in found.events)
    assert found.root_cause.component == f"payment{shop.suffix}"
    told = program.run("correlate", "--trace-id", shop.failed[3])
    assert "db.pool.in_use" in told.stdout


def test_an_unknown_trace_is_not_found(traces: httpx.Client) -> None:
    status = refusal(traces.post(CORRELATIONS, json={"traceId": "no-such-trace", **ALL}))
    assert (status.code, error_info(status).reason) == (code_pb2.NOT_FOUND, "TRACE_NOT_FOUND")


@pytest.mark.parametrize("window", ["25h", "5 minutes", "-1m"])
def test_a_wrong_window_is_named(traces: httpx.Client, window: str) -> None:
    status = refusal(traces.post(CORRELATIONS, json={"traceId": "any", "timeWindow": window}))
    assert (status.code, wrong_fields(status)) == (code_pb2.INVALID_ARGUMENT, ["time_window"])


def test_without_a_trace_id_the_field_is_named(traces: httpx.Client) -> None:
    status = refusal(traces.post(CORRELATIONS, json=ALL))
    assert (status.code, wrong_fields(status)) == (code_pb2.INVALID_ARGUMENT, ["trace_id"])
