# mypy: disable-error-code="no-untyped-call, import-untyped"
"""What each port offers besides REST, and what it keeps to itself."""

import gzip

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from agent_tracer.v1 import ace_pb2, ace_pb2_grpc, atlas_pb2, atlas_pb2_grpc, trace_pb2, trace_pb2_grpc
from tests.fixtures.envoy_served import Served, error_of, refusal
from tests.fixtures.envoy_served import served as served
from tests.fixtures.envoy_served import shared as shared

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

OWN_PAGE = {"origin": "http://localhost:3000"}
OTHER_SITE = {"origin": "https://evil.example"}


async def test_native_grpc_reaches_only_the_services_of_its_port(served: Served) -> None:
    """With a catch-all route alone, every port would answer every service."""
    calls = {
        "traces": lambda c: trace_pb2_grpc.TraceServiceStub(c).GetTrace(trace_pb2.GetTraceRequest(trace_id="t")),
        "ace": lambda c: ace_pb2_grpc.AceServiceStub(c).ScoreAgent(ace_pb2.ScoreAgentRequest()),
        "atlas": lambda c: atlas_pb2_grpc.AtlasServiceStub(c).AnalyzeLearning(atlas_pb2.AnalyzeLearningRequest()),
        "otlp": lambda c: trace_service_pb2_grpc.TraceServiceStub(c).Export(
            trace_service_pb2.ExportTraceServiceRequest()
        ),
        "health": lambda c: health_pb2_grpc.HealthStub(c).Check(health_pb2.HealthCheckRequest()),
    }
    answered = {}
    for port in ("tracer", "ace", "atlas"):
        async with served.channel(port) as channel:
            for name, call in calls.items():
                try:
                    await call(channel)
                    answered[port, name] = "OK"
                except grpc.aio.AioRpcError as error:
                    answered[port, name] = error.code().name

    open_doors = {place for place, answer in answered.items() if answer == "OK"}
    assert open_doors == {
        ("tracer", "traces"),
        ("tracer", "otlp"),
        ("tracer", "health"),
        ("ace", "ace"),
        ("atlas", "atlas"),
    }
    assert {a for place, a in answered.items() if place not in open_doors} == {"UNIMPLEMENTED"}


async def test_a_grpc_callers_error_is_text_not_json(served: Served) -> None:
    async with served.channel("ace") as channel:
        stub = trace_pb2_grpc.TraceServiceStub(channel)
        error = await refusal(stub.GetTrace(trace_pb2.GetTraceRequest()))

    assert error.details() == "this port does not answer that service"


async def test_reflection_lists_the_services_through_the_front_port(served: Served) -> None:
    async with served.channel("tracer") as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        answers = [a async for a in stub.ServerReflectionInfo(iter([ask]))]

    assert "agent_tracer.v1.TraceService" in str(answers)


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz"])
async def test_health_and_metrics_come_from_the_servers_own_http_listener(served: Served, path: str) -> None:
    answer = await served.client.get(path)

    assert (answer.status_code, answer.text) == (200, "ok")


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/logs", "/v1/metrics"])
async def test_otlp_over_http_arrives_byte_for_byte_gzip_included(served: Served, path: str) -> None:
    body = gzip.compress(b"\x0a\x00protobuf")
    headers = {"content-type": "application/x-protobuf", "content-encoding": "gzip"}

    answer = await served.client.post(path, content=body, headers=headers)

    assert answer.status_code == 200
    assert (served.backend.last.method, served.backend.last.request) == (path, body)
    assert served.backend.last.metadata["content-encoding"] == "gzip"


async def test_otlp_over_grpc_arrives(served: Served) -> None:
    async with served.channel("tracer") as channel:
        stub = trace_service_pb2_grpc.TraceServiceStub(channel)
        await stub.Export(trace_service_pb2.ExportTraceServiceRequest())

    assert served.backend.last.method == "Export"


async def test_a_page_of_this_machine_may_call_and_read_errors_too(served: Served) -> None:
    asked = {
        **OWN_PAGE,
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type",
    }

    preflight = await served.client.options("/api/v1/traces", headers=asked)
    found = await served.client.get("/api/v1/traces/t", headers=OWN_PAGE)
    missing = await served.client.get("/api/v1/traces/missing", headers=OWN_PAGE)
    wrong = await served.client.get("/api/v1/traces?colour=red", headers=OWN_PAGE)

    assert preflight.status_code == 200
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert "content-type" in preflight.headers["access-control-allow-headers"]
    for answer in (preflight, found, missing, wrong):
        assert answer.headers["access-control-allow-origin"] == OWN_PAGE["origin"]


async def test_a_page_of_another_site_may_neither_read_nor_write(served: Served) -> None:
    text = {**OTHER_SITE, "content-type": "text/plain"}  # a browser asks no leave for these two

    read = await served.client.get("/api/v1/traces/t", headers=OTHER_SITE)
    write = await served.client.post("/api/v1/traces", content=b'{"traceId":"t"}', headers=text)

    for answer in (read, write):
        error_of(answer, 403, "ORIGIN_REFUSED")
        assert "access-control-allow-origin" not in answer.headers
    assert not served.backend.calls


async def test_a_foreign_name_for_loopback_is_refused_because_of_dns_rebinding(served: Served) -> None:
    answer = await served.client.get("/api/v1/traces/t", headers={"host": f"evil.example:{served.port('tracer')}"})

    error_of(answer, 403, "ORIGIN_REFUSED")
