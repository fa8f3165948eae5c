"""What belongs with a trace, over the real store: a quiet shop, one with a fault, lone traces."""

import asyncio
import time
from collections.abc import Sequence

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import SeverityNumber
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.adapters.clickhouse.incidents import ClickHouseIncidents
from agent_tracer.server.adapters.clickhouse.related import ClickHouseRelated
from agent_tracer.server.adapters.clickhouse.settle import ClickHouseSettler
from agent_tracer.server.adapters.clickhouse.store import ClickHouseStore
from agent_tracer.server.adapters.clickhouse.telemetry.window import ClickHouseTelemetry
from agent_tracer.server.domain.errors import InvalidFieldsError, TraceNotFoundError
from agent_tracer.server.domain.ids import AgentId, TenantId, TraceId, otel_trace_id
from agent_tracer.server.domain.incidents import Incident, IncidentSource, IncidentStatus
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.domain.telemetry import Evaluation
from agent_tracer.server.domain.trace_records import TraceRecord, checked, record_request
from agent_tracer.server.ports.settling import ReceivedRange
from agent_tracer.server.ports.vectors import VectorsDownError
from agent_tracer.server.services.correlations import Correlated, CorrelationRequest, Correlations
from agent_tracer.server.services.similar_traces import SimilarRequest, SimilarTrace
from tests.e2e.otlp import attribute, otlp_span, spans_request
from tests.fixtures.engine import load
from tests.fixtures.shop import MINUTE_NS, REFUSED, Shop
from tests.unit.test_similar_traces import Loaded

END_NS = 1_790_000_040 * 10**9
ALL = {"include_metrics": True, "include_logs": True, "include_events": True}


class Similar:
    """An index of similar traces that holds nothing, or is down."""

    def __init__(self) -> None:
        self.is_down = False
        self.asked: list[SimilarRequest] = []

    async def find(self, tenant: TenantId, request: SimilarRequest) -> Sequence[SimilarTrace]:
        self.asked.append(request)
        if self.is_down:
            raise VectorsDownError("down")
        return ()


class Setting:
    def __init__(self, engine: Engine, tenant: TenantId) -> None:
        self.engine, self.tenant = engine, tenant
        self.similar = Similar()
        self.incidents = ClickHouseIncidents(engine)
        self.waits_for = asyncio.Event()
        self.waits_for.set()

    async def caught_up(self) -> None:
        await self.waits_for.wait()

    @property
    def service(self) -> Correlations:
        return Correlations(
            telemetry=ClickHouseTelemetry(self.engine),
            reader=ClickHouseStore(self.engine),
            related=ClickHouseRelated(self.engine),
            similar=self.similar,
            incidents=self.incidents,
            loaded=Loaded(),  # type: ignore[arg-type]
            catch_up=self.caught_up,
            clock_ns=lambda: END_NS + 30 * 10**9,
        )

    async def put(self, shop: Shop) -> None:
        started_ns = time.time_ns()
        spans = [request.SerializeToString() for request in shop.spans()]
        await load(self.engine, self.tenant, Signal.TRACES, spans)
        await load(self.engine, self.tenant, Signal.METRICS, [shop.metrics().SerializeToString()])
        await load(self.engine, self.tenant, Signal.LOGS, [shop.logs().SerializeToString()])
        await ClickHouseSettler(self.engine).settle(ReceivedRange(started_ns, time.time_ns()))

    async def record(self, **fields: object) -> str:
        """A lone trace, as CreateTrace makes it."""
        given = {"trace_id": TraceId("trace-abc123"), "agent_id": AgentId("planner"), "operation": "plan"} | fields
        timed = checked(TraceRecord(**given, start_ns=END_NS - MINUTE_NS), END_NS)  # type: ignore[arg-type]
        await load(self.engine, self.tenant, Signal.TRACES, [record_request(timed)])
        return str(given["trace_id"])

    async def find(self, trace_id: str, **more: object) -> Correlated:
        request = CorrelationRequest(trace_id, **{**ALL, **more})  # type: ignore[arg-type]
        return await self.service.find(self.tenant, request)


@pytest.fixture
def setting(engine: Engine, tenant: TenantId) -> Setting:
    return Setting(engine, tenant)


def linked_span(number: int, *, minutes: float = -1, links: Sequence[int] = (), task: str = "") -> Span:
    start_ns = END_NS + round(minutes * MINUTE_NS)
    made = otlp_span(number.to_bytes(16, "big"), 1, 0, {"task.id": task} if task else {}, start_ns)
    made.links.extend(Span.Link(trace_id=other.to_bytes(16, "big"), span_id=bytes(7) + b"\1") for other in links)
    return made


async def test_a_failed_trace_is_told_with_what_changed_around_it(setting: Setting) -> None:
    shop = Shop(END_NS, seed=3, fault=True)
    await setting.put(shop)
    found = await setting.find(shop.failed[1])
    assert {one.name for one in found.metrics} >= {"process.cpu.utilization", "db.pool.in_use"}
    assert {one.component for one in found.metrics if one.name == "db.pool.in_use"} == {"payment"}
    pool = next(one for one in found.metrics if one.name == "db.pool.in_use")
    assert pool.baseline == pytest.approx(8, abs=1)
    assert 0 <= pool.q_value <= 0.05
    assert pool.correlation > 0.5
    assert any(one.message == REFUSED and one.component == "payment" for one in found.logs)
    assert {one.trace_id for one in found.traces} == set(shop.failed) - {shop.failed[1]}
    assert all("ConnectionRefused" in one.reasons[0] for one in found.traces)
    assert any(one.component == "payment" and "d-3-0" in one.name for one in found.events)
    assert found.hint is not None
    assert (found.hint.component, found.hint.type) == ("payment", "connection_pool")
    assert pool.value == pytest.approx(38, abs=3)
    assert found.hint.confidence > 0.6


@pytest.mark.parametrize("minutes", [50, 60])
async def test_a_server_that_is_an_hour_old_finds_a_fault(setting: Setting, minutes: int) -> None:
    shop = Shop(END_NS, seed=4, minutes=minutes, fault=True)
    await setting.put(shop)
    found = await setting.find(shop.failed[2])
    assert "process.cpu.utilization" in {one.name for one in found.metrics}
    assert any(one.message == REFUSED for one in found.logs)
    assert found.traces
    assert any("only large changes can be told" in told for told in found.caveats)


async def test_a_quiet_shop_has_nothing_to_tell_of_a_trace(setting: Setting) -> None:
    shop = Shop(END_NS, seed=5)
    await setting.put(shop)
    found = await setting.find(shop.passed[2])
    assert (found.traces, found.metrics, found.logs, found.events, found.hint) == ([], [], [], [], None)


async def test_where_deploys_come_every_minute_none_is_told(setting: Setting) -> None:
    shop = Shop(END_NS, seed=6, fault=True, deploys=True)
    await setting.put(shop)
    assert (await setting.find(shop.failed[0])).events == []


async def test_a_lone_trace_gets_an_answer_that_says_what_is_missing(setting: Setting) -> None:
    found = await setting.find(await setting.record())
    assert (found.traces, found.metrics, found.logs, found.events, found.hint) == ([], [], [], [], None)
    assert (found.trace.trace_id, found.trace.status) == ("trace-abc123", "success")
    told = " | ".join(found.caveats)
    assert "no metrics were received in the window" in told
    assert "no logs were received in the window" in told
    assert "2 h before" in told


async def test_a_lone_failed_trace_is_guessed_at_from_itself(setting: Setting) -> None:
    trace_id = await setting.record(status="timeout")
    found = await setting.find(trace_id)
    assert found.traces == []
    assert found.hint is not None
    assert found.hint.component == "planner"


async def test_traces_of_one_session_belong_together(setting: Setting) -> None:
    one = await setting.record(trace_id=TraceId("one"), session_id="chat-7")
    await setting.record(trace_id=TraceId("two"), session_id="chat-7")
    await setting.record(trace_id=TraceId("three"), session_id="chat-8")
    found = await setting.find(one)
    assert [(trace.trace_id, trace.reasons) for trace in found.traces] == [("two", ["is of the same session chat-7"])]


async def test_links_and_tasks_tie_traces_whichever_of_them_says_so(setting: Setting) -> None:
    one = linked_span(1, links=[2])
    others = [
        linked_span(2, minutes=-600),
        linked_span(3, links=[1]),
        linked_span(4, task="t-1"),
        linked_span(5, minutes=-600, task="t-1"),
        linked_span(6),
    ]
    one.attributes.append(attribute("task.id", "t-1"))
    request = spans_request(one, *others)
    await load(setting.engine, setting.tenant, Signal.TRACES, [request.SerializeToString()])
    found = await setting.find(one.trace_id.hex())
    assert {int(trace.trace_id, 16): trace.reasons for trace in found.traces} == {
        2: ["a span of the trace links to it"],
        3: ["a span of it links to the trace"],
        4: ["works on the same task t-1"],
    }


async def test_records_of_the_trace_itself_belong_to_it_the_worst_first(setting: Setting) -> None:
    one = linked_span(7)
    await load(setting.engine, setting.tenant, Signal.TRACES, [spans_request(one).SerializeToString()])
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    for severity, text in ((9, "begun"), (17, "refused"), (17, "refused")):
        record = records.add(trace_id=one.trace_id, time_unix_nano=one.start_time_unix_nano)
        record.severity_number = SeverityNumber.ValueType(severity)
        record.body.string_value = text
    await load(setting.engine, setting.tenant, Signal.LOGS, [request.SerializeToString()])
    found = await setting.find(one.trace_id.hex())
    assert [(log.message, log.count, log.correlation) for log in found.logs] == [("refused", 2, 1), ("begun", 1, 1)]


async def test_an_evaluation_of_the_trace_is_an_event_of_it(setting: Setting) -> None:
    trace_id = await setting.record()
    key = otel_trace_id(TraceId(trace_id))
    judged = Evaluation("e-1", TraceId(trace_id), None, "relevance", 0.2, "poor", "", "judge", END_NS)
    await ClickHouseStore(setting.engine).add_evaluation(setting.tenant, key, judged)
    found = await setting.find(trace_id)
    assert [(event.name, event.detail) for event in found.events] == [
        ("evaluation relevance", "score 0.2, poor, by judge")
    ]


async def test_lists_that_were_not_asked_for_stay_empty_and_are_named(setting: Setting) -> None:
    trace_id = await setting.record()
    found = await setting.find(trace_id, include_metrics=False, include_logs=False)
    assert any(told.startswith("metrics, logs: not asked for") for told in found.caveats)


async def test_an_incident_of_its_service_belongs_to_a_trace(setting: Setting) -> None:
    shop = Shop(END_NS, seed=8, fault=True)
    await setting.put(shop)
    started = END_NS - 3 * MINUTE_NS
    incident = Incident(
        "inc-1", "payment fails", IncidentStatus.OPEN, "critical", "payment", started, None, IncidentSource.API
    )
    await setting.incidents.keep(setting.tenant, [incident])
    found = await setting.find(shop.failed[-1], include_metrics=False, include_logs=False)
    assert "incident inc-1" in {event.name for event in found.events}


async def test_without_the_index_of_similar_traces_the_rest_is_answered(setting: Setting) -> None:
    setting.similar.is_down = True
    found = await setting.find(await setting.record(status="error"))
    assert any("similar traces" in told for told in found.caveats)


async def test_a_server_that_is_behind_answers_with_what_it_has_and_says_so(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_tracer.server.services.correlations.CORRELATION_WAIT_SECONDS_MAX", 0.01)
    setting.waits_for = asyncio.Event()
    found = await setting.find(await setting.record())
    assert found.trace.trace_id == "trace-abc123"
    assert any("not caught up" in told for told in found.caveats)


async def test_a_trace_that_nobody_sent_is_not_found(setting: Setting) -> None:
    with pytest.raises(TraceNotFoundError):
        await setting.find("nobody")


@pytest.mark.parametrize("time_window", ["25h", "5 minutes", "0m", "-5m", "forever"])
async def test_a_window_that_is_none_or_too_long_is_refused(setting: Setting, time_window: str) -> None:
    with pytest.raises(InvalidFieldsError) as refused:
        await setting.find("any", time_window=time_window)
    assert [violation.field for violation in refused.value.violations] == ["time_window"]
