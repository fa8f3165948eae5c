"""Filters of the list of traces, on the embedded engine: what each finds, and that pages neither repeat nor lose."""

import pytest

from agent_tracer.server.adapters.clickhouse import traces as listing
from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.adapters.clickhouse.traces import list_traces
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.domain.telemetry import TraceFilter
from tests.fixtures.engine import load
from tests.fixtures.trees import Node, agent, call, request

TRACES = 12


def ids(*numbers: int) -> list[str]:
    return [bytes([number]).hex() * 16 for number in numbers]


def spans(number: int) -> list[Node]:
    """Trace n begins n seconds after noon, lasts n seconds and costs n dollars; every third is of another user."""
    trace_id = bytes([number]) * 16
    told = {"user.id": "ann" if number % 3 else "bob", "input.value": f"Where is parcel-{number}, please?"}
    chat = {**call(10, "m1", float(number)), **told}
    return [
        Node(number * 2, start=number, seconds=number, attributes=agent("desk"), trace_id=trace_id),
        Node(number * 2 + 1, number * 2, number, 0.5, attributes=chat, trace_id=trace_id),
    ]


async def found(engine: Engine, tenant: TenantId, where: TraceFilter, limit: int = 100) -> list[str]:
    shown: list[str] = []
    page = await list_traces(engine, tenant, where, limit, None)
    while page.cursor is not None:
        shown += [trace.otel_trace_id.hex() for trace in page.traces]
        page = await list_traces(engine, tenant, where, limit, page.cursor)
    return shown + [trace.otel_trace_id.hex() for trace in page.traces]


@pytest.fixture
async def stored(engine: Engine, tenant: TenantId) -> TenantId:
    """The call twice, then the root, each in a commit of its own, so that no row of `traces` knows a whole trace."""
    for part in (1, 1, 0):
        payloads = [request([spans(number)[part]]) for number in range(1, TRACES + 1)]
        await load(engine, tenant, Signal.TRACES, payloads)
    return tenant


@pytest.mark.parametrize(
    ("where", "numbers"),
    [
        (TraceFilter(), range(TRACES, 0, -1)),
        (TraceFilter(attributes=[("user.id", "bob")]), (12, 9, 6, 3)),
        (TraceFilter(attributes=[("user.id", "bob"), ("service.name", "shop")]), (12, 9, 6, 3)),
        (TraceFilter(attributes=[("user.id", "carl")]), ()),
        (TraceFilter(text="PARCEL 7"), (7,)),
        (TraceFilter(text="parcel", min_cost=10), (12, 11, 10)),
        (TraceFilter(min_duration_ms=11_000), (12, 11)),
        (TraceFilter(model="m1", agent_id="desk", status="success", min_cost=11), (12, 11)),
        (TraceFilter(model="m2", agent_id="desk"), ()),
        (TraceFilter(agent_id="desk", attributes=[("user.id", "ann")], min_duration_ms=8_000), (11, 10, 8)),
    ],
    ids=str,
)
@pytest.mark.parametrize("limit", [1, 3, 100])
async def test_a_filter_finds_its_traces_on_pages_of_any_size(
    engine: Engine, stored: TenantId, where: TraceFilter, numbers: range, limit: int
) -> None:
    assert await found(engine, stored, where, limit) == ids(*numbers)


async def test_words_are_looked_up_in_the_text_index(engine: Engine, stored: TenantId) -> None:
    condition = listing._condition(TraceFilter(text="parcel"))
    of_spans = condition.of_trace.removeprefix("trace_id IN (").removesuffix(")")
    plan = await engine.rows(f"EXPLAIN indexes = 1 {of_spans}", {"tenant": stored, **condition.parameters})
    assert any(b"input_words" in line for (line,) in plan)
