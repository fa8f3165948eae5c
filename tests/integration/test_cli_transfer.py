"""`traces import` and `traces export` against a real gRPC server."""

import json
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from agent_tracer.v1 import trace_pb2
from tests.integration.cli_server import Server, error_info, otlp_request, refusal, retry_info, run, serving


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


def test_import_sends_files_and_counts(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "spans.pb"
    file.write_bytes(otlp_request("plan", "search").SerializeToString())
    result = run(server, "traces", "import", str(file))
    assert result.exit_code == 0
    assert server.collector.names == ["plan", "search"]
    assert "Accepted 2 spans of 1 file" in result.stderr


def test_import_waits_as_a_full_server_asks_and_loses_nothing(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "spans.pb"
    file.write_bytes(otlp_request("plan").SerializeToString())
    full = refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", error_info("OVERLOADED"), retry_info(20))
    down = refusal(grpc.StatusCode.UNAVAILABLE, "stopping", error_info("BACKEND_DOWN"), retry_info(20))
    server.collector.refusals = [full, down]
    result = run(server, "traces", "import", str(file))
    assert result.exit_code == 0
    assert server.collector.names == ["plan"]
    assert "after 2 retries" in result.stderr


def test_import_tells_what_was_rejected_and_why(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "spans.pb"
    file.write_bytes(otlp_request("plan", "search").SerializeToString())
    server.collector.rejected = 1
    result = run(server, "traces", "import", str(file))
    assert result.exit_code == 1
    assert "Accepted 1 span of 1 file" in result.stderr
    assert "Rejected 1 span: span_id must be 8 bytes" in result.stderr


def test_import_goes_on_after_a_request_that_is_too_large(server: Server, tmp_path: Path) -> None:
    files = [tmp_path / "one.pb", tmp_path / "two.pb"]
    for file in files:
        file.write_bytes(otlp_request(file.stem).SerializeToString())
    server.collector.refusals = [refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "too large", error_info("TOO_LARGE"))]
    result = run(server, "traces", "import", *map(str, files))
    assert result.exit_code == 1
    assert server.collector.names == ["two"]
    assert "Rejected 1 span: too large" in result.stderr


def test_import_names_a_damaged_file_and_takes_the_others(server: Server, tmp_path: Path) -> None:
    bad, good = tmp_path / "bad.json", tmp_path / "good.pb"
    bad.write_text('{"hello": 1}')
    good.write_bytes(otlp_request("plan").SerializeToString())
    result = run(server, "traces", "import", str(bad), str(good))
    assert result.exit_code == 1
    assert "bad.json" in result.stderr
    assert server.collector.names == ["plan"]


@pytest.mark.parametrize("file_format", ["json", "protobuf"])
def test_what_export_writes_import_takes_back(server: Server, tmp_path: Path, file_format: str) -> None:
    file = tmp_path / "out"
    exported = run(server, "traces", "export", "--output", str(file), "--format", file_format, "--period=7d")
    assert exported.exit_code == 0
    assert "Exported 3 spans" in exported.stderr
    assert server.traces.requests == [trace_pb2.ExportTracesRequest(period="7d")]
    assert run(server, "traces", "import", str(file)).exit_code == 0
    assert server.collector.names == ["plan", "search", "write"]


def test_export_that_is_refused_leaves_the_old_file_alone(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    file.write_text("old")
    server.traces.refusals = [
        refusal(grpc.StatusCode.NOT_FOUND, "no trace 'x' is stored", error_info("TRACE_NOT_FOUND"))
    ]
    result = run(server, "traces", "export", "--output", str(file), "--trace-id=x")
    assert result.exit_code == 1
    assert "NOT_FOUND: no trace 'x' is stored" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]
    assert file.read_text() == "old"


def test_export_to_standard_output_is_only_otlp(server: Server) -> None:
    result = run(server, "traces", "export", "--trace-id=x")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [list(line) for line in lines] == [["resourceSpans"], ["resourceSpans"]]
