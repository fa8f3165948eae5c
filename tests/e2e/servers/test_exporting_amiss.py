"""Exporters whose settings do not fit the real backend: a signal that it lacks, another door, no TLS where it wants it."""

import re
import time
import uuid
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.otlp import otlp_span, send, spans_request
from tests.fixtures.certificates import make_certificate
from tests.fixtures.otlp_requests import log_record, logs_request
from tests.fixtures.program import Program, running_program
from tests.fixtures.servers import required
from tests.servers.child import eventually
from tests.servers.jaeger import Jaeger
from tests.servers.otelcol import Collector

pytestmark = pytest.mark.servers


def send_log(program: Program) -> None:
    url = f"http://127.0.0.1:{program.otlp_http}/v1/logs"
    record = log_record("a")
    record.time_unix_nano = time.time_ns()
    body = logs_request(record).SerializeToString()
    headers = {"content-type": "application/x-protobuf"}
    answer = httpx.post(url, content=body, headers=headers, trust_env=False, timeout=30).raise_for_status()
    assert answer.content == b"", "it was taken whole"


def skipped(program: Program) -> dict[str, float]:
    """Items by signal and reason, where there are any."""
    text = httpx.get(f"http://127.0.0.1:{program.metrics}/metrics", trust_env=False, timeout=30).text
    return {
        f"{sample.labels['signal']} {sample.labels['reason']}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "agent_tracer_exporter_skipped_total" and sample.value
    }


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_logs_do_not_keep_traces_from_a_jaeger_that_takes_none(tmp_path: Path, jaeger: Jaeger, protocol: str) -> None:
    endpoint = f"http://{jaeger.otlp_grpc}" if protocol == "grpc" else jaeger.otlp_http
    settings = {"endpoint": endpoint, "protocol": protocol, "signals": ["logs", "traces"]}
    trace_id = uuid.uuid4().bytes
    with running_program(tmp_path, exporters={"otlp": {"all": settings}}) as program:
        send_log(program)
        send(program, spans_request(otlp_span(trace_id, 1, 0)))
        assert jaeger.trace(trace_id.hex(), seconds_max=90)
        assert eventually(lambda: skipped(program) == {"logs unsupported": 1}, 90)
        send_log(program)
        later = uuid.uuid4().bytes
        send(program, spans_request(otlp_span(later, 1, 0)))
        assert jaeger.trace(later.hex(), seconds_max=90)
        told = re.compile(r"WARN\s+exporters\.otlp\.all\s.*exporters\.otlp\.all\.signals", re.DOTALL)
        assert eventually(lambda: told.search(doctor(program)), 90)
    assert program.log.count("lacks a signal") == 1


def doctor(program: Program) -> str:
    return program.run("doctor", "--config", str(program.config), check=False).stdout


def test_the_address_of_jaegers_pages_swallows_no_trace(tmp_path: Path, jaeger: Jaeger) -> None:
    exporter = {"enabled": True, "endpoint": jaeger.query}
    with running_program(tmp_path, exporters={"jaeger": exporter}) as program:
        send(program, spans_request(otlp_span(uuid.uuid4().bytes, 1, 0)))
        assert eventually(lambda: "web page: see to exporters.jaeger.endpoint" in program.log, 60)
        assert skipped(program) == {}


def test_no_telemetry_is_refused_by_a_collector_that_expects_tls(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    required(request, Collector.recipe)
    with Collector(tmp_path / "c", tls=make_certificate(tmp_path)) as collector:
        endpoint = collector.http.replace("https://", "http://")
        with running_program(tmp_path / "p", exporters={"otlp": {"out": {"endpoint": endpoint}}}) as program:
            send(program, spans_request(otlp_span(uuid.uuid4().bytes, 1, 0)))
            assert eventually(lambda: "begin exporters.otlp.out.endpoint with https://" in program.log, 60)
            assert skipped(program) == {}
