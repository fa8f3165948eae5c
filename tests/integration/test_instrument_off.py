"""Set-ups that cannot send: the agent works on, its log has one line, its exit is not held up."""

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.fixtures.agent_process import run_agent
from tests.fixtures.program import free_ports
from tests.fixtures.receiving import receiver

ONE_TRY_SECONDS = 10
"""What the exporter gives a server that does not answer, which an agent's end does not wait for."""

AGENT = """
import logging, time
logging.basicConfig(format="%(name)s %(levelname)s %(message)s")
from agent_tracer.client.telemetry import instrument, agent, tool
handle = instrument("svc", auto=False)
@agent
def work(x):
    with tool("t") as span:
        span.set_output(x)
        return x
assert work(1) == 1
print(handle.enabled, bool(handle.why_off), handle is instrument("other", auto=False))
"""


@pytest.mark.parametrize(
    "environment",
    [
        {"AGENT_TRACER_URL": "not an address"},
        {"AGENT_TRACER_URL": "ftp://127.0.0.1:1"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:99999"},
        {"OTEL_BSP_MAX_QUEUE_SIZE": "-1"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_COMPRESSION": "brotli"},
    ],
    ids=lambda found: next(reversed(found)),
)
def test_a_wrong_setting_turns_telemetry_off_and_is_told_once(environment: dict[str, str]) -> None:
    ended = run_agent(AGENT, **environment)
    assert ended.lines[0].startswith("False True")
    assert len([line for line in ended.err.splitlines() if line.startswith("agent_tracer")]) == 1, ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    "environment",
    [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}],
    ids=lambda found: next(iter(found)),
)
def test_telemetry_that_is_switched_off_says_nothing(environment: dict[str, str]) -> None:
    ended = run_agent(AGENT, **environment)
    assert ended.lines[0].startswith("False True")
    assert ended.err == ""


@pytest.fixture
def silent_server() -> Iterator[int]:
    """Takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        kept: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    kept.append(listener.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        for one in kept:
            one.close()


LOSING = """
import logging, time, sys
logging.basicConfig(level=logging.INFO, format="%(name)s %(levelname)s %(message)s")
from agent_tracer.client.telemetry import instrument, tool
handle = instrument("svc", auto=False)
for i in range(300):
    with tool("t"): pass
began = time.monotonic()
handle.shutdown()
print(handle.dropped_spans, sum(handle.dropped_spans_by_reason.values()), round(time.monotonic() - began, 2))
"""


def test_a_server_that_is_down_costs_a_line_and_a_few_seconds() -> None:
    ended = run_agent(LOSING, AGENT_TRACER_URL=f"http://127.0.0.1:{free_ports(1)[0]}")
    dropped, by_reason, seconds = ended.lines[0].split()
    assert (dropped, by_reason) == ("300", "300")
    assert float(seconds) < ONE_TRY_SECONDS
    (line,) = [line for line in ended.err.splitlines() if line]
    assert "are lost (not taken" in line
    assert "refused" in line.lower()


def test_a_server_that_never_answers_holds_nothing_up(silent_server: int) -> None:
    ended = run_agent(LOSING, AGENT_TRACER_URL=f"http://127.0.0.1:{silent_server}")
    dropped, _, seconds = ended.lines[0].split()
    assert float(seconds) < ONE_TRY_SECONDS
    assert int(dropped) == 300
    assert len(ended.err.splitlines()) == 1, ended.err


def test_a_full_queue_is_counted_and_never_waits(silent_server: int) -> None:
    ended = run_agent(LOSING, AGENT_TRACER_URL=f"http://127.0.0.1:{silent_server}", OTEL_BSP_MAX_QUEUE_SIZE="50",
                      OTEL_BSP_MAX_EXPORT_BATCH_SIZE="10")  # fmt: skip
    assert ended.lines[0].split()[0] == "300"
    assert len(ended.err.splitlines()) == 1
    assert "queue full" in ended.err


def test_importing_the_package_loads_no_exporter() -> None:
    ended = run_agent(
        "import sys, agent_tracer.client.telemetry\n"
        "print([name for name in sys.modules if name.startswith(('grpc', 'requests', 'opentelemetry.sdk', 'phoenix'))])"
    )
    assert ended.lines == ["[]"]


@pytest.mark.parametrize("port", ["{free}", "99999"], ids=["down", "no address"])
def test_a_password_in_the_address_is_not_told(port: str) -> None:
    address = f"http://me:s3cret@127.0.0.1:{port.format(free=free_ports(1)[0])}"
    ended = run_agent(f"{AGENT}\nhandle.flush(3)\nprint(handle.endpoint, handle.why_off)", AGENT_TRACER_URL=address)
    told = ended.out + ended.err
    assert "***@127.0.0.1" in told
    assert "s3cret" not in told


FLUSHING = """
import logging, time
from agent_tracer.client.telemetry import instrument
from opentelemetry import metrics
handle = instrument("svc", auto=False, {signals})
logging.getLogger("app").warning("lost")
metrics.get_meter("m").create_counter("c").add(1)
began = time.monotonic()
print(handle.flush(1), round(time.monotonic() - began, 2))
began = time.monotonic()
handle.shutdown()
print(handle.dropped_log_records, round(time.monotonic() - began, 2))
"""


@pytest.mark.parametrize(
    ("signals", "records"), [("logs=True", "1"), ("metrics=True", "0"), ("logs=True, metrics=True", "1")]
)
def test_flush_keeps_its_time_and_tells_of_what_did_not_get_out(silent_server: int, signals: str, records: str) -> None:
    ended = run_agent(FLUSHING.format(signals=signals), AGENT_TRACER_URL=f"http://127.0.0.1:{silent_server}")
    (sent, seconds), (lost, exit_seconds) = (line.split() for line in ended.lines)
    assert sent == "False"
    assert float(seconds) < 2
    assert lost == records, "what waits at the end is lost, and counted"
    assert float(exit_seconds) < 5


def test_flush_tells_of_what_was_lost_before_it_and_once() -> None:
    script = """
import logging
from agent_tracer.client.telemetry import instrument
handle = instrument("svc", auto=False, logs=True)
logging.getLogger("app").warning("lost")
while not handle.dropped_log_records: pass
print(handle.flush(), handle.flush())
"""
    with receiver(refused="/v1/logs") as (url, _):
        assert run_agent(script, AGENT_TRACER_URL=url, OTEL_BLRP_SCHEDULE_DELAY="10").lines == ["False True"]
