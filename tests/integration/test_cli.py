"""The real command line against a real gRPC server whose answers the test chooses."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import grpc
import pytest
import typer
from google.protobuf import json_format
from google.rpc import error_details_pb2
from typer.testing import CliRunner

from agent_tracer.server.cli.lazy import add_lazy_command
from agent_tracer.server.cli.root import build, build_ace
from agent_tracer.v1 import trace_pb2
from tests.integration.cli_server import Server, error_info, refusal, retry_info, run, serving, trace

PROGRAM = str(Path(sys.executable).parent / "agent-tracer")


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    for name in ("AGENT_TRACER_GRPC_URL", "AGENT_TRACER_URL", "COLUMNS", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


def flat_trace(spans: int, failed: int) -> tuple[trace_pb2.Trace, list[trace_pb2.Span]]:
    """A root with many tool calls under it, one of which failed."""
    made = [trace_pb2.Span(span_id="r", name="root", kind="agent", duration=spans)]
    made += [
        trace_pb2.Span(span_id=str(i), name=f"call-{i}", kind="tool", depth=1, duration=1) for i in range(1, spans)
    ]
    made[failed].status = "error"
    made[failed].status_message = "upstream timed out"
    return trace("big", span_count=spans, error_count=1), made


def test_list_shows_the_newest_with_ids_whole(server: Server) -> None:
    server.traces.traces = [
        trace("4bf92f3577b34da6a3ce929d0e0e4736", cost=0.000123),
        trace("b", status="error"),
    ]
    result = run(server, "traces", "list")
    assert result.exit_code == 0
    assert "4bf92f3577b34da6a3ce929d0e0e4736" in result.stdout
    assert "$0.000123" in result.stdout
    assert "✗ error" in result.stdout
    assert "started on 2026-09-21" in result.stdout


def test_list_sends_every_filter(server: Server) -> None:
    arguments = [
        "--limit=7", "--agent-id=a", "--status=error", "--operation=o", "--workflow-id=w", "--session-id=s",
        "--service=v", "--model=m", "--period=30d", "--min-duration=1.5", "--min-cost=0", "--text=t",
        "--attribute=k=v", "--attribute=x=a=b", "--page-token=3",
    ]  # fmt: skip
    assert run(server, "traces", "list", *arguments).exit_code == 0
    assert server.traces.requests == [
        trace_pb2.ListTracesRequest(
            page_size=7, agent_id="a", status="error", operation="o", workflow_id="w",
            session_id="s", service="v", model="m", period="30d", min_duration=1.5, min_cost=0, text="t",
            attributes=["k=v", "x=a=b"], page_token="3",  # noqa: S106 - a place, no secret
        )
    ]  # fmt: skip


def test_list_json_is_the_api_answer_as_one_document(server: Server) -> None:
    server.traces.traces = [trace("a"), trace("b"), trace("c")]
    document = json.loads(run(server, "traces", "list", "--limit=2", "--json").stdout)
    answer = json_format.ParseDict(document, trace_pb2.ListTracesResponse())
    assert answer == trace_pb2.ListTracesResponse(traces=server.traces.traces[:2], next_page_token="2")  # noqa: S106
    # Zero values are there too, as the REST API prints them, so that programs need not guess.
    assert document["traces"][0]["errorCount"] == 0


def test_list_reads_pages_until_the_limit(server: Server) -> None:
    server.traces.traces = [trace(f"t{i}") for i in range(1500)]
    answer = json.loads(run(server, "traces", "list", "--limit=1200", "--json").stdout)
    assert [t["traceId"] for t in answer["traces"]] == [f"t{i}" for i in range(1200)]
    assert [r.page_size for r in server.traces.requests] == [1000, 200]


def test_get_takes_the_id_either_way_and_once(server: Server) -> None:
    server.traces.traces = [trace("trace-1", span_count=1)]
    server.traces.spans = [trace_pb2.Span(name="plan", kind="agent")]
    assert "trace-1" in run(server, "traces", "get", "trace-1").stdout
    assert "trace-1" in run(server, "traces", "get", "--trace-id", "trace-1").stdout
    assert run(server, "traces", "get").exit_code == 2
    assert run(server, "traces", "get", "a", "--trace-id", "b").exit_code == 2


def test_get_collapses_a_long_trace_but_shows_its_error(server: Server) -> None:
    big, server.traces.spans = flat_trace(spans=2500, failed=2400)
    server.traces.traces = [big]
    result = run(server, "traces", "get", "big", "--max-spans=50")
    assert result.exit_code == 0
    assert "upstream timed out" in result.stdout
    assert "call-2400" in result.stdout
    assert len(result.stdout.splitlines()) < 75
    hidden = [
        int(line.split("…")[1].split()[0].replace(",", ""))
        for line in result.stdout.splitlines()
        if "more span" in line
    ]
    assert sum(hidden) == 2500 - 50


def test_get_json_is_the_trace(server: Server) -> None:
    server.traces.traces = [trace("a", span_count=1)]
    server.traces.spans = [trace_pb2.Span(name="\x1b[31mred", kind="llm")]
    result = run(server, "traces", "get", "a", "--json")
    assert "\x1b" not in result.stdout
    assert json.loads(result.stdout)["spans"][0]["name"] == "\x1b[31mred"


def test_tail_json_is_one_trace_a_line(server: Server) -> None:
    server.traces.traces = [trace("a"), trace("b")]
    result = run(server, "traces", "tail", "--json", "--status=success")
    assert [json.loads(line)["traceId"] for line in result.stdout.splitlines()] == ["a", "b"]
    assert server.traces.requests == [trace_pb2.WatchTracesRequest(status="success")]


def test_aggregate_and_agents_are_tables(server: Server) -> None:
    server.traces.rows = [
        trace_pb2.AggregateRow(group={"model": "gpt-4o"}, count=4, error_count=1, duration_p95=125_000, cost=1.5)
    ]
    server.traces.agents = [trace_pb2.Agent(agent_id="planner", trace_count=3, cost=0.25)]
    table = run(server, "traces", "aggregate", "--group-by=model").stdout
    assert "gpt-4o" in table
    assert "1 (25.0%)" in table
    assert "2 m 5 s" in table
    assert "planner" in run(server, "agents", "list").stdout


def test_delete_asks_first_and_deletes_on_yes(server: Server) -> None:
    assert run(server, "traces", "delete", "a", stdin="").exit_code == 2
    assert server.traces.requests == []
    assert run(server, "traces", "delete", "a", "--yes").exit_code == 0
    assert server.traces.requests == [trace_pb2.DeleteTraceRequest(trace_id="a")]


def test_a_refusal_says_code_message_and_field_and_exits_1(server: Server) -> None:
    violation = error_details_pb2.BadRequest.FieldViolation(field="period", description="is no period")
    bad = error_details_pb2.BadRequest(field_violations=[violation])
    server.traces.refusals = [
        refusal(grpc.StatusCode.INVALID_ARGUMENT, "period is \x1b[2Jno period", error_info("INVALID_FIELD"), bad)
    ]
    result = run(server, "traces", "list", "--period=soon")
    assert result.exit_code == 1
    assert "INVALID_ARGUMENT: period is \\x1b[2Jno period" in result.stderr
    assert "field period: is no period" in result.stderr


def test_a_server_that_says_its_store_is_down_was_reached(server: Server) -> None:
    server.traces.refusals = [
        refusal(grpc.StatusCode.UNAVAILABLE, "the store is down", error_info("BACKEND_DOWN"), retry_info(1500))
    ]
    result = run(server, "traces", "list")
    assert result.exit_code == 1
    assert "try again in 1.5 s" in result.stderr


def test_nobody_there_exits_3_and_says_where_and_what_to_do() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{taken.getsockname()[1]}"
        result = CliRunner().invoke(build(), ["traces", "list", "--endpoint", endpoint])
    assert result.exit_code == 3
    assert endpoint in result.stderr
    assert "agent-tracer start" in result.stderr
    assert "AGENT_TRACER_GRPC_URL" in result.stderr


@pytest.mark.parametrize("endpoint", ["localhost", "1.2.3.4:5:6", "https://x:1", "[red]:1 2", ""])
def test_an_endpoint_that_is_none_is_wrong_usage(endpoint: str) -> None:
    result = CliRunner().invoke(build(), ["traces", "list", "--endpoint", endpoint or " "])
    assert result.exit_code == 2


def test_config_check_tells_every_problem(tmp_path: Path) -> None:
    file = tmp_path / "tracer.yaml"
    file.write_text("tracer: {prot: 3007}\nmetrics: {prometheus: {port: many}}\n")
    result = CliRunner().invoke(build(), ["config", "check", str(file)])
    assert result.exit_code == 1
    assert "tracer.prot" in result.stderr
    assert "metrics.prometheus.port" in result.stderr
    file.write_text("tracer: {port: 4007}\n")
    assert CliRunner().invoke(build(), ["config", "check", str(file)]).exit_code == 0


def test_config_show_masks_secrets(tmp_path: Path) -> None:
    file = tmp_path / "tracer.yaml"
    file.write_text('correlation: {neo4j: {uri: "bolt://localhost:7687", password: hunter2}}\n')
    result = CliRunner().invoke(build(), ["config", "show", "--config", str(file), "--json"])
    assert json.loads(result.stdout)["tracer"]["grpc_port"] == 50051
    assert "hunter2" not in result.output


@pytest.mark.parametrize("as_json", [["--json"], []])
def test_config_show_masks_whatever_a_password_in_an_address_is_made_of(tmp_path: Path, as_json: list[str]) -> None:
    file = tmp_path / "tracer.yaml"
    file.write_text(
        'correlation: {neo4j: {uri: "bolt://me:s3cr@t2@127.0.0.1:7687", password: p}}\n'
        'exporters: {tempo: {endpoint: "http://me:s3cr w0rd@h:4318?s3cret"}}\n'
    )
    result = CliRunner().invoke(build(), ["config", "show", "--config", str(file), *as_json])
    assert "bolt://***@127.0.0.1:7687" in result.stdout
    assert "http://***@h:4318?***" in result.stdout
    assert not re.search("s3cr|t2@|w0rd", result.output)


def program(server: Server, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, *arguments],
        env=os.environ | {"AGENT_TRACER_GRPC_URL": server.endpoint} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_piped_output_has_no_escapes_and_cuts_nothing(server: Server) -> None:
    server.traces.traces = [trace("a", operation="o" * 300, status="error")]
    done = program(server, "traces", "list")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert "o" * 300 in done.stdout


def test_a_terminal_without_unicode_gets_a_tree_all_the_same(server: Server) -> None:
    server.traces.traces = [trace("a", span_count=1)]
    server.traces.spans = [trace_pb2.Span(name="plän", kind="agent")]
    done = program(server, "traces", "get", "a", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "pl\\xe4n" in done.stdout


def test_ctrl_c_ends_a_tail_with_130_and_no_traceback(server: Server) -> None:
    server.traces.traces = [trace("a")]
    with subprocess.Popen(
        # A shell's background job ignores SIGINT, and so would what it starts.
        ["env", "--default-signal=INT", PROGRAM, "traces", "tail", "--json", "--agent-id=endless"],
        env=os.environ | {"AGENT_TRACER_GRPC_URL": server.endpoint},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as tail:
        assert tail.stdout is not None
        assert json.loads(tail.stdout.readline())["traceId"] == "a"
        tail.send_signal(signal.SIGINT)
        try:
            _, errors = tail.communicate(timeout=90)
        finally:
            tail.kill()
    assert tail.returncode == 130
    assert "Traceback" not in errors


def test_a_closed_pipe_is_no_error(server: Server) -> None:
    server.traces.traces = [trace(f"t{i}") for i in range(1000)]
    command = f"{PROGRAM} traces list --limit 1000 --json | head -c 10"
    done = subprocess.run(
        ["sh", "-c", command],
        env=os.environ | {"AGENT_TRACER_GRPC_URL": server.endpoint},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == ""


def test_without_the_servers_packages_the_program_says_what_to_install() -> None:
    code = "import sys; sys.modules['typer'] = None\nfrom agent_tracer.server.cli.main import main\nmain()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "pip install '.[server]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["traces", "--help"],
        ["config", "check", "--help"],
        ["ace", "--help"],
        ["ace", "compare", "--help"],
        ["atlas", "analyze", "--help"],
    ],
)
def test_help_loads_neither_grpc_nor_the_server(arguments: Sequence[str]) -> None:
    code = (
        "import sys\n"
        "from agent_tracer.server.cli.root import build\n"
        f"build()({list(arguments)!r}, standalone_mode=False)\n"
        "heavy = {'grpc', 'rich', 'yaml', 'google.protobuf', 'chdb'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_ace_is_a_program_of_its_own() -> None:
    result = CliRunner().invoke(build_ace(), ["--help"], prog_name="ace")
    assert "start" in result.stdout


def test_a_lazy_command_keeps_its_own_options_help_and_exit_code(tmp_path: Path) -> None:
    app = typer.Typer()
    app.callback()(lambda: None)
    add_lazy_command(app, "look", "agent_tracer.server.cli.config_command:check", "Summary.")
    shown = CliRunner().invoke(app, ["look", "--help"], prog_name="prog")
    assert "Usage: prog look" in shown.stdout
    assert "[FILE]" in shown.stdout
    assert CliRunner().invoke(app, ["look", "--nope"]).exit_code == 2
    file = tmp_path / "tracer.yaml"
    file.write_text("tracer: {port: 4007}\n")
    assert CliRunner().invoke(app, ["look", str(file)]).exit_code == 0


def test_demo_sends_its_spans_and_shows_a_trace(server: Server) -> None:
    pytest.importorskip("openai")
    done = program(server, "demo", "--runs=1")
    assert done.returncode == 0, done.stderr
    assert server.collector.names
    assert "1 run, " in done.stdout
    assert "agent-tracer traces list --session-id demo-" in done.stdout


def test_demo_without_a_server_plays_nothing() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{taken.getsockname()[1]}"
        assert CliRunner().invoke(build(), ["demo", "--endpoint", endpoint]).exit_code == 3
