"""What caused an incident, over the real store: a shop whose payments fail, a quiet one, agents whose calls fail."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from agent_tracer.server import limits
from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.adapters.clickhouse.incidents import ClickHouseIncidents
from agent_tracer.server.adapters.clickhouse.settle import ClickHouseSettler
from agent_tracer.server.adapters.clickhouse.store import ClickHouseStore
from agent_tracer.server.adapters.clickhouse.telemetry.span_errors import ClickHouseSpanFailures
from agent_tracer.server.adapters.clickhouse.telemetry.window import ClickHouseTelemetry
from agent_tracer.server.domain.errors import IncidentNotFoundError, InvalidFieldsError
from agent_tracer.server.domain.graph.records import GraphFact, NodeKind
from agent_tracer.server.domain.ids import TenantId, TraceId
from agent_tracer.server.domain.incidents import Incident, IncidentSource, IncidentStatus
from agent_tracer.server.domain.rca.analysis import Analysis
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.ports.settling import ReceivedRange
from agent_tracer.server.services.incident_graph import IncidentGraph
from agent_tracer.server.services.root_causes import RootCauseRequest, RootCauses
from tests.e2e.otlp import otlp_span, spans_request
from tests.fixtures.engine import load
from tests.fixtures.shop import MINUTE_NS, Shop

END_NS = 1_790_000_040 * 10**9


class Setting:
    def __init__(self, engine: Engine, tenant: TenantId) -> None:
        self.engine, self.tenant = engine, tenant
        self.incidents = ClickHouseIncidents(engine)
        self.waited = 0
        self.waits_for: asyncio.Event | None = None
        self.facts: list[GraphFact] = []

    async def caught_up(self) -> None:
        self.waited += 1
        if self.waits_for is not None:
            await self.waits_for.wait()

    async def kept(self, facts: Sequence[GraphFact]) -> None:
        self.facts += facts

    async def analyze(self, *asked: Incident, window: str = "", depth: int = 0) -> Analysis:
        """Of the last incident."""
        await self.incidents.keep(self.tenant, asked)
        service = RootCauses(
            telemetry=ClickHouseTelemetry(self.engine),
            failures=ClickHouseSpanFailures(self.engine),
            incidents=self.incidents,
            reader=ClickHouseStore(self.engine),
            graph=IncidentGraph(self.kept),
            catch_up=self.caught_up,
            clock_ns=lambda: END_NS,
        )
        incident_id = asked[-1].incident_id if asked else "i-1"
        return await service.analyze(self.tenant, RootCauseRequest(incident_id, window, depth))

    async def put(self, shop: Shop) -> None:
        for signal, requests in (
            (Signal.TRACES, list(shop.spans())),
            (Signal.METRICS, [shop.metrics()]),
            (Signal.LOGS, [shop.logs()]),
        ):
            await load(self.engine, self.tenant, signal, [request.SerializeToString() for request in requests])

    async def put_settled(self, payload: bytes) -> None:
        began_ns = time.time_ns()
        await load(self.engine, self.tenant, Signal.TRACES, [payload])
        await ClickHouseSettler(self.engine).settle(ReceivedRange(began_ns, time.time_ns()))


@pytest.fixture
def setting(engine: Engine, tenant: TenantId) -> Setting:
    return Setting(engine, tenant)


def alert(start_ns: int, service: str = "frontend", **fields: object) -> Incident:
    made = Incident(
        "i-1", "Requests of the frontend fail", IncidentStatus.OPEN, "", service, start_ns, None, IncidentSource.API
    )
    return replace(made, **fields)  # type: ignore[arg-type]


async def test_the_failing_service_is_found_behind_the_alerting_one(setting: Setting) -> None:
    shop = Shop(END_NS, fault=True)
    await setting.put(shop)
    found = await setting.analyze(alert(shop.fault_ns + MINUTE_NS))
    assert found.root_cause is not None, found.abstained_reason
    assert found.root_cause.component == "payment"
    assert found.affected_services == ["frontend"]
    assert any("payment" in line for line in found.causal_chain)
    assert found.causal_chain[-1].endswith("frontend: alert on Requests of the frontend fail")
    assert all("payment" in advice or "statement" in advice for advice in found.recommendations)
    times = [each.time_ns for each in found.evidence if each.component == "payment" and each.time_ns]
    assert times
    assert all(abs(time - shop.fault_ns) < 16 * MINUTE_NS for time in times)
    assert setting.waited == 1
    assert [(fact.node.kind, fact.about.id) for fact in setting.facts] == [
        (NodeKind.INCIDENT, "frontend"),
        (NodeKind.CAUSE, "payment"),
    ]


async def test_the_same_question_has_the_same_answer(setting: Setting) -> None:
    shop = Shop(END_NS, fault=True)
    await setting.put(shop)
    incident = alert(shop.fault_ns + MINUTE_NS)
    assert await setting.analyze(incident) == await setting.analyze(incident)


async def test_a_server_that_is_behind_answers_with_what_it_has_and_says_so(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_tracer.server.limits.RCA_WAIT_SECONDS_MAX", 0.01)
    setting.waits_for = asyncio.Event()
    shop = Shop(END_NS, fault=True)
    await setting.put(shop)
    found = await setting.analyze(alert(shop.fault_ns + MINUTE_NS))
    assert found.root_cause is not None
    assert any("not caught up" in told for told in found.caveats)


async def test_a_quiet_shop_has_no_cause(setting: Setting) -> None:
    shop = Shop(END_NS)
    await setting.put(shop)
    found = await setting.analyze(alert(shop.fault_ns))
    assert found.root_cause is None
    assert found.abstained_reason


async def test_without_a_service_the_first_of_its_traces_tells_where_to_begin(setting: Setting) -> None:
    shop = Shop(END_NS, fault=True)
    await setting.put(shop)
    found = await setting.analyze(alert(shop.fault_ns + MINUTE_NS, "", trace_ids=(TraceId(shop.failed[-1]),)))
    assert "frontend" in found.causal_chain[-1]
    unknown = await setting.analyze(alert(shop.fault_ns + MINUTE_NS, ""))
    assert "the incident names no service: every component was looked at alike" in unknown.caveats
    named = await setting.analyze(alert(shop.fault_ns + MINUTE_NS, "nobody"))
    assert any("'nobody'" in caveat for caveat in named.caveats)


async def test_without_any_telemetry_it_says_so(setting: Setting) -> None:
    found = await setting.analyze(alert(END_NS - 10 * MINUTE_NS))
    assert found.root_cause is None
    assert "no spans of the time were there to look at" in found.caveats


def slow_callee(minutes: Iterable[int], slow_from: int, *, on_the_way: bool) -> list[tuple[str, Span]]:
    """Calls of a gate, six a minute, that waits a second longer for a crane from a minute on, or for the network."""
    spans = []
    for minute in minutes:
        for number in range(6):
            begin, lasted = END_NS + minute * MINUTE_NS + number * 10**10, (1040 if minute >= slow_from else 40) * 10**6
            trace = (minute * 10 + number + 10**6).to_bytes(16, "big")
            for at, (service, kind) in enumerate((("gate", 2), ("gate", 3), ("crane", 2))):
                span = otlp_span(trace, at + 1, at, {}, begin + at * 10**6)
                span.kind = Span.SpanKind.ValueType(kind)
                taken = 40 * 10**6 if on_the_way and service == "crane" else lasted
                span.end_time_unix_nano = begin + taken + (10 - 2 * at) * 10**6
                spans.append((service, span))
    return spans


@pytest.mark.parametrize(("on_the_way", "channel"), [(False, "latency"), (True, "edge")])
async def test_a_fault_begins_where_it_is_seen_though_the_alerting_service_only_waits(
    setting: Setting,
    on_the_way: bool,
    channel: str,
) -> None:
    spans = slow_callee(range(-80, 0), slow_from=-17, on_the_way=on_the_way)
    for service in ("gate", "crane"):
        request = spans_request(*(span for of, span in spans if of == service), service=service)
        await load(setting.engine, setting.tenant, Signal.TRACES, [request.SerializeToString()])
    found = await setting.analyze(alert(END_NS - 5 * MINUTE_NS, "gate", title="The gate is slow"))
    assert found.root_cause is not None, found.abstained_reason
    assert found.root_cause.component == "crane"
    (began,) = {each.time_ns for each in found.evidence if each.component == "crane" and each.channel == channel}
    assert began == END_NS - 17 * MINUTE_NS


def agent_spans(minutes: Iterable[int], message: str, error: str) -> list[Span]:
    """Runs of an agent, one in ten seconds: a planner that calls a model; of those with a message the call fails."""
    spans = []
    for minute in minutes:
        for number in range(6):
            begin = END_NS + minute * MINUTE_NS + number * 10**10
            trace = (minute * 10 + number + 10**6).to_bytes(16, "big")
            root = otlp_span(trace, 1, 0, {"gen_ai.agent.id": "planner"}, begin)
            call = otlp_span(
                trace, 2, 1, {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m-1"}, begin + 1000
            )
            if message:
                for span in (root, call):
                    span.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR, message=message if span is call else ""))
                call.attributes.extend(otlp_span(trace, 3, 0, {"error.type": error}).attributes)
            spans += [root, call]
    return spans


@pytest.mark.parametrize(
    ("message", "error", "issue"),
    [
        ("Rate limit exceeded, retry after 20 s", "429", "rate limit"),
        ("This model's maximum context length is 8192 tokens, got 9120", "BadRequest", "model's context"),
        ("recursion limit of 25 reached without a final answer", "GraphRecursionError", "repeats itself"),
    ],
)
async def test_what_failed_spans_say_names_the_fault_of_an_agent(
    setting: Setting, message: str, error: str, issue: str
) -> None:
    quiet, failing = agent_spans(range(-60, -5), "", ""), agent_spans(range(-5, 0), message, error)
    request = spans_request(*quiet, *failing, service="research-agent")
    await load(setting.engine, setting.tenant, Signal.TRACES, [request.SerializeToString()])
    start_ns = END_NS - 5 * MINUTE_NS
    found = await setting.analyze(alert(start_ns, "research-agent", title="Runs of the planner fail"))
    assert found.root_cause is not None, found.abstained_reason
    assert issue in found.root_cause.issue
    assert "research-agent" in " ".join(found.recommendations)


async def test_an_agent_that_alerts_is_looked_at_where_it_runs(setting: Setting) -> None:
    told = ("Rate limit exceeded, retry after 20 s", "429")
    spans = [*agent_spans(range(-60, -5), "", ""), *agent_spans(range(-5, 0), *told)]
    request = spans_request(*spans, service="research-agent")
    await setting.put_settled(request.SerializeToString())
    start_ns = END_NS - 5 * MINUTE_NS
    by_agent = await setting.analyze(alert(start_ns, "planner"))
    assert by_agent == await setting.analyze(alert(start_ns, "research-agent"))
    assert not any("alerting" in caveat for caveat in by_agent.caveats)
    assert by_agent.root_cause is not None
    assert by_agent.root_cause.component == "research-agent"


async def test_an_agent_whose_spans_name_no_service_is_not_called_unknown(setting: Setting) -> None:
    request = spans_request(*agent_spans(range(-60, 0), "", ""), service="")
    await setting.put_settled(request.SerializeToString())
    found = await setting.analyze(alert(END_NS - 5 * MINUTE_NS, "planner"))
    assert any("the alerting agent 'planner' name no service" in caveat for caveat in found.caveats)
    assert not any("nothing of the alerting service" in caveat for caveat in found.caveats)


async def test_an_unknown_incident_is_refused(setting: Setting) -> None:
    with pytest.raises(IncidentNotFoundError, match="i-1"):
        await setting.analyze()


@pytest.mark.parametrize(
    ("window", "depth", "field"),
    [
        ("never", 0, "time_window"),
        ("8d", 0, "time_window"),
        ("30s", 0, "time_window"),
        ("", 11, "depth"),
        ("", -1, "depth"),
    ],
)
async def test_a_limit_is_named_by_its_field(setting: Setting, window: str, depth: int, field: str) -> None:
    with pytest.raises(InvalidFieldsError) as refused:
        await setting.analyze(alert(END_NS), window=window, depth=depth)
    assert [violation.field for violation in refused.value.violations] == [field]
    assert limits.RCA_DEPTH_MAX == 10
