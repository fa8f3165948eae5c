"""Parts of builds that need no server: CI variables, what is handed on, exit codes, and where spans would go."""

import os
import signal
import sys

import pytest
from opentelemetry.trace import get_current_span

from agent_tracer.client.buildkit import carrying
from agent_tracer.client.buildkit.ci import pipeline
from agent_tracer.client.buildkit.options import split_command
from agent_tracer.client.buildkit.outcomes import of_exception, of_exit_code, of_status
from agent_tracer.client.buildkit.receivers import receivers
from agent_tracer.client.buildkit.running import Command

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
GITLAB = {
    "GITLAB_CI": "true", "CI_SERVER_URL": "https://gitlab.example", "CI_PROJECT_PATH": "acme/agents", "CI_PIPELINE_ID": "77",
    "CI_PIPELINE_URL": "https://gitlab.example/acme/agents/-/pipelines/77", "CI_JOB_NAME": "test", "CI_JOB_ID": "9",
    "CI_PROJECT_NAME": "agents", "CI_COMMIT_SHA": "beef", "CI_COMMIT_REF_NAME": "main", "CI_COMMIT_TAG": "",
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("OTEL_", "AGENT_TRACER", "TRACE", "PHOENIX_", "GITHUB_", "CI_", "GITLAB_")):
            monkeypatch.delenv(name)


def test_gitlab_says_what_the_conventions_ask() -> None:
    found = pipeline(GITLAB)
    assert found.attributes["cicd.pipeline.name"] == "acme/agents"
    assert found.attributes["cicd.pipeline.task.run.id"] == "9"
    assert found.attributes["vcs.ref.head.type"] == "branch"
    assert "vcs.change.id" not in found.attributes, "no merge request"


def test_a_pipelines_trace_is_the_same_in_each_job_and_another_in_each_run() -> None:
    of = [pipeline({**GITLAB, **more}).trace_id for more in ({}, {"CI_JOB_ID": "10"}, {"CI_PIPELINE_ID": "78"})]
    assert of[0] == of[1] != of[2]
    assert of[0] is not None
    assert 0 < of[0] < 2**128
    assert pipeline({}).trace_id is None
    assert pipeline({"GITLAB_CI": "true"}).trace_id is None, "without a run there is no telling runs apart"


def test_a_job_is_what_its_end_reads_of_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEPARENT", TRACEPARENT)
    monkeypatch.setenv("TRACESTATE", "vendor=1")
    started = carrying.start_job("release", "writer", "v1", 5, None)
    variables = started.variables()
    assert variables["TRACEPARENT"].startswith("00-4bf92f3577b34da6a3ce929d0e0e4736-")
    assert variables["TRACESTATE"] == "vendor=1"
    assert carrying.started_job(variables) == started
    over = get_current_span(started.parent).get_span_context()
    assert format(over.span_id, "016x") == "00f067aa0ba902b7"
    ids = started.ids
    assert format(ids.generate_span_id(), "016x") == started.span_id
    assert format(ids.generate_span_id(), "016x") != started.span_id


@pytest.mark.parametrize("held", ["", "%%%", "bm8=", "e30=", "eyJuYW1lIjogMX0="])
def test_what_is_no_job_is_none(held: str) -> None:
    assert carrying.started_job({carrying.JOB: held}) is None


@pytest.mark.parametrize(
    "text", ["", "garbage", "00-0-0-01", f"{TRACEPARENT}-x", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"]
)
def test_a_traceparent_that_is_none_starts_a_trace(text: str) -> None:
    assert not get_current_span(carrying.parent({"TRACEPARENT": text})).get_span_context().is_valid


def test_a_child_is_told_where_to_send_only_where_we_were(monkeypatch: pytest.MonkeyPatch) -> None:
    span = get_current_span(carrying.parent({"TRACEPARENT": TRACEPARENT}))
    assert carrying.child_environment(span, {"A": "b", "TRACESTATE": "old=1"}) == {"A": "b", "TRACEPARENT": TRACEPARENT}
    monkeypatch.setenv("AGENT_TRACER_URL", "http://tracer:3007/")
    monkeypatch.setenv("AGENT_TRACER_API_KEY", "k y")
    child = carrying.child_environment(span, dict(os.environ))
    assert child["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://tracer:3007"
    assert child["OTEL_EXPORTER_OTLP_PROTOCOL"] == "http/protobuf"
    assert child["OTEL_EXPORTER_OTLP_HEADERS"] == "authorization=Bearer%20k%20y"
    own = carrying.child_environment(span, {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://own:4318"})
    assert own["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://own:4318"
    assert "OTEL_EXPORTER_OTLP_HEADERS" not in own, "a key is not for somebody else's collector"


@pytest.mark.parametrize(
    ("environment", "urls"),
    [
        ({}, ["http://127.0.0.1:4318/v1/traces"]),
        ({"AGENT_TRACER_URL": "http://a:3007"}, ["http://a:3007/v1/traces"]),
        (
            {"AGENT_TRACER_URL": "http://a:3007", "PHOENIX_COLLECTOR_ENDPOINT": "http://localhost:6006"},
            ["http://a:3007/v1/traces", "http://localhost:6006/v1/traces"],
        ),
        ({"PHOENIX_COLLECTOR_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, ["http://127.0.0.1:4318/v1/traces"]),
        ({"AGENT_TRACER_URL": "http://a b", "PHOENIX_COLLECTOR_ENDPOINT": "http://p:1"}, ["http://p:1/v1/traces"]),
    ],
)
def test_receivers_are_those_of_the_environment_each_once(
    environment: dict[str, str], urls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert [receiver.traces_url for receiver in receivers()] == urls


def test_phoenix_gets_its_own_key_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_TRACER_API_KEY", "ours")
    monkeypatch.setenv("PHOENIX_COLLECTOR_ENDPOINT", "http://p:6006")
    assert [r.headers for r in receivers()] == [{"authorization": "Bearer ours"}, {}]
    monkeypatch.setenv("PHOENIX_API_KEY", "theirs")
    assert receivers()[1].headers == {"authorization": "Bearer theirs"}


def test_nothing_is_sent_where_traces_are_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_TRACER_URL", "http://a:3007")
    assert len(receivers()) == 1
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", " None")
    assert receivers() == []


def test_a_user_in_an_address_is_handed_on_as_a_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_TRACER_URL", "grpc://me:hush@a:4317")
    monkeypatch.setenv("PHOENIX_COLLECTOR_ENDPOINT", "http://me:hush@p:6006")
    monkeypatch.setenv("PHOENIX_API_KEY", "theirs")
    basic = {"authorization": "Basic bWU6aHVzaA=="}
    assert [(r.url, r.headers) for r in receivers()] == [("http://a:4317", basic), ("http://p:6006", basic)]
    child = carrying.child_environment(get_current_span(), dict(os.environ))
    assert child["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://a:4317"
    assert child["OTEL_EXPORTER_OTLP_HEADERS"] == "authorization=Basic%20bWU6aHVzaA%3D%3D"


@pytest.mark.parametrize(
    ("code", "result", "error_type"),
    [
        (0, "success", ""), (1, "failure", "1"), (124, "timeout", "timeout"), (127, "error", "127"),
        (130, "cancellation", "SIGINT"), (143, "cancellation", "SIGTERM"), (137, "failure", "SIGKILL"), (255, "failure", "255"),
    ],
)  # fmt: skip
def test_exit_codes_are_told_in_the_conventions_words(code: int, result: str, error_type: str) -> None:
    outcome = of_exit_code(code)
    assert (outcome.result, outcome.error_type, outcome.exit_code) == (result, error_type, code)


def test_exceptions_and_words_are_outcomes_too() -> None:
    assert of_exception(SystemExit(3)).exit_code == 3
    assert not of_exception(SystemExit(None)).is_failure
    assert of_exception(SystemExit("why")).exit_code == 1
    assert of_exception(TimeoutError()).result == "timeout"
    assert of_exception(KeyboardInterrupt()).result == "cancellation"
    assert of_status("Cancelled").result == "cancellation"
    with pytest.raises(ValueError, match="'fine' is none of success"):
        of_status("fine")


def test_a_command_that_a_signal_ended_is_told_as_a_shell_does() -> None:
    kill = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
    assert Command(kill).run(os.environ, forward_signals=True) == 128 + signal.SIGKILL
    assert Command(["no-such-program"]).run(os.environ) == 127


def test_handlers_are_as_they_were_after_a_command() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    Command(["true"]).run(os.environ, forward_signals=True)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)] == before


def test_only_the_first_two_dashes_are_ours() -> None:
    assert split_command(["run", "--", "a", "--", "b"]) == (["run"], ["a", "--", "b"])
    assert split_command(["run"]) == (["run"], [])
