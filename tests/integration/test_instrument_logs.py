"""Log records that are sent: which, and that what the agent prints of them stays as it is."""

import json

import pytest
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2

from tests.fixtures.agent_process import run_agent
from tests.fixtures.receiving import receiver

SENDING = "import logging, logging.config\nfrom agent_tracer.client.telemetry import instrument\n"
CONFIG = '{"version": 1, "root": {"level": "INFO", "handlers": ["h"]}, "handlers": {"h": {"class": "logging.StreamHandler"}}}'
FILE = (
    "[loggers]\\nkeys=root\\n[handlers]\\nkeys=h\\n[formatters]\\nkeys=\\n"
    "[logger_root]\\nlevel=INFO\\nhandlers=h\\n[handler_h]\\nclass=StreamHandler\\nargs=()\\n"
)
LINES = """
app = logging.getLogger("app")
app.info("an info line"); app.error("an error line")
"""


def sent_by_service(got: list[tuple[str, str, bytes]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for request in (
        logs_service_pb2.ExportLogsServiceRequest.FromString(body) for path, _, body in got if path == "/v1/logs"
    ):
        for group in request.resource_logs:
            (service,) = [each.value.string_value for each in group.resource.attributes if each.key == "service.name"]
            bodies = [record.body.string_value for scope in group.scope_logs for record in scope.log_records]
            found.setdefault(service, []).extend(bodies)
    return found


def sent(got: list[tuple[str, str, bytes]]) -> list[str]:
    return [line for lines in sent_by_service(got).values() for line in lines]


def told(script: str, **environment: str) -> tuple[str, list[str]]:
    """What an agent prints and what it sends."""
    with receiver() as (url, got):
        ended = run_agent(SENDING + script, AGENT_TRACER_URL=url, **environment)
    return ended.out + ended.err, sent(got)


SET_UPS = {
    "nothing": "",
    "by the module": "logging.warning('by the module')",
    "basicConfig": "logging.basicConfig(level=logging.INFO)",
    "basicConfig by force": "logging.basicConfig(level=logging.INFO, force=True)",
    "dictConfig": f"logging.config.dictConfig({CONFIG})",
    "fileConfig": f'logging.config.fileConfig(io.StringIO("{FILE}"))',
    "looked at": "print(logging.root.handlers, logging.root.hasHandlers(), logging.root.level)",
    "silenced": "logging.lastResort = None; logging.raiseExceptions = False",
}
FORKED = """
import io, json, os, sys
import opentelemetry.exporter.otlp.proto.http._log_exporter, opentelemetry.exporter.otlp.proto.http.trace_exporter
import agent_tracer.client.telemetry.instrumentation, agent_tracer.client.telemetry.signals  # once for all

def printed(script):
    read, write = os.pipe()
    if not (child := os.fork()):
        os.dup2(write, 1), os.dup2(write, 2)
        try:
            exec(script, globals())
        finally:
            sys.stdout.flush()
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as out:
        told = out.read()
    os.waitpid(child, 0)
    return told

print(json.dumps({name: printed(script) for name, script in json.loads(os.environ['CASES']).items()}))
"""


def case(set_up: str, *, first: bool, logs: bool) -> str:
    call = f"handle = instrument({set_up!r} + ' {first}', auto=False, logs={logs})"
    lines = [call, SET_UPS[set_up]] if first else [SET_UPS[set_up], call]
    return "\n".join([*lines, LINES, "handle.shutdown()"])


@pytest.fixture(scope="module")
def outcomes() -> tuple[dict[str, str], dict[str, list[str]]]:
    """What agents print, each in a process of its own, and what they send."""
    cases = {
        f"{set_up} {first} {logs}": case(set_up, first=first, logs=logs)
        for set_up in SET_UPS for first in (True, False) for logs in (True, False)
    }  # fmt: skip
    with receiver() as (url, got):
        ended = run_agent(SENDING + FORKED, AGENT_TRACER_URL=url,
                          CASES=json.dumps(cases))  # fmt: skip
    return json.loads(ended.lines[-1]), sent_by_service(got)


@pytest.mark.parametrize("first", [True, False], ids=["instrumented first", "instrumented last"])
@pytest.mark.parametrize("set_up", SET_UPS)
def test_what_an_agent_prints_is_the_same_whether_its_logs_are_sent(
    outcomes: tuple[dict[str, str], dict[str, list[str]]], set_up: str, first: bool
) -> None:
    printed, records = outcomes
    assert printed[f"{set_up} {first} True"] == printed[f"{set_up} {first} False"]
    informed = "Config" in set_up
    expected = ["an info line"] * informed + ["an error line"]
    assert [line for line in records[f"{set_up} {first}"] if line.endswith(" line")] == expected
    assert ("an info line" in printed[f"{set_up} {first} True"]) == informed


def test_logs_that_the_environment_asks_for_are_still_printed() -> None:
    printed, records = told(f"instrument(auto=False){LINES}", OTEL_LOGS_EXPORTER="otlp")
    assert printed == "an error line\n"
    assert records == ["an error line"]


def test_the_level_is_for_what_is_sent_alone() -> None:
    printed, records = told(f"instrument(auto=False, logs=logging.ERROR)\nlogging.warning('warned'){LINES}")
    assert printed == "WARNING:root:warned\nERROR:app:an error line\n"
    assert records == ["an error line"]


def test_a_record_that_does_not_reach_the_root_logger_is_not_sent() -> None:
    script = "instrument(auto=False, logs=True)\nlogging.getLogger('app').propagate = False\nlogging.getLogger('app.x').error('no')"
    assert told(f"{script}\nlogging.getLogger('other').error('yes')")[1] == ["yes"]


def test_loggers_of_what_sends_are_left_out_by_their_dotted_name() -> None:
    ours = ["grpc", "grpc.aio", "urllib3.connectionpool", "opentelemetry.sdk", "agent_tracer.client"]
    others = ["grpc_server", "grpcapp.handlers", "urllib3_pool", "opentelemetry_demo", "agent_tracer.clients"]
    printed, records = told(
        f"instrument(auto=False, logs=True)\nfor name in {ours + others}: logging.getLogger(name).warning(name)"
    )
    assert set(others) < set(printed.split())
    assert records == others


def test_all_is_undone_at_shutdown() -> None:
    script = """
before = logging.Logger.callHandlers
handle = instrument(auto=False, logs=True)
logging.error("sent")
handle.shutdown()
logging.error("not sent")
print(logging.Logger.callHandlers is before)
handle = instrument(auto=False, logs=True)
ours = logging.Logger.callHandlers
logging.Logger.callHandlers = lambda logger, record: ours(logger, record)
handle.shutdown()
logging.error("nor this, where another has hooked in later")
print(handle.dropped_log_records)
"""
    printed, records = told(script)
    assert printed.startswith("True\n0\n")
    assert records == ["sent"]


def test_a_record_that_cannot_be_formatted_is_told_once_and_counted() -> None:
    script = "handle = instrument(auto=False, logs=True)\nlogging.error('%d', 'no number')\nprint(handle.dropped_log_records)"
    printed, records = told(script)
    assert printed.startswith("1\n")
    assert printed.count("--- Logging error ---") == 1
    assert records == []
