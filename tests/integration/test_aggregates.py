"""What aggregates count, against trees with known answers; sums of hours against single units."""

import time
from collections.abc import Sequence

import pytest

from agent_tracer.server.adapters.clickhouse import aggregates, rollups
from agent_tracer.server.adapters.clickhouse.aggregates import read_agents, read_aggregate
from agent_tracer.server.adapters.clickhouse.deletion import forget_trace
from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.adapters.clickhouse.settle import ClickHouseSettler
from agent_tracer.server.domain.ids import OtelTraceId, TenantId
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.domain.telemetry import Agent, AggregateRow, TimeRange, TokenUsage
from agent_tracer.server.ports.settling import ReceivedRange
from agent_tracer.server.ports.store import AggregateQuery
from tests.fixtures.engine import load
from tests.fixtures.settled import roll_hours_of, settle
from tests.fixtures.trees import NOON_NS, SECOND_NS, SERVER, Node, agent, call, request, tool

DAY = TimeRange(NOON_NS - 12 * 3600 * SECOND_NS, NOON_NS + 12 * 3600 * SECOND_NS)

FIRST = bytes([1]) * 16
SECOND = bytes([2]) * 16
TREES = [
    Node(1, seconds=10, service="web", attributes=agent("planner", task__type="ship", workflow__id="w"), trace_id=FIRST, name="run"),
    Node(2, 1, 1, 2, "web", attributes={**call(10, "m1", 0.25), "gen_ai.usage.output_tokens": 3}, trace_id=FIRST),
    Node(3, 1, 3, 4, "web", attributes=agent("coder"), failed=True, trace_id=FIRST),
    Node(4, 3, 3, 1, "web", attributes=call(20, "m2"), trace_id=FIRST),
    Node(5, 3, 4, 2, "web", attributes=tool("grep"), failed=True, trace_id=FIRST),
    Node(6, 3, 5, 1, "pay", SERVER, attributes=call(40, "m1", 0.5), trace_id=FIRST),
    Node(7, start=7200, seconds=1, service="web", failed=True, attributes={"error.type": "timeout"}, trace_id=SECOND, name="poll"),
    Node(8, 7, 7200, 1, "web", attributes=call(5, "m1", 0.125), trace_id=SECOND),
]  # fmt: skip


async def rows(
    engine: Engine, tenant: TenantId, *by: str, interval: int | None = None, during: TimeRange = DAY, **only: str
) -> Sequence[AggregateRow]:
    return await read_aggregate(engine, tenant, AggregateQuery(by, during, interval, **only))


def counts(found: Sequence[AggregateRow]) -> list[tuple[tuple[str, ...], int, int, int, float, int]]:
    return [(tuple(r.group.values()), r.count, r.error_count, r.usage.input, r.cost, r.unpriced_count) for r in found]


async def test_without_a_group_traces_are_counted(engine: Engine, tenant: TenantId) -> None:
    await settle(engine, tenant, TREES)
    [row] = await rows(engine, tenant)
    assert row == AggregateRow({}, DAY.start_ns, 2, 1, 5500.0, 9550.0, 9910.0, TokenUsage(75, 3), 0.875, 1)


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        (("operation",), [(("poll",), 1, 1, 5, 0.125, 0), (("run",), 1, 0, 70, 0.75, 1)]),
        (("status",), [(("success",), 1, 0, 70, 0.75, 1), (("timeout",), 1, 1, 5, 0.125, 0)]),
        (("workflow_id",), [(("",), 1, 1, 5, 0.125, 0), (("w",), 1, 0, 70, 0.75, 1)]),
        (("model",), [(("m1",), 3, 0, 55, 0.875, 0), (("m2",), 1, 0, 20, 0.0, 1)]),
        (("provider",), [(("acme",), 4, 0, 75, 0.875, 1)]),
        (("tool_name",), [(("grep",), 1, 1, 0, 0.0, 0)]),
        (("agent_id",), [(("coder",), 1, 1, 60, 0.5, 1), (("planner",), 1, 0, 10, 0.25, 0)]),
        (("task_type",), [(("",), 1, 1, 60, 0.5, 1), (("ship",), 1, 0, 10, 0.25, 0)]),
        (("service",), [(("web",), 2, 1, 35, 0.375, 1), (("pay",), 1, 0, 40, 0.5, 0)]),
        (
            ("agent_id", "model"),
            [
                (("", "m1"), 1, 0, 5, 0.125, 0), (("coder", "m1"), 1, 0, 40, 0.5, 0),
                (("coder", "m2"), 1, 0, 20, 0.0, 1), (("planner", "m1"), 1, 0, 10, 0.25, 0),
            ],
        ),
        (
            ("model", "workflow_id", "operation"),
            [
                (("m1", "w", "run"), 2, 0, 50, 0.75, 0), (("m1", "", "poll"), 1, 0, 5, 0.125, 0),
                (("m2", "w", "run"), 1, 0, 20, 0.0, 1),
            ],
        ),
    ],
)  # fmt: skip
async def test_the_finest_group_says_what_is_counted(
    engine: Engine, tenant: TenantId, by: tuple[str, ...], expected: list[object]
) -> None:
    await settle(engine, tenant, TREES)
    assert counts(await rows(engine, tenant, *by)) == expected


async def test_a_filter_makes_the_unit_as_a_group_does(engine: Engine, tenant: TenantId) -> None:
    await settle(engine, tenant, TREES)
    assert counts(await rows(engine, tenant, agent_id="coder")) == [((), 1, 1, 60, 0.5, 1)]
    assert counts(await rows(engine, tenant, "model", agent_id="coder")) == [
        (("m1",), 1, 0, 40, 0.5, 0),
        (("m2",), 1, 0, 20, 0.0, 1),
    ]
    assert counts(await rows(engine, tenant, service="pay")) == [((), 1, 0, 40, 0.5, 0)]
    assert counts(await rows(engine, tenant, "model", service="pay", agent_id="coder")) == [(("m1",), 1, 0, 40, 0.5, 0)]
    assert await rows(engine, tenant, agent_id="nobody") == []


async def test_buckets_are_aligned_to_the_epoch_and_ordered(engine: Engine, tenant: TenantId) -> None:
    await settle(engine, tenant, TREES)
    found = await rows(engine, tenant, "model", interval=3600)
    assert [((r.bucket_start_ns - NOON_NS) // SECOND_NS, r.group["model"], r.count) for r in found] == [
        (0, "m1", 2),
        (0, "m2", 1),
        (7200, "m1", 1),
    ]
    found = await rows(engine, tenant, "model", interval=4)
    assert [((r.bucket_start_ns - NOON_NS) // SECOND_NS, r.group["model"]) for r in found] == [
        (0, "m1"), (0, "m2"), (4, "m1"), (7200, "m1"),
    ]  # fmt: skip


async def test_a_unit_belongs_to_the_range_in_which_it_began(engine: Engine, tenant: TenantId) -> None:
    await settle(engine, tenant, TREES)
    during = TimeRange(NOON_NS + 1 * SECOND_NS, NOON_NS + 5 * SECOND_NS)
    assert counts(await rows(engine, tenant, "model", during=during)) == [
        (("m1",), 1, 0, 10, 0.25, 0),
        (("m2",), 1, 0, 20, 0.0, 1),
    ]
    assert await rows(engine, tenant, during=during) == []


async def test_a_trace_without_a_root_is_running_until_it_is_quiet(
    engine: Engine, tenant: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    await settle(engine, tenant, [Node(2, 1, failed=True)])
    assert counts(await rows(engine, tenant, "status")) == [(("running",), 1, 0, 0, 0.0, 0)]
    monkeypatch.setattr(aggregates, "STATUS", rollups.STATUS.replace("300", "-60"))
    assert counts(await rows(engine, tenant, "status")) == [(("error",), 1, 1, 0, 0.0, 0)]


async def test_spans_twice_late_and_of_other_tenants_change_no_count(engine: Engine, tenant: TenantId) -> None:
    settler = ClickHouseSettler(engine)
    await settle(engine, tenant, TREES[1:4], TREES, [*TREES, *TREES], settler=settler)
    await settle(engine, TenantId(f"{tenant}-other"), TREES[:2], settler=settler)
    assert counts(await rows(engine, tenant)) == [((), 2, 1, 75, 0.875, 1)]
    assert counts(await rows(engine, tenant, "agent_id"))[0] == (("coder",), 1, 1, 60, 0.5, 1)
    assert counts(await rows(engine, tenant, "service"))[0] == (("web",), 2, 1, 35, 0.375, 1)


async def test_more_rows_than_fit_are_told_by_one_more(
    engine: Engine, tenant: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aggregates, "AGGREGATE_ROWS_MAX", 1)
    await settle(engine, tenant, [Node(n, attributes=call(1, f"m{n}")) for n in range(1, 6)])
    assert len(await rows(engine, tenant, "model")) == 2


async def test_agents_have_their_traces_failures_and_cost(engine: Engine, tenant: TenantId) -> None:
    more = [
        Node(20, start=30, attributes={**agent("planner"), "gen_ai.agent.name": "Planner"}, trace_id=bytes([9]) * 16),
        Node(21, start=20, attributes={**agent("planner"), "gen_ai.agent.name": "Old"}, trace_id=bytes([9]) * 16),
    ]
    await settle(engine, tenant, [*TREES, *more])
    found = await read_agents(engine, tenant, DAY, limit=10, after="")
    assert found == [
        Agent(found[0].agent_id, "", "", "", 1, 1, NOON_NS + 7 * SECOND_NS, None),
        Agent(found[1].agent_id, "Planner", "", "", 2, 0, NOON_NS + 31 * SECOND_NS, 0.25),
    ]
    assert [a.agent_id for a in found] == ["coder", "planner"]
    assert await read_agents(engine, tenant, DAY, limit=1, after="") == found[:1]
    assert await read_agents(engine, tenant, DAY, limit=10, after="coder") == found[1:]
    assert await read_agents(engine, tenant, TimeRange(0, NOON_NS), limit=10, after="") == []


BYS = (
    (), ("status",), ("model",), ("agent_id", "task_type"), ("service", "operation"), ("tool_name",), ("workflow_id",),
)  # fmt: skip


@pytest.fixture
def small_hours(monkeypatch: pytest.MonkeyPatch, tenant: TenantId) -> None:
    """Every hour is summed up, and read from its sums."""
    roll_hours_of(monkeypatch, tenant)
    monkeypatch.setattr(rollups, "ROLL_UNITS_MIN", 1)
    monkeypatch.setattr(aggregates, "AGGREGATE_EXACT_UNITS_MAX", 0)


async def roll(settler: ClickHouseSettler) -> None:
    later_ns = time.time_ns() + 3600 * SECOND_NS
    while await settler.roll(later_ns):
        pass


@pytest.mark.usefixtures("small_hours")
@pytest.mark.parametrize("interval", [None, 3600, 7200])
async def test_sums_of_hours_say_what_single_units_say(engine: Engine, tenant: TenantId, interval: int | None) -> None:
    settler = ClickHouseSettler(engine)
    await settle(engine, tenant, TREES, settler=settler)
    # The second hour is only partly in the range, and so is read unit by unit.
    during = TimeRange(DAY.start_ns, NOON_NS + 7205 * SECOND_NS)
    single = [await rows(engine, tenant, *by, interval=interval, during=during) for by in BYS]
    await roll(settler)
    assert await engine.rows("SELECT count() FROM unit_hours FINAL WHERE tenant = {t:String}", {"t": tenant}) == [(8,)]
    # Units of the hour that was summed up are not looked at any more.
    await engine.write(
        lambda client: client.command(
            "DELETE FROM units WHERE hour = toDateTime({h:UInt32}) AND tenant = {t:String}",
            parameters={"t": tenant, "h": NOON_NS // SECOND_NS},
        )
    )
    summed = [await rows(engine, tenant, *by, interval=interval, during=during) for by in BYS]
    assert [counts(found) for found in summed] == [counts(found) for found in single]
    only = await rows(engine, tenant, "model", agent_id="coder", service="pay", interval=interval)
    assert counts(only) == [(("m1",), 1, 0, 40, 0.5, 0)]


@pytest.mark.usefixtures("small_hours")
async def test_an_hour_that_changes_after_it_was_summed_up_is_read_anew(engine: Engine, tenant: TenantId) -> None:
    settler = ClickHouseSettler(engine)
    await settle(engine, tenant, TREES, settler=settler)
    await roll(settler)
    late = [Node(30, 3, start=8, attributes=call(100, "m1", 1.0), trace_id=FIRST)]
    await settle(engine, tenant, late, settler=settler)
    expected = [(("m1",), 4, 0, 155, 1.875, 0), (("m2",), 1, 0, 20, 0.0, 1)]
    assert counts(await rows(engine, tenant, "model")) == expected
    await roll(settler)
    assert counts(await rows(engine, tenant, "model")) == expected
    await forget_trace(engine, tenant, OtelTraceId(FIRST))
    assert counts(await rows(engine, tenant, "model")) == [(("m1",), 1, 0, 5, 0.125, 0)]


async def test_an_hour_of_few_units_or_of_running_traces_is_not_summed_up(
    engine: Engine, tenant: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    started_ns = time.time_ns()
    await load(engine, tenant, Signal.TRACES, [request([Node(2, 1)])])
    settler = ClickHouseSettler(engine)
    await settler.settle(ReceivedRange(started_ns, time.time_ns()))
    held = "SELECT count() FROM unit_hours WHERE tenant = {t:String}"
    roll_hours_of(monkeypatch, tenant)
    monkeypatch.setattr(rollups, "ROLL_UNITS_MIN", 1)
    assert await settler.roll(time.time_ns() + 60 * SECOND_NS) == 0, "there is no more to do now"
    assert await engine.rows(held, {"t": tenant}) == [(0,)], "its trace may still get a root"
    monkeypatch.setattr(rollups, "ROLL_UNITS_MIN", 1000)
    await roll(settler)
    assert await engine.rows(held, {"t": tenant}) == [(0,)]


async def test_hours_of_running_traces_do_not_hold_up_the_others(
    engine: Engine, tenant: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    settler = ClickHouseSettler(engine)
    await settle(engine, tenant, [Node(1, start=30 * 3600)], settler=settler)
    for hour in range(20):
        late = [Node(2, 1, start=hour * 3600, trace_id=bytes([9, hour]) * 8)]
        await settle(engine, tenant, late, settler=settler)
    roll_hours_of(monkeypatch, tenant)
    monkeypatch.setattr(rollups, "ROLL_HOURS_MAX", 1)
    soon_ns = time.time_ns() + 60 * SECOND_NS
    assert [await settler.roll(soon_ns) for _ in range(2)] == [1, 0]
    monkeypatch.setattr(rollups, "ROLL_HOURS_MAX", 100)
    assert await settler.roll(time.time_ns() + 600 * SECOND_NS) == 20, "once they are over"
