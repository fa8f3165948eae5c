"""The forwarder between the real journal and a backend on a real socket."""

import asyncio
import errno
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from agent_tracer.server.adapters.journal import FileJournal
from agent_tracer.server.domain.ids import DEFAULT_TENANT
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.limits import EXPORT_FAILURES_MAX
from agent_tracer.server.ports.export import SKIP_REASONS
from tests.fixtures.forwarding import SECONDS_MAX, forwarding, names, put
from tests.fixtures.otlp_requests import log_record, logs_request, span, spans_of, trace_request
from tests.fixtures.sink import Reply, Sink, running_sink


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with running_sink() as running:
        yield running


async def test_everything_arrives_in_order_and_the_cursor_follows(tmp_path: Path, sink: Sink) -> None:
    async with forwarding(tmp_path, sink) as running:
        sink.gate.clear()
        for number in range(1, 31):
            await running.append(number)
        sink.gate.set()
        await running.passed()
        assert sink.span_names == names(*range(1, 31))
        assert running.counted("sent") == 30
        assert len(sink.taken) < 30, "small requests travel together"
        assert running.metric("agent_tracer_exporter_lag_seconds") == 0
    async with forwarding(tmp_path, sink) as running:
        await running.append(31)
        await running.passed()
    assert sink.span_names == names(*range(1, 32)), "nothing comes again after a restart"


async def test_only_the_wanted_signals_are_sent_and_the_others_hold_nothing_up(tmp_path: Path, sink: Sink) -> None:
    logs = logs_request(log_record("a"), log_record("b")).SerializeToString()
    both = frozenset({Signal.TRACES, Signal.LOGS})
    async with forwarding(tmp_path / "traces", sink) as running:
        await running.journal.append(Signal.LOGS, DEFAULT_TENANT, 1, logs)
        await running.append(1)
        await running.journal.append(Signal.METRICS, DEFAULT_TENANT, 1, b"")
        await running.passed()
    assert [signal for signal, _ in sink.taken] == [Signal.TRACES]
    async with forwarding(tmp_path / "both", sink, both) as running:
        await running.journal.append(Signal.LOGS, DEFAULT_TENANT, 1, logs)
        await running.append(2)
        await running.passed()
        assert running.metric("agent_tracer_exporter_sent_total", signal="logs") == 2
    assert (Signal.LOGS, logs) in sink.taken


async def test_an_outage_costs_retries_and_no_span(
    tmp_path: Path, sink: Sink, capsys: pytest.CaptureFixture[str]
) -> None:
    sink.rule = lambda _: Reply(503)
    async with forwarding(tmp_path, sink) as running:
        for number in range(1, 6):
            await running.append(number)
        await sink.until(lambda: len(sink.seen) > 12)
        state = running.forwarder.state
        assert "503" in state.trouble
        assert state.lag_bytes > 0
        assert state.lag_seconds == pytest.approx(10, abs=0.1), "its oldest request is so old"
        assert b'agent_tracer_exporter_up{exporter="test"} 0.0' in generate_latest(running.registry)
        sink.rule = lambda _: Reply()
        await running.passed()
        assert running.forwarder.state.trouble == ""
        assert running.counted("retries") >= 12
        assert running.counted("sent") == 5
        pauses = [seconds for seconds in running.pauses if seconds >= 0.5]
    assert pauses[:8] == [0.5, 1, 2, 4, 8, 16, 30, 30], "ever rarer, up to a bound"
    assert sink.span_names == names(1, 2, 3, 4, 5)
    told = capsys.readouterr().out
    assert told.count("a backend takes nothing") == 1
    assert told.count("a backend is back") == 1


async def test_the_backends_own_pause_is_kept(tmp_path: Path, sink: Sink) -> None:
    sink.replies.append(Reply(429, retry_seconds=77))
    async with forwarding(tmp_path, sink) as running:
        await running.append(1)
        await running.passed()
    assert 77 in running.pauses
    assert sink.span_names == names(1)


async def test_one_bad_span_is_left_out_and_its_neighbours_arrive(tmp_path: Path, sink: Sink) -> None:
    sink.rule = lambda body: Reply(400 if "span 13" in [s.name for s in spans_of(body)] else 200)
    async with forwarding(tmp_path, sink) as running:
        crowd = trace_request(*(span(number) for number in range(10, 20))).SerializeToString()
        for payload in (trace_request(span(1)).SerializeToString(), crowd, trace_request(span(2)).SerializeToString()):
            await running.journal.append(Signal.TRACES, DEFAULT_TENANT, 1, payload)
        await running.passed()
        assert running.counted("skipped", reason="refused") == 1
        assert running.counted("sent") == 11
    assert sink.span_names == names(1, 10, 11, 12, 14, 15, 16, 17, 18, 19, 2)


async def test_a_request_that_is_too_large_goes_in_pieces(tmp_path: Path, sink: Sink) -> None:
    sink.rule = lambda body: Reply(413 if len(spans_of(body)) > 3 else 200)
    async with forwarding(tmp_path, sink) as running:
        crowd = trace_request(*(span(number) for number in range(1, 21))).SerializeToString()
        await running.journal.append(Signal.TRACES, DEFAULT_TENANT, 1, crowd)
        await running.passed()
        assert running.counted("sent") == 20
        assert running.counted("skipped", reason="refused") == 0
    assert sink.span_names == names(*range(1, 21))


async def test_a_backend_that_refuses_everything_is_asked_a_bounded_number_of_times(
    tmp_path: Path, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_tracer.server.services.forwarding.EXPORT_REFUSALS_MAX", 16)
    sink.rule = lambda _: Reply(400)
    async with forwarding(tmp_path, sink) as running:
        crowd = trace_request(*(span(number) for number in range(1, 101))).SerializeToString()
        await running.journal.append(Signal.TRACES, DEFAULT_TENANT, 1, crowd)
        await running.passed()
        assert running.counted("skipped", reason="refused") == 100
    assert len(sink.seen) <= 32
    assert sink.taken == []


async def test_a_request_that_the_backend_fails_on_every_time_does_not_stand_in_the_way(
    tmp_path: Path, sink: Sink
) -> None:
    sink.rule = lambda body: Reply(500 if "span 3" in [s.name for s in spans_of(body)] else 200)
    async with forwarding(tmp_path, sink) as running:
        for number in range(1, 6):
            await running.append(number)
        await running.passed()
        assert running.counted("skipped", reason="failed") == 1
        assert running.counted("retries") >= 15
    assert sink.span_names == names(1, 2, 4, 5)


@pytest.mark.parametrize("status", [429, 502, 504, 521])
async def test_an_outage_behind_a_proxy_is_never_counted_as_refused_however_long(
    tmp_path: Path, sink: Sink, status: int
) -> None:
    sink.rule = lambda _: Reply(status)
    async with forwarding(tmp_path, sink) as running:
        await running.append(1)
        await sink.until(lambda: len(sink.seen) > 2 * EXPORT_FAILURES_MAX)
        sink.rule = lambda _: Reply()
        await running.passed()
        assert [running.counted("skipped", reason=reason) for reason in SKIP_REASONS] == [0] * len(SKIP_REASONS)
    assert sink.span_names == names(1)


async def test_failures_between_other_answers_are_the_backends_and_not_the_requests(tmp_path: Path, sink: Sink) -> None:
    failing = [Reply(500)] * (EXPORT_FAILURES_MAX - 1)
    sink.replies.extend([*failing, Reply(503), *failing, Reply(503), *failing])
    async with forwarding(tmp_path, sink) as running:
        await running.append(1)
        await running.passed()
        assert running.counted("skipped", reason="failed") == 0
    assert sink.span_names == names(1)


async def test_a_backend_that_fails_on_everything_is_not_told_to_be_back(
    tmp_path: Path, sink: Sink, capsys: pytest.CaptureFixture[str]
) -> None:
    sink.rule = lambda _: Reply(500)
    async with forwarding(tmp_path, sink) as running:
        await running.append(1)
        await running.passed()
        assert running.counted("skipped", reason="failed") == 1
        assert "500" in running.forwarder.state.trouble
    assert "is back" not in capsys.readouterr().out


async def test_a_backend_that_refuses_on_and_on_is_told_once_a_minute(
    tmp_path: Path, sink: Sink, capsys: pytest.CaptureFixture[str]
) -> None:
    sink.rule = lambda _: Reply(400)
    async with forwarding(tmp_path, sink) as running:
        for number in range(1, 6):
            await running.append(number)
            await running.passed()
        assert running.counted("skipped", reason="refused") == 5
    assert capsys.readouterr().out.count("does not take items") == 1


async def test_a_cursor_that_cannot_be_kept_sends_nothing_twice(
    tmp_path: Path, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_tracer.server.services.forwarding_commits.EXPORT_RETRY_SECONDS_MAX", 0.05)
    async with forwarding(tmp_path, sink) as running:
        with monkeypatch.context() as broken:
            broken.setattr("agent_tracer.server.adapters.journal.catalog.save_cursor", _disk_error)
            for number in (1, 2):
                await running.append(number)
                await running.passed()
            assert running.forwarder.state.trouble == ""
        async with asyncio.timeout(SECONDS_MAX):
            while running.forwarder._reader.committed < running.journal.durable_end:
                await asyncio.sleep(0.01)
    assert sink.span_names == names(1, 2)


def _disk_error(*_: object) -> None:
    raise OSError(errno.EIO, "the disk")


async def test_partial_success_is_counted_and_not_sent_again(tmp_path: Path, sink: Sink) -> None:
    sink.replies.append(Reply(body=b"\x0a\x02\x08\x01"))
    async with forwarding(tmp_path, sink) as running:
        payload = trace_request(span(1), span(2)).SerializeToString()
        await running.journal.append(Signal.TRACES, DEFAULT_TENANT, 1, payload)
        await running.passed()
        assert (running.counted("sent"), running.counted("skipped", reason="rejected")) == (1, 1)
    assert len(sink.seen) == 1


async def test_a_stop_sends_what_is_waiting(tmp_path: Path, sink: Sink) -> None:
    async with forwarding(tmp_path, sink) as running:
        await running.append(1)
    assert sink.span_names == names(1)


async def test_a_stop_during_an_outage_ends_at_once_and_the_next_start_sends_it(tmp_path: Path, sink: Sink) -> None:
    sink.rule = lambda _: Reply(503)
    async with forwarding(tmp_path, sink) as running:
        await running.append(1)
        await sink.until(lambda: len(sink.seen) > 2)
    sink.rule = lambda _: Reply()
    async with forwarding(tmp_path, sink) as running:
        await running.passed()
    assert sink.span_names == names(1)


async def test_an_exporter_that_is_new_begins_with_the_oldest_that_is_kept(tmp_path: Path, sink: Sink) -> None:
    with FileJournal.open(tmp_path) as journal:
        journal.reader("loader", required=True)
        for number in range(1, 4):
            await put(journal, number)
    async with forwarding(tmp_path, sink) as running:
        await running.passed()
    assert sink.span_names == names(1, 2, 3)


async def test_one_that_was_off_for_a_while_does_not_hold_disk_meanwhile(tmp_path: Path, sink: Sink) -> None:
    sink.rule = lambda _: Reply(503)
    async with forwarding(tmp_path, sink) as running:
        await running.append(1)
    with FileJournal.open(tmp_path) as journal:
        journal.reader("loader", required=True)
        assert journal.forget_unopened() == ["exporter-test"]


async def test_the_cursor_stays_behind_a_backend_that_holds_things_in_memory(tmp_path: Path, sink: Sink) -> None:
    async with forwarding(tmp_path, sink, hold_seconds=60) as running:
        await running.append(1)
        await running.passed()
        sink.replies.append(Reply(503))
        await running.append(2)
        await running.passed()
        assert sink.span_names == names(1, 2), "busy is not gone: nothing comes twice"
    async with forwarding(tmp_path, sink, hold_seconds=0.1) as running:
        async with asyncio.timeout(SECONDS_MAX):
            while running.forwarder._reader.committed < running.journal.durable_end:
                await asyncio.sleep(0.01)
    assert sink.span_names == names(1, 2, 1, 2)
    async with forwarding(tmp_path, sink, hold_seconds=60) as running:
        await running.append(3)
        await running.passed()
    assert sink.span_names == names(1, 2, 1, 2, 3), "what was committed does not come again"


async def test_a_backend_that_is_killed_gets_again_what_it_may_have_lost(tmp_path: Path) -> None:
    async with running_sink() as killed:
        port = int(killed.url.rpartition(":")[2])
        stack = forwarding(tmp_path, killed, hold_seconds=60)
        running = await stack.__aenter__()
        await running.append(1)
        await running.passed()
    await running.append(2)
    async with asyncio.timeout(SECONDS_MAX):
        while not running.forwarder.state.trouble:
            await asyncio.sleep(0.005)
    async with running_sink(port) as back:
        await back.until(lambda: set(names(1, 2)) <= set(back.span_names))
        await running.passed()
        await stack.__aexit__(None, None, None)
    assert back.span_names[-2:] == names(1, 2), "in order"
