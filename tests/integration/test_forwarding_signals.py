"""A backend that lacks one of the signals that it is sent, and one that is not there where it is looked for."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from agent_tracer.server.domain.ids import DEFAULT_TENANT
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.ports.export import SKIP_REASONS
from tests.fixtures.forwarding import Running, forwarding, names
from tests.fixtures.otlp_requests import log_record, logs_request
from tests.fixtures.sink import Reply, Sink, running_sink

BOTH = frozenset({Signal.TRACES, Signal.LOGS})
ONE_LOG = logs_request(log_record("a")).SerializeToString()
MANY = 30
"""Requests that are more than a passing trouble takes."""


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with running_sink() as running:
        yield running


@pytest.fixture
def _asked_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent_tracer.server.services.forwarding_signals.EXPORT_ASK_AGAIN_SECONDS", 0.0)


async def log(running: Running) -> None:
    await running.journal.append(Signal.LOGS, DEFAULT_TENANT, 1, ONE_LOG)


def skipped(running: Running) -> dict[str, float]:
    """Of each signal, for whatever reason."""
    return {
        signal: sum(running.counted("skipped", signal, reason=reason) for reason in SKIP_REASONS)
        for signal in ("traces", "logs")
    }


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
async def test_what_a_backend_lacks_is_left_out_and_counted_and_the_rest_goes_on(
    tmp_path: Path, sink: Sink, protocol: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sink.lacks = {Signal.LOGS}
    async with forwarding(tmp_path, sink, BOTH, protocol=protocol) as running:
        await log(running)
        await running.passed()
        asked = len(sink.seen)
        for number in range(1, 6):
            await running.append(number)
            await running.passed()
            await log(running)
            await running.passed()
        assert skipped(running) == {"traces": 0, "logs": 6}
        assert running.counted("skipped", "logs", reason="unsupported") == 6
        assert running.counted("sent") == 5
        assert len(sink.seen) - asked == 5, "it is not asked about each request"
        state = running.forwarder.state
        assert state.trouble == ""
        assert "take logs out of exporters.test.signals" in state.notice
        assert b'agent_tracer_exporter_up{exporter="test"} 1.0' in generate_latest(running.registry)
    assert sink.span_names == names(1, 2, 3, 4, 5)
    told = capsys.readouterr().out
    assert told.count("exporters.test.signals") == 1
    assert "takes nothing" not in told


@pytest.mark.usefixtures("_asked_each_time")
async def test_a_backend_that_learns_a_signal_gets_it_from_then_on(
    tmp_path: Path, sink: Sink, capsys: pytest.CaptureFixture[str]
) -> None:
    sink.lacks = {Signal.LOGS}
    async with forwarding(tmp_path, sink, BOTH) as running:
        for _ in range(3):
            await log(running)
            await running.passed()
        sink.lacks = set()
        await log(running)
        await running.passed()
        assert (skipped(running)["logs"], running.counted("sent", "logs")) == (3, 1)
        assert running.forwarder.state.notice == ""
    assert sink.taken == [(Signal.LOGS, ONE_LOG)]
    told = capsys.readouterr().out
    assert (told.count("lacks a signal"), told.count("takes a signal that it lacked")) == (1, 1)


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
async def test_a_wrong_address_takes_no_signal_and_costs_none(tmp_path: Path, sink: Sink, protocol: str) -> None:
    sink.lacks = set(Signal)
    async with forwarding(tmp_path, sink, BOTH, protocol=protocol) as running:
        await log(running)
        await running.append(1)
        await sink.until(lambda: len(sink.seen) > MANY)
        assert "see to exporters.test.endpoint" in running.forwarder.state.trouble
        assert running.forwarder.state.notice == ""
        sink.lacks = set()
        await running.passed()
        assert skipped(running) == {"traces": 0, "logs": 0}
    assert {signal for signal, _ in sink.taken} == BOTH


async def test_the_only_signal_of_an_exporter_is_waited_for(tmp_path: Path, sink: Sink) -> None:
    sink.lacks = {Signal.TRACES}
    async with forwarding(tmp_path, sink) as running:
        await running.append(1)
        await sink.until(lambda: len(sink.seen) > MANY)
        sink.lacks = set()
        await running.passed()
        assert skipped(running)["traces"] == 0
    assert sink.span_names == names(1)


async def test_a_path_that_is_missing_for_a_moment_costs_nothing(tmp_path: Path, sink: Sink) -> None:
    sink.replies.extend([Reply(404), Reply(), Reply(404), Reply()])
    async with forwarding(tmp_path, sink, BOTH) as running:
        await log(running)
        await running.passed()
        assert skipped(running)["logs"] == 0
    assert sink.taken == [(Signal.LOGS, ONE_LOG)]


async def test_while_the_other_signal_is_not_taken_either_nothing_is_known(tmp_path: Path, sink: Sink) -> None:
    sink.lacks = {Signal.LOGS}
    sink.rule = lambda _: Reply(503)
    async with forwarding(tmp_path, sink, BOTH) as running:
        await log(running)
        await sink.until(lambda: len(sink.seen) > MANY)
        assert "HTTP 503" in running.forwarder.state.trouble
        sink.lacks, sink.rule = set(), lambda _: Reply()
        await running.passed()
        assert skipped(running)["logs"] == 0
    assert sink.taken == [(Signal.LOGS, ONE_LOG)]


@pytest.mark.parametrize("status", [400, 500])
async def test_a_backend_that_does_not_like_empty_requests_is_there_all_the_same(
    tmp_path: Path, sink: Sink, status: int
) -> None:
    sink.lacks = {Signal.LOGS}
    sink.rule = lambda body: Reply() if body else Reply(status)
    async with forwarding(tmp_path, sink, BOTH) as running:
        await log(running)
        await running.append(1)
        await running.passed()
        assert skipped(running) == {"traces": 0, "logs": 1}
    assert sink.span_names == names(1)


@pytest.mark.usefixtures("_asked_each_time")
async def test_an_address_that_becomes_wrong_holds_what_was_lacked_too(tmp_path: Path, sink: Sink) -> None:
    sink.lacks = {Signal.LOGS}
    async with forwarding(tmp_path, sink, BOTH) as running:
        await log(running)
        await running.passed()
        sink.lacks = set(Signal)
        await log(running)
        await running.append(1)
        seen = len(sink.seen)
        await sink.until(lambda: len(sink.seen) > seen + MANY)
        assert "see to exporters.test.endpoint" in running.forwarder.state.trouble
        sink.lacks = set()
        await running.passed()
        assert skipped(running) == {"traces": 0, "logs": 1}
    assert sink.span_names == names(1)
    assert (Signal.LOGS, ONE_LOG) in sink.taken


async def test_a_stop_while_it_is_not_certain_loses_nothing(tmp_path: Path, sink: Sink) -> None:
    sink.lacks = {Signal.LOGS}
    async with forwarding(tmp_path, sink, BOTH) as running:
        await log(running)
        await sink.until(lambda: len(sink.seen) == 2)
        sink.gate.clear()
        running.forwarder.stop()
        sink.gate.set()
    assert skipped(running)["logs"] == 0
    sink.lacks = set()
    async with forwarding(tmp_path, sink, BOTH) as running:
        await running.passed()
    assert sink.taken == [(Signal.LOGS, ONE_LOG)]
