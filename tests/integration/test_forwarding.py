"""The forwarder between the real journal and a backend on a real socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from agent_tracer.server.adapters.export_metrics import ExportCounters, ExportLagCollector
from agent_tracer.server.adapters.exporters.connection import Connection
from agent_tracer.server.adapters.exporters.destination import destination
from agent_tracer.server.adapters.exporters.otlp_http import OtlpHttp
from agent_tracer.server.adapters.journal import FileJournal
from agent_tracer.server.domain.ids import DEFAULT_TENANT
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.ports.journal import Position
from agent_tracer.server.services.forwarding import Forwarder
from tests.fixtures.otlp_requests import log_record, logs_request, span, spans_of, trace_request
from tests.fixtures.sink import Reply, Sink, running_sink

TRACES = frozenset({Signal.TRACES})


class Running:
    """A forwarder at work, its pauses recorded and cut short."""

    def __init__(self, journal: FileJournal, sink: Sink, signals: frozenset[Signal], hold_seconds: float) -> None:
        self.journal = journal
        self.registry = CollectorRegistry()
        self.pauses: list[float] = []
        self.forwarder = Forwarder(
            name="test",
            signals=signals,
            journal=journal,
            reader=journal.reader("exporter-test", required=False),
            target=OtlpHttp(Connection("exporters.test", destination(sink.url, "http/protobuf"))),
            metrics=ExportCounters(self.registry).of("test", signals),
            hold_seconds=hold_seconds,
            chance=lambda: 0.0,
            sleep=self._sleep,
            clock_ns=lambda: 10_000_000_000,
        )
        self.registry.register(ExportLagCollector({"test": lambda: self.forwarder.state}))
        self.task = asyncio.create_task(self.forwarder.run())

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0.005)

    async def append(self, number: int) -> Position:
        return await put(self.journal, number)

    async def passed(self) -> None:
        async with asyncio.timeout(20):
            while self.forwarder.state.lag_bytes:
                await asyncio.sleep(0.005)

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, {"exporter": "test", **labels}) or 0.0

    def counted(self, what: str, **labels: str) -> float:
        return self.metric(f"agent_tracer_exporter_{what}_total", signal="traces", **labels)


async def put(journal: FileJournal, number: int) -> Position:
    payload = trace_request(span(number)).SerializeToString()
    return await journal.append(Signal.TRACES, DEFAULT_TENANT, number, payload)


@asynccontextmanager
async def forwarding(
    folder: Path,
    sink: Sink,
    signals: frozenset[Signal] = TRACES,
    *,
    hold_seconds: float = 0.0,
) -> AsyncIterator[Running]:
    with FileJournal.open(folder) as journal:
        running = Running(journal, sink, signals, hold_seconds)
        try:
            yield running
        finally:
            await journal.aclose()
            running.forwarder.stop()
            done, _ = await asyncio.wait((running.task,), timeout=20)
            assert done
            running.task.result()


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with running_sink() as running:
        yield running


def names(*numbers: int) -> list[str]:
    return [f"span {number}" for number in numbers]


async def test_everything_arrives_in_order_and_the_cursor_follows(tmp_path: Path, sink: Sink) -> None:
    async with forwarding(tmp_path, sink) as running:
        for number in range(1, 31):
            await running.append(number)
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
        async with asyncio.timeout(20):
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
    async with asyncio.timeout(20):
        while not running.forwarder.state.trouble:
            await asyncio.sleep(0.005)
    async with running_sink(port) as back:
        await back.until(lambda: set(names(1, 2)) <= set(back.span_names))
        await running.passed()
        await stack.__aexit__(None, None, None)
    assert back.span_names[-2:] == names(1, 2), "in order"
