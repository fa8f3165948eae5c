"""The service that takes telemetry in: what it journals, counts and raises."""

import asyncio

import pytest
from google.protobuf.message import Message
from prometheus_client import CollectorRegistry, generate_latest

from agent_tracer.server.adapters.prometheus import PrometheusMetrics
from agent_tracer.server.domain.errors import TooLargeError
from agent_tracer.server.domain.ids import OtelTraceId, TenantId
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.ports.journal import JournalClosedError, JournalFullError, Position
from agent_tracer.server.services.ingest import REJECT_REASONS, ExportOutcome, Ingest, MalformedRequestError
from agent_tracer.server.services.waiting_requests import Waiting
from tests.fixtures.ingesting import waiting_requests
from tests.fixtures.memory_journal import MemoryJournal
from tests.fixtures.otlp_requests import (
    NOW_NS,
    gauge,
    log_record,
    logs_request,
    metrics_request,
    number_point,
    span,
    trace_request,
)

TENANT = TenantId("team-a")


class Setup:
    def __init__(self) -> None:
        self.journal = MemoryJournal()
        self.registry = CollectorRegistry()
        self.metrics = PrometheusMetrics(self.registry)
        self.waiting = waiting_requests()
        self.ingest = Ingest(self.journal, lambda: NOW_NS, self.metrics, self.waiting)

    async def export(self, request: Message, signal: Signal = Signal.TRACES) -> ExportOutcome:
        return await self.ingest.export(signal, TENANT, request.SerializeToString())

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"agent_tracer_{name}_total", labels) or 0

    def assert_balanced(self, signal: str) -> None:
        rejected = sum(self.count("rejected", signal=signal, reason=str(reason)) for reason in REJECT_REASONS)
        assert self.count("received", signal=signal) == self.count("accepted", signal=signal) + rejected


@pytest.fixture
async def setup() -> Setup:
    return Setup()


@pytest.mark.parametrize(
    ("signal", "request_"),
    [
        (Signal.TRACES, trace_request(span(1), span(2))),
        (Signal.LOGS, logs_request(log_record(), log_record())),
        (Signal.METRICS, metrics_request(gauge(number_point(), number_point()))),
    ],
)
async def test_a_sound_request_is_journaled_as_it_came(setup: Setup, signal: Signal, request_: Message) -> None:
    assert await setup.export(request_, signal) == ExportOutcome(2, 0, "")
    (record,) = setup.journal.records
    assert record.payload == request_.SerializeToString()
    assert (record.signal, record.tenant, record.received_ns) == (signal, TENANT, NOW_NS)
    assert setup.count("received", signal=signal.name.lower()) == 2
    assert setup.count("accepted", signal=signal.name.lower()) == 2


async def test_a_record_of_the_servers_own_goes_the_same_road_and_counts(setup: Setup) -> None:
    payload = trace_request(span(1)).SerializeToString()
    end = await setup.ingest.record(TENANT, NOW_NS, payload)
    (record,) = setup.journal.records
    assert (record.payload, record.tenant, record.end) == (payload, TENANT, end)
    assert setup.count("received", signal="traces") == setup.count("accepted", signal="traces") == 1
    assert await setup.waiting.naming(TENANT, OtelTraceId(span(1).trace_id)) == Waiting(1, is_all=True)


async def test_a_refused_record_of_the_servers_own_is_counted_as_rejected(setup: Setup) -> None:
    setup.journal.refuse_with = JournalFullError("full", 2.0)
    with pytest.raises(JournalFullError):
        await setup.ingest.record(TENANT, NOW_NS, trace_request(span(1)).SerializeToString())
    assert setup.count("rejected", signal="traces", reason="journal_full") == 1
    setup.assert_balanced("traces")


async def test_the_answer_waits_for_the_journal(setup: Setup) -> None:
    setup.journal.gate.clear()
    export = asyncio.create_task(setup.export(trace_request(span())))
    await setup.journal.asked.wait()
    assert not export.done()
    setup.journal.gate.set()
    assert (await export).accepted == 1


@pytest.mark.parametrize("request_", [trace_request(), trace_request(span(0))])
async def test_nothing_is_journaled_where_nothing_is_left(setup: Setup, request_: Message) -> None:
    assert (await setup.export(request_)).accepted == 0
    assert setup.journal.records == []
    setup.assert_balanced("traces")


async def test_rejected_spans_are_counted_by_reason(setup: Setup) -> None:
    outcome = await setup.export(trace_request(span(1), span(0), span(0)))
    assert (outcome.accepted, outcome.rejected) == (1, 2)
    assert "2 span_id" in outcome.message
    assert setup.count("rejected", signal="traces", reason="span_id") == 2
    setup.assert_balanced("traces")


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        (JournalFullError("full", 2.0), "journal_full"),
        (JournalClosedError("stopping"), "stopping"),
        (OSError("a fault nobody foresaw"), "fault"),
    ],
)
async def test_what_the_journal_refuses_is_counted_and_raised(setup: Setup, refusal: Exception, reason: str) -> None:
    setup.journal.refuse_with = refusal
    with pytest.raises(type(refusal)) as raised:
        await setup.export(trace_request(span(1), span(2)))
    assert raised.value is refusal
    assert setup.count("rejected", signal="traces", reason=reason) == 2
    setup.assert_balanced("traces")
    setup.journal.refuse_with = None
    assert (await setup.export(trace_request(span(1)))).accepted == 1


async def test_a_caller_that_goes_away_does_not_upset_the_counts(setup: Setup) -> None:
    setup.journal.gate.clear()
    export = asyncio.create_task(setup.export(trace_request(span())))
    await setup.journal.asked.wait()
    export.cancel()
    with pytest.raises(asyncio.CancelledError):
        await export
    setup.journal.gate.set()
    async with asyncio.timeout(60):
        await setup.journal.wait_beyond(Position(0))
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(setup.journal.records) == 1
    assert setup.count("accepted", signal="traces") == 1
    setup.assert_balanced("traces")


async def test_what_cannot_be_read_is_counted_as_a_request(setup: Setup) -> None:
    with pytest.raises(MalformedRequestError):
        await setup.ingest.export(Signal.LOGS, TENANT, b"\xff")
    with pytest.raises(TooLargeError):
        await setup.ingest.export(Signal.LOGS, TENANT, bytes(17 * 1024 * 1024))
    assert setup.count("malformed_requests", signal="logs") == 2
    assert setup.count("received", signal="logs") == 0


async def test_every_series_exists_from_the_start_and_labels_are_bounded(setup: Setup) -> None:
    before = generate_latest(setup.registry).count(b"\n")
    setup.metrics.quarantined(Signal.TRACES, 1)
    await setup.export(trace_request(span(1), span(0)))
    text = generate_latest(setup.registry).decode()
    assert text.count("\n") == before
    assert 'agent_tracer_quarantined_requests_total{signal="traces"} 1.0' in text
