"""`agent-tracer-ci` and its Python twin against the started program: from a CI job to an ACE score."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from agent_tracer.client import buildkit
from agent_tracer.v1 import ace_pb2, trace_pb2
from tests.e2e.talk import TRACES, all_spans, analysed, catch_up, message, rest, stubs, unique
from tests.fixtures.program import Program, free_ports

JUNIT = """<testsuites><testsuite name="s" tests="10">{passed}
<testcase classname="tests.test_api" name="test_slow"><failure type="AssertionError" message="1 != 2">at</failure></testcase>
<testcase classname="tests.test_api" name="test_setup"><error type="OSError" message="no disk"/></testcase>
<testcase classname="tests.test_api" name="test_later"><skipped/></testcase></testsuite></testsuites>""".format(
    passed='<testcase classname="tests.test_api" name="test_ok" time="0.1"/>' * 8
)
COVERAGE_XML = '<coverage lines-valid="100" lines-covered="90" branches-valid="100" branches-covered="60"/>'
COVERAGE_JSON = json.dumps({"totals": {"num_statements": 200, "covered_lines": 190}})
FOREIGN = ("OTEL_", "AGENT_TRACER", "TRACE", "PHOENIX_", "GITHUB_", "GITLAB_", "CI_")


def environment(url: str, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    return {**kept, "AGENT_TRACER_URL": url, **more}


def agent_tracer_ci(
    folder: Path, variables: Mapping[str, str], *arguments: str, input_: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agent_tracer.client.buildkit", *arguments],
        cwd=folder, env=dict(variables), capture_output=True, text=True, input=input_, timeout=180, check=False,
    )  # fmt: skip


def stage(folder: Path, variables: Mapping[str, str], agent: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return agent_tracer_ci(folder, variables, "run", "--agent", agent, "--stage", "test", *arguments)


def writing(**reports: str) -> list[str]:
    """A command that writes reports (`report_xml` is report.xml) and fails, as a test run with failures does."""
    files = {name.replace("_", "."): text for name, text in reports.items()}
    program = f"import pathlib, sys\nfor n, t in {files!r}.items(): pathlib.Path(n).write_text(t)\nsys.exit(1)"
    return ["--", sys.executable, "-c", program]


def spans_of(program: Program, trace_id: str) -> dict[str, trace_pb2.Span]:
    with stubs(program.target) as stub:
        catch_up(stub)
        return {span.name: span for span in all_spans(stub, trace_id)}


def scored(program: Program, agent: str, tasks: int) -> ace_pb2.AgentScore:
    with rest(program, program.ace) as client:
        return analysed(
            lambda: client.post("/api/v1/ace/score", json={"agentId": agent}),
            ace_pb2.AgentScore,
            lambda found: found.sample_size == tasks,
        )


def test_a_ci_job_with_traceparent_becomes_tasks_whose_figures_reach_a_score(program: Program, tmp_path: Path) -> None:
    agent, trace_id, caller = unique("builder"), uuid.uuid4().hex, "00f067aa0ba902b7"
    variables = environment(program.url, TRACEPARENT=f"00-{trace_id}-{caller}-01")
    reports = ["--junit", "report.xml", "--coverage", "coverage.*"]
    command = writing(report_xml=JUNIT, coverage_xml=COVERAGE_XML, coverage_json=COVERAGE_JSON)
    done = stage(tmp_path, variables, agent, *reports, *command)
    assert (done.returncode, done.stderr) == (1, "")
    span = spans_of(program, trace_id)["test"]
    assert (span.parent_span_id, span.agent_id, span.kind, span.status) == (caller, agent, "task", "error")
    attributes = dict(span.attributes.items())
    assert attributes["process.exit.code"] == 1
    assert attributes["metadata.tests_run"] == 10
    assert attributes["metadata.tests_skipped"] == 1
    assert attributes["metadata.coverage"] == pytest.approx(85.0), "340 of 400 lines and branches of both reports"
    assert [(event.name, event.attributes["test.case.name"]) for event in span.events] == [
        ("exception", "test_slow"), ("exception", "test_setup"),
    ]  # fmt: skip
    score = scored(program, agent, 1)
    named = {component.name: component for component in score.components}
    assert score.sample_size == 1
    assert named["coverage"].value == pytest.approx(0.85)
    assert named["tests"].value == pytest.approx(0.8)
    assert {named[name].source for name in ("coverage", "tests")} == {"traces"}
    assert score.quality == pytest.approx((0.85 + 0.8) / 2)
    assert f"{score.quality:.2f}"[1:] in program.run("ace", "score", "--agent-id", agent, "--json").stdout


def test_stages_of_several_processes_are_one_job(program: Program, tmp_path: Path) -> None:
    agent, variables = unique("builder"), environment(program.url)
    started = agent_tracer_ci(
        tmp_path, variables, "job", "start", "--name", "release", "--agent", agent, "--format", "env"
    )
    variables.update((name, value) for name, _, value in (line.partition("=") for line in started.stdout.splitlines()))
    for name in ("lint", "test"):
        code = agent_tracer_ci(tmp_path, variables, "run", "--stage", name, "--", "true").returncode
        assert code == 0
    agent_tracer_ci(tmp_path, variables, "record", "--stage", "publish", "--duration", "1500", "--metadata", "size=3")
    assert agent_tracer_ci(tmp_path, variables, "job", "end", "--status", "failure").stderr == ""
    trace_id, root = variables["TRACEPARENT"].split("-")[1:3]
    spans = spans_of(program, trace_id)
    assert (spans["release"].span_id, spans["release"].parent_span_id, spans["release"].kind) == (root, "", "workflow")
    assert spans["release"].status == "error"
    assert {spans[name].parent_span_id for name in ("lint", "test", "publish")} == {root}
    assert spans["publish"].duration == pytest.approx(1500, abs=1)
    assert scored(program, agent, 3).sample_size == 3, "the job is what the tasks are of, and none itself"
    with rest(program) as client:
        trace = message(client.get(f"{TRACES}/{trace_id}"), trace_pb2.Trace)
    assert (trace.operation, trace.status, trace.workflow_id, list(trace.agents)) == (
        "release",
        "error",
        "release",
        [agent],
    )


def test_what_the_shell_evaluates_is_the_same(tmp_path: Path) -> None:
    started = agent_tracer_ci(tmp_path, environment("http://127.0.0.1:1"), "job", "start", "--name", "it's $(odd)")
    shell = subprocess.run(
        ["sh", "-c", f"{started.stdout}\necho $TRACEPARENT"], capture_output=True, text=True, check=True
    )
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01\n", shell.stdout)


def test_jobs_of_one_pipeline_share_a_trace_without_being_told(program: Program, tmp_path: Path) -> None:
    agent, run = unique("builder"), uuid.uuid4().hex
    github = {
        "GITHUB_ACTIONS": "true", "GITHUB_SERVER_URL": "https://github.example", "GITHUB_REPOSITORY": "acme/agents",
        "GITHUB_RUN_ID": run, "GITHUB_RUN_ATTEMPT": "1", "GITHUB_WORKFLOW": "ci", "GITHUB_SHA": "cafe" * 10,
        "GITHUB_REF": "refs/pull/17/merge", "GITHUB_HEAD_REF": "fix",
    }  # fmt: skip
    for name in ("lint", "test"):
        variables = environment(program.url, **github)
        assert agent_tracer_ci(tmp_path, variables, "run", "--agent", agent, "--stage", name, "--", "true").stderr == ""
    with stubs(program.target) as stub:
        catch_up(stub)
    with rest(program) as client:
        listed = message(client.get(TRACES, params={"agent_id": agent}), trace_pb2.ListTracesResponse)
    assert [trace.span_count for trace in listed.traces] == [2]
    span = spans_of(program, listed.traces[0].trace_id)["lint"]
    attributes = dict(span.attributes.items())
    assert attributes["cicd.pipeline.run.url.full"] == f"https://github.example/acme/agents/actions/runs/{run}"
    assert attributes["vcs.change.id"] == "17"
    assert attributes["gen_ai.agent.version"] == "cafe" * 10
    assert attributes["task.id"] == f"{run}/ci/lint"


def test_a_job_in_python_has_the_same_stages(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = unique("builder")
    for name in [name for name in os.environ if name.startswith(FOREIGN)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AGENT_TRACER_URL", f"grpc://127.0.0.1:{program.otlp_grpc}")
    monkeypatch.chdir(tmp_path)
    with buildkit.job("release", agent_id=agent) as job:
        with job.stage("test") as tests:
            code = tests.run([sys.executable, "-c", f"open('r.xml', 'w').write({JUNIT!r})"])
            tests.junit("r.xml")
            tests.coverage("missing.json")
        with pytest.raises(ValueError, match="unknown flag"), job.stage("build"):
            raise ValueError("unknown flag")
        trace_id = format(tests.span.get_span_context().trace_id, "032x")
    assert code == 0
    spans = spans_of(program, trace_id)
    assert spans["release"].status == spans["build"].status == "error"
    assert dict(spans["test"].attributes.items())["metadata.tests_passed"] == 8
    assert dict(spans["build"].attributes.items())["error.type"] == "ValueError"
    assert {component.name for component in scored(program, agent, 2).components} > {"tests"}


def test_what_the_command_sends_lies_below_its_stage(program: Program, tmp_path: Path) -> None:
    sends = """
import os
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
over = TraceContextTextMapPropagator().extract({"traceparent": os.environ["TRACEPARENT"]})
provider.get_tracer("t").start_span("inner", context=over).end()
print(os.environ["TRACEPARENT"].split("-")[1])
"""
    done = stage(tmp_path, environment(program.url), unique("builder"), "--", sys.executable, "-c", sends)
    spans = spans_of(program, done.stdout.strip())
    assert spans["inner"].parent_span_id == spans["test"].span_id


def test_the_exit_code_is_the_commands_also_without_a_server(tmp_path: Path) -> None:
    closed = f"http://127.0.0.1:{free_ports(1)[0]}"
    codes = {"exit 7": 7, "exit 255": 255, "kill -TERM $$": 143, "kill -KILL $$": 137, "true": 0}
    commands = {("sh", "-c", text): code for text, code in codes.items()} | {("no-such-program",): 127, (".",): 126}

    def run(command: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        return stage(tmp_path, environment(closed), "builder", "--", *command)

    with ThreadPoolExecutor(max_workers=4) as pool:
        ended = list(pool.map(run, commands))
    assert [done.returncode for done in ended] == list(commands.values())
    for done in ended:
        assert f"1 of 1 spans were not taken by {closed}" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_password_in_the_address_is_not_in_the_builds_log(tmp_path: Path) -> None:
    done = stage(tmp_path, environment(f"http://me:s3cret@127.0.0.1:{free_ports(1)[0]}"), "builder", "--", "true")
    assert done.returncode == 0
    assert "taken by http://***@127.0.0.1" in done.stderr
    assert "s3cret" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_reach_the_command_and_its_end_is_told(program: Program, tmp_path: Path, number: int) -> None:
    ready = "import signal, sys, time\nprint('ready', flush=True)\ntime.sleep(300)"
    trace_id = uuid.uuid4().hex
    variables = environment(program.url, TRACEPARENT=f"00-{trace_id}-00f067aa0ba902b7-01")
    arguments = [sys.executable, "-m", "agent_tracer.client.buildkit", "run", "--agent", "a", "--stage", "test", "--"]
    with subprocess.Popen(
        # Whoever runs the tests may have had signals ignored, as `nohup` does, which the command would inherit.
        ["env", "--default-signal", *arguments, "env", "PYTHONUNBUFFERED=1", sys.executable, "-c", f"import signal\nsignal.signal(2, signal.SIG_DFL)\n{ready}"],
        env=variables, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        assert process.wait(120) == 128 + number
    attributes = dict(spans_of(program, trace_id)["test"].attributes.items())
    assert attributes["error.type"] == signal.Signals(number).name


def test_input_and_output_pass_untouched(program: Program, tmp_path: Path) -> None:
    done = agent_tracer_ci(
        tmp_path, environment(program.url), "run", "--agent", "a", "--stage", "s", "--", "sh", "-c", "cat; echo e >&2",
        input_="in\n",
    )  # fmt: skip
    assert (done.stdout, done.stderr, done.returncode) == ("in\n", "e\n", 0)


def test_reports_that_say_nothing_are_warned_of_and_change_nothing(program: Program, tmp_path: Path) -> None:
    trace_id = uuid.uuid4().hex
    variables = environment(program.url, TRACEPARENT=f"00-{trace_id}-00f067aa0ba902b7-01")
    (tmp_path / "old.xml").write_text(JUNIT)
    (tmp_path / "old.json").write_text(COVERAGE_JSON)
    command = ["--", "sh", "-c", "echo '<testsuite>' > torn.xml"]
    reports = ["--junit", "old.xml", "--junit", "torn.xml", "--junit", "*.none", "--coverage", "old.json"]
    done = stage(tmp_path, variables, "builder", *reports, *command)
    assert done.returncode == 0
    assert done.stderr.count("older than this run") == 2
    assert "torn.xml: no well-formed XML" in done.stderr
    assert "*.none: no such report" in done.stderr
    span = spans_of(program, trace_id)["test"]
    assert span.status != "error"
    assert [name for name in span.attributes if name.startswith("metadata.")] == []


class Receiver(BaseHTTPRequestHandler):
    """Takes what Phoenix would."""

    seen: list[tuple[str, str | None, ExportTraceServiceRequest]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.seen.append((self.path, self.headers["authorization"], ExportTraceServiceRequest.FromString(body)))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[ThreadingHTTPServer]:
    Receiver.seen = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_phoenix_gets_the_spans_too_and_not_our_key(
    program: Program, receiver: ThreadingHTTPServer, tmp_path: Path
) -> None:
    agent = unique("builder")
    phoenix = f"http://127.0.0.1:{receiver.server_address[1]}"
    variables = environment(
        program.url, PHOENIX_COLLECTOR_ENDPOINT=phoenix, AGENT_TRACER_API_KEY="secret", PHOENIX_PROJECT_NAME="p1"
    )
    assert stage(tmp_path, variables, agent, "--", "true").stderr == ""
    ((path, authorization, request),) = Receiver.seen
    assert (path, authorization) == ("/v1/traces", None)
    resource = {a.key: a.value.string_value for a in request.resource_spans[0].resource.attributes}
    assert resource["openinference.project.name"] == "p1"
    assert scored(program, agent, 1).sample_size == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "--agent", "a", "--stage", "s"], "the command is missing"),
        (["run", "--stage", "s", "--", "true"], "--agent is missing"),
        (["record", "--agent", "a", "--stage", "s", "--status", "odd"], "'odd' is none of success"),
        (["record", "--agent", "a", "--stage", "s", "--duration", "nan"], "no number of milliseconds"),
        ([], "COMMAND"),
    ],
)
def test_wrong_usage_is_told_before_anything_runs(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = agent_tracer_ci(tmp_path, environment("http://127.0.0.1:1"), *arguments)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize(
    "broken",
    [
        {"AGENT_TRACER_URL": "not an address"}, {"TRACEPARENT": "garbage"}, {"AGENT_TRACER_CI_JOB": "%%%"},
        {"OTEL_BSP_MAX_QUEUE_SIZE": "x", "OTEL_TRACES_SAMPLER": "odd"}, {"OTEL_SDK_DISABLED": "true"},
        {"PHOENIX_COLLECTOR_ENDPOINT": "://"},
    ],
)  # fmt: skip
def test_settings_that_are_wrong_never_cost_the_build(program: Program, tmp_path: Path, broken: dict[str, str]) -> None:
    variables = {**environment(program.url), **broken}
    done = stage(tmp_path, variables, "builder", "--", "sh", "-c", "echo done; exit 3")
    assert (done.returncode, done.stdout) == (3, "done\n")
    assert "Traceback" not in done.stderr
