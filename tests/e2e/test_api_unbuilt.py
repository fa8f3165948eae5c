"""Calls of the contract that this server does not answer yet: they say so, alike on every road."""

from typing import Any, Final

import grpc
import pytest
from google.rpc import code_pb2

from agent_tracer.v1 import correlation_pb2
from agent_tracer.v1.correlation_pb2_grpc import CorrelationServiceStub
from tests.e2e.talk import (
    error_info,
    grpc_refusal,
    refusal,
    rest,
)
from tests.fixtures.program import Program

ALERT: Final = {
    "version": "4", "groupKey": '{}:{alertname="HighErrorRate"}', "truncatedAlerts": 0, "status": "firing",
    "receiver": "agent-tracer", "groupLabels": {"alertname": "HighErrorRate"},
    "commonLabels": {"alertname": "HighErrorRate", "severity": "critical", "service": "checkout"},
    "commonAnnotations": {"summary": "5 % of requests fail"}, "externalURL": "http://alertmanager:9093",
    "alerts": [
        {"status": "firing", "labels": {"alertname": "HighErrorRate", "service": "checkout"},
         "annotations": {"summary": "5 % of requests fail"}, "startsAt": "2026-11-22T10:00:00.000Z",
         "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "http://prometheus:9090/graph", "fingerprint": "c9e8f1a2b3d4"}
    ],
}  # fmt: skip

UNBUILT: Final = (
    ("rest", "POST", "/api/v1/rca", {"incidentId": "incident-789", "timeWindow": "1h", "depth": 3}),
    ("rest", "POST", "/api/v1/correlations",
     {"traceId": "trace-abc123", "includeMetrics": True, "includeLogs": True, "includeEvents": True, "timeWindow": "5m"}),
    ("rest", "POST", "/api/v1/alerts", ALERT),
)  # fmt: skip


@pytest.mark.parametrize(("port", "method", "path", "body"), UNBUILT, ids=[row[2] for row in UNBUILT])
def test_calls_that_are_not_answered_yet_say_so(
    program: Program, port: str, method: str, path: str, body: dict[str, Any] | None
) -> None:
    with rest(program, getattr(program, port)) as client:
        answer = client.request(method, path, json=body)
    status = refusal(answer)
    assert (answer.status_code, status.code) == (501, code_pb2.UNIMPLEMENTED)
    assert error_info(status).reason == "NOT_BUILT"


def test_unanswered_calls_say_the_same_by_grpc(program: Program) -> None:
    with grpc.insecure_channel(program.target) as channel:
        correlation = CorrelationServiceStub(channel)
        status = grpc_refusal(
            lambda: correlation.AnalyzeRootCause(correlation_pb2.AnalyzeRootCauseRequest(incident_id="i"))
        )
    assert (status.code, error_info(status).reason) == (code_pb2.UNIMPLEMENTED, "NOT_BUILT")
