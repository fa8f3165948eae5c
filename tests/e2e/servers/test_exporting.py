"""The server passes on to a Collector that wants TLS and a token, and that one to a second server: all is the same there."""

import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.otlp import otlp_span, send, spans_request
from tests.e2e.servers.arriving import trace_at
from tests.fixtures.certificates import make_certificate
from tests.fixtures.program import Program, running_program
from tests.fixtures.servers import required
from tests.servers.child import eventually
from tests.servers.otelcol import Collector, to_grpc

pytestmark = pytest.mark.servers
TOKEN = "of-the-tests"  # noqa: S105
WRONG = "nobody-knows-me"


@pytest.fixture(autouse=True)
def _collector(request: pytest.FixtureRequest) -> None:
    required(request, Collector.recipe)


def exporter(collector: Collector, protocol: str, compression: str, ca_file: Path, token: str) -> dict[str, Any]:
    to = f"https://{collector.grpc}" if protocol == "grpc" else collector.http
    return {
        "endpoint": to,
        "protocol": protocol,
        "compression": compression,
        "headers": {"authorization": f"Bearer {token}"},
        "tls": {"ca_file": str(ca_file)},
    }


@pytest.mark.parametrize(("protocol", "compression"), [("grpc", "gzip"), ("http/protobuf", "gzip"), ("grpc", "none")])
def test_spans_go_on_with_tls_and_headers(program: Program, protocol: str, compression: str, tmp_path: Path) -> None:
    certificate, trace_id = make_certificate(tmp_path), uuid.uuid4().bytes
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-4.1-mini",
        "gen_ai.usage.input_tokens": 9,
    }
    with Collector(
        tmp_path / "c", to_grpc(f"127.0.0.1:{program.otlp_grpc}"), tls=certificate, token=TOKEN
    ) as collector:
        out = {"otlp": {"out": exporter(collector, protocol, compression, certificate.ca, TOKEN)}}
        with running_program(tmp_path / "first", exporters=out) as first:
            send(first, spans_request(otlp_span(trace_id, 1, 0), otlp_span(trace_id, 2, 1, attributes)))
            sent, found = trace_at(first, trace_id.hex(), 2), trace_at(program, trace_id.hex(), 2)
    assert sent.usage.total_tokens == 9
    assert found == sent


def test_a_wrong_token_loses_nothing_and_is_told(program: Program, tmp_path: Path) -> None:
    certificate, trace_id = make_certificate(tmp_path), uuid.uuid4().bytes
    with Collector(
        tmp_path / "c", to_grpc(f"127.0.0.1:{program.otlp_grpc}"), tls=certificate, token=TOKEN
    ) as collector:
        settings = exporter(collector, "grpc", "gzip", certificate.ca, WRONG)
        first = Program(tmp_path / "first", {"exporters": {"otlp": {"out": settings}}})
        try:
            first.start()
            send(first, spans_request(otlp_span(trace_id, 1, 0)))
            eventually(lambda: "UNAUTHENTICATED" in first.log.upper(), 90)
            assert first.stop() == 0
        finally:
            if first.process is not None:
                first.kill()
        assert WRONG not in first.log
        out = {"otlp": {"out": exporter(collector, "grpc", "gzip", certificate.ca, TOKEN)}}
        again = Program(tmp_path / "first", {"exporters": out})
        try:
            again.start()
            assert trace_at(program, trace_id.hex(), 1).span_count == 1
        finally:
            if again.process is not None:
                again.kill()
