# mypy: disable-error-code="no-untyped-call, import-untyped"
"""What REST and gRPC callers see of each of Envoy's ports."""

import asyncio
import json
from typing import Any

import grpc
import httpx
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from agent_tracer.v1 import trace_pb2, trace_pb2_grpc
from tests.fixtures.envoy_served import HOST, JSON, Served, error_of, refusal
from tests.fixtures.envoy_served import served as served
from tests.fixtures.envoy_served import shared as shared

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]


async def test_create_trace_arrives_as_it_was_sent_and_is_answered_with_json_numbers(served: Served) -> None:
    sent = {
        "traceId": "trace-abc123",
        "agentId": "tdd-enforcer-001",
        "operation": "test-validation",
        "duration": 2500,
        "status": "success",
        "metadata": {"coverage": 85, "tests_run": 150},
    }

    answer = await served.client.post("/api/v1/traces", json=sent)

    assert answer.status_code == 200
    assert {key: answer.json()[key] for key in sent} == sent
    request = served.backend.last.request
    assert (request.trace_id, request.agent_id, request.duration) == (
        "trace-abc123",
        "tdd-enforcer-001",
        2500,
    )
    assert dict(request.metadata) == {"coverage": 85, "tests_run": 150}


async def test_metadata_keeps_whole_numbers_up_to_two_to_the_53(served: Served) -> None:
    """google.protobuf.Struct holds doubles: a larger number must travel as text."""
    body = {"traceId": "t", "metadata": {"exact": 2**53, "text": str(2**60)}}

    answer = await served.client.post("/api/v1/traces", json=body)

    assert answer.json()["metadata"] == body["metadata"]


async def test_get_trace_finds_the_id_in_the_path(served: Served) -> None:
    answer = await served.client.get("/api/v1/traces/trace-abc123")

    assert answer.json()["traceId"] == "trace-abc123"


@pytest.mark.parametrize(
    ("port", "method", "path", "body", "rpc", "expected"),
    [
        (
            "ace",
            "POST",
            "/api/v1/ace/score",
            {"agentId": "tdd-enforcer-001", "period": "24h"},
            "ScoreAgent",
            {"agentId": "tdd-enforcer-001", "period": "24h", "overall": 0.5},
        ),
        ("ace", "GET", "/api/v1/ace/benchmarks", None, "ListBenchmarks", {"nextPageToken": ""}),
        (
            "atlas",
            "GET",
            "/api/v1/atlas/analytics/api-builder-001?period=30d",
            None,
            "AnalyzeLearning",
            {"agentId": "api-builder-001", "period": "30d"},
        ),
        (
            "atlas",
            "POST",
            "/api/v1/atlas/optimize",
            {"workflowId": "feature-development", "period": "7d"},
            "OptimizeWorkflow",
            {"workflowId": "feature-development", "period": "7d"},
        ),
        (
            "tracer",
            "POST",
            "/api/v1/rca",
            {"incidentId": "incident-789", "timeWindow": "1h", "depth": 3},
            "AnalyzeRootCause",
            {"incidentId": "incident-789"},
        ),
        (
            "tracer",
            "POST",
            "/api/v1/correlations",
            {
                "traceId": "trace-abc123",
                "includeMetrics": True,
                "includeLogs": True,
                "includeEvents": True,
                "timeWindow": "5m",
            },
            "FindCorrelations",
            {"trace": {"id": "trace-abc123", "status": ""}},
        ),
    ],
)
async def test_each_call_of_the_api_reaches_its_method(
    served: Served, port: str, method: str, path: str, body: object, rpc: str, expected: dict[str, Any]
) -> None:
    answer = await served.client.request(method, served.url(port, path), json=body)

    assert answer.status_code == 200, answer.text
    assert served.backend.last.method == rpc
    assert answer.json().items() >= expected.items()


async def test_an_alertmanager_webhook_is_taken_as_alertmanager_sends_it(served: Served) -> None:
    webhook = {
        "receiver": "agent-tracer",
        "status": "firing",
        "alerts": [
            {
                "status": "firing",
                "labels": {"alertname": "HighErrorRate", "service": "checkout", "severity": "critical"},
                "annotations": {"summary": "errors above 5 %"},
                "startsAt": "2026-01-12T08:31:05.123456789Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "http://prometheus:9090/graph?g0.expr=up",
                "fingerprint": "9c2f1d6a7b3e4f50",
            }
        ],
        "groupLabels": {"alertname": "HighErrorRate"},
        "commonLabels": {"service": "checkout"},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager:9093",
        "version": "4",
        "groupKey": '{}:{alertname="HighErrorRate"}',
        "truncatedAlerts": 0,
        "aFieldOfALaterAlertmanager": True,
    }

    answer = await served.client.post("/api/v1/alerts", json=webhook)

    assert answer.json()["incidents"][0]["incidentId"] == "9c2f1d6a7b3e4f50"
    request = served.backend.last.request
    assert request.external_url == "http://alertmanager:9093"
    assert request.alerts[0].generator_url.endswith("expr=up")
    assert request.alerts[0].ends_at.ToJsonString() == "0001-01-01T00:00:00Z"


async def test_aggregate_takes_repeated_query_parameters_and_prints_sums_as_text(served: Served) -> None:
    answer = await served.client.get("/api/v1/traces:aggregate?group_by=agent_id&group_by=status&period=24h")

    assert list(served.backend.last.request.group_by) == ["agent_id", "status"]
    assert answer.json()["rows"][0]["count"] == str(2**40)


async def test_query_parameters_are_taken_under_either_name_and_decoded(served: Served) -> None:
    await served.client.get(
        "/api/v1/traces?pageSize=5&agent_id=a&attributes=a%3Db%20c&attributes=d%3De"
        "&start_time=2026-01-01T00:00:00Z&min_duration=1.5"
    )

    request = served.backend.last.request
    assert (request.page_size, request.agent_id, request.min_duration) == (5, "a", 1.5)
    assert list(request.attributes) == ["a=b c", "d=e"]
    assert request.start_time.ToJsonString() == "2026-01-01T00:00:00Z"


async def test_a_body_that_is_one_field_and_an_additional_binding_are_transcoded(served: Served) -> None:
    await served.client.post("/api/v1/traces/t1/evaluations", json={"name": "helpful", "score": 0.5})
    assert served.backend.last.request.trace_id == "t1"
    assert served.backend.last.request.evaluation.score == 0.5

    await served.client.post("/api/v1/incidents/i-1:analyze", json={"depth": 2})
    assert served.backend.last.method == "AnalyzeRootCause"
    assert (served.backend.last.request.incident_id, served.backend.last.request.depth) == ("i-1", 2)


async def test_delete_answers_with_an_empty_object(served: Served) -> None:
    answer = await served.client.delete("/api/v1/traces/t1")

    assert (answer.status_code, answer.json()) == (200, {})


async def test_fields_with_default_values_are_printed(served: Served) -> None:
    answer = (await served.client.get("/api/v1/traces/t1")).json()

    assert (answer["duration"], answer["agentId"], answer["spans"]) == (0, "", [])
    assert "cost" not in answer, "an absent optional field is absent"


@pytest.mark.parametrize(
    ("in_path", "trace_id"),
    [
        ("a%2Fb", "a/b"),
        ("a:b", "a:b"),
        ("x%3Awatch", "x:watch"),
        ("a%20b", "a b"),
        ("a+b", "a+b"),
        ("%C3%A4", "ä"),
        ("a%25b", "a%b"),
        ("a%3Fb", "a?b"),
        ("..%2Fb", "../b"),
    ],
)
async def test_any_text_can_be_an_id_in_a_path(served: Served, in_path: str, trace_id: str) -> None:
    url = httpx.URL(served.url("tracer", "/")).copy_with(raw_path=f"/api/v1/traces/{in_path}".encode())

    answer = await served.client.get(url)

    assert answer.json()["traceId"] == trace_id


async def test_a_servers_error_keeps_its_status_and_details(served: Served) -> None:
    answer = await served.client.get("/api/v1/traces/missing")

    error = error_of(answer, 404, "TRACE_NOT_FOUND")
    assert error["code"] == 5
    assert error["details"][0]["metadata"] == {"trace_id": "missing"}


async def test_the_same_error_over_native_grpc_has_the_same_details(served: Served) -> None:
    async with served.channel("tracer") as channel:
        stub = trace_pb2_grpc.TraceServiceStub(channel)
        error = await refusal(stub.GetTrace(trace_pb2.GetTraceRequest(trace_id="missing")))

    status = rpc_status.from_call(error)
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (error.code(), info.reason) == (grpc.StatusCode.NOT_FOUND, "TRACE_NOT_FOUND")


async def test_an_unknown_query_parameter_is_refused_by_name(served: Served) -> None:
    for answer in (
        await served.client.get("/api/v1/traces?colour=red"),
        await served.client.post("/api/v1/traces?colour=red", json={"traceId": "t"}),
    ):
        assert "colour" in error_of(answer, 400, "INVALID_FIELD")["message"]
    assert not served.backend.calls


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"{nope", "Expected"),
        (b'{"traceId": "t"', "Expected"),
        (b'{"duration": "long"}', "duration"),
        (b'{"startTime": "yesterday"}', "startTime"),
        (b'{"duration": NaN}', "Unexpected token"),
        (b'{"traceId": "\xff"}', "UTF-8"),
        (b'{"metadata": {"a": ' + b"[" * 500 + b"]" * 500 + b"}}", "too deep"),
        (b"[]", "must be a message"),
    ],
)
async def test_a_body_that_is_not_the_message_is_refused_in_json(served: Served, body: bytes, told: str) -> None:
    answer = await served.client.post("/api/v1/traces", content=body, headers=JSON)

    assert told in error_of(answer, 400, "INVALID_FIELD")["message"]
    assert not served.backend.calls


async def test_an_html_form_is_refused_in_json(served: Served) -> None:
    answer = await served.client.post("/api/v1/traces", data={"traceId": "t"})

    error_of(answer, 400, "INVALID_FIELD")


async def test_an_unknown_body_field_is_ignored_because_webhooks_grow_fields(served: Served) -> None:
    answer = await served.client.post("/api/v1/traces", json={"traceId": "t", "colour": "red"})

    assert answer.status_code == 200
    assert served.backend.last.request.trace_id == "t"


@pytest.mark.parametrize(
    ("port", "method", "path"),
    [
        ("tracer", "GET", "/api/v1/nothing"),
        ("tracer", "PUT", "/api/v1/traces"),
        ("tracer", "GET", "/api/v1/ace/benchmarks"),
        ("ace", "GET", "/api/v1/traces"),
        ("ace", "GET", "/metrics"),
        ("atlas", "POST", "/v1/traces"),
        ("tracer", "POST", "/agent_tracer.v1.AceService/ScoreAgent"),
        ("tracer", "GET", "/"),
    ],
)
async def test_what_a_port_does_not_offer_is_404_in_json(served: Served, port: str, method: str, path: str) -> None:
    answer = await served.client.request(method, served.url(port, path))

    assert error_of(answer, 404, "PATH_NOT_FOUND")["code"] == 5
    assert not served.backend.calls


async def test_what_is_no_http_is_answered_in_json(served: Served) -> None:
    reader, writer = await asyncio.open_connection(HOST, served.port("tracer"))
    writer.write(b"garbage\r\n\r\n")
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()

    assert head.startswith(b"HTTP/1.1 400")
    assert json.loads(body)["message"] == "the request is not valid: Bad Request"


async def test_headers_beyond_the_limit_are_431_in_json(served: Served) -> None:
    answer = await served.client.get("/api/v1/traces/t", headers={"big": "x" * 70_000})

    assert "60 KiB" in error_of(answer, 431, "TOO_LARGE")["message"]
