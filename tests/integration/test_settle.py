"""What the settler makes of traces, against trees with known answers."""

import time
from dataclasses import replace

import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import strategies as st

from agent_tracer.server.adapters.clickhouse import settle as settling
from agent_tracer.server.adapters.clickhouse.deletion import forget_trace
from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.adapters.clickhouse.settle import ClickHouseSettler
from agent_tracer.server.adapters.clickhouse.store import ClickHouseStore
from agent_tracer.server.domain.ids import OtelTraceId, TenantId
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.ports.settling import ReceivedRange
from agent_tracer.server.ports.store import StoreDownError
from tests.fixtures.engine import load
from tests.fixtures.settled import Task, settle, tasks, units
from tests.fixtures.trees import CLIENT, SERVER, TRACE_ID, Node, agent, call, request, tool


def task(span: int, name: str, calls: int = 0, tokens: int = 0, status: str = "success") -> Task:
    return Task(span, name, calls, tokens, 0.0, calls if tokens else 0, status)


async def test_a_nested_agent_is_a_task_that_owns_the_calls_under_it(engine: Engine, tenant: TenantId) -> None:
    tree = [
        Node(1, attributes=agent("planner")),
        Node(2, 1, attributes=call(10)),
        Node(3, 1, attributes=agent("coder")),
        Node(4, 3, attributes=call(20)),
        Node(5, 4, attributes=call(30)),
    ]
    await settle(engine, tenant, tree)
    assert await tasks(engine, tenant) == [task(1, "planner", 1, 10), task(3, "coder", 2, 50)]


async def test_spans_of_the_same_agent_below_its_task_are_no_further_tasks(engine: Engine, tenant: TenantId) -> None:
    tree = [
        Node(1, attributes=agent("planner")),
        Node(2, 1, attributes=agent("planner")),
        Node(3, 2),
        Node(4, 3, attributes={**agent("planner"), **call(5)}),
    ]
    await settle(engine, tenant, tree)
    assert await tasks(engine, tenant) == [task(1, "planner", 1, 5)]


async def test_an_agent_called_back_by_another_has_a_second_task(engine: Engine, tenant: TenantId) -> None:
    tree = [
        Node(1, attributes=agent("planner")),
        Node(2, 1, attributes=agent("coder")),
        Node(3, 2, attributes=agent("planner")),
        Node(4, 3, attributes=call(5)),
    ]
    await settle(engine, tenant, tree)
    assert await tasks(engine, tenant) == [task(1, "planner"), task(2, "coder"), task(3, "planner", 1, 5)]


async def test_siblings_of_one_agent_are_a_task_each(engine: Engine, tenant: TenantId) -> None:
    tree = [
        Node(1),
        Node(2, 1, attributes=agent("a")),
        Node(3, 1, attributes=agent("a")),
        Node(4, 1, attributes=call(9)),
    ]
    await settle(engine, tenant, tree)
    assert await tasks(engine, tenant) == [task(2, "a"), task(3, "a")]
    assert await units(engine, tenant, "call") == [(4, "")]


async def test_a_task_id_makes_a_task_of_the_inherited_agent(engine: Engine, tenant: TenantId) -> None:
    tree = [
        Node(1, attributes={"gen_ai.agent.name": "Planner", "gen_ai.agent.version": "2", **agent("p")}),
        Node(2, 1),
        Node(3, 2, attributes={"task.id": "t-1"}),
        Node(4, 3, attributes=call(7)),
        Node(5, 1, attributes=call(8)),
    ]
    await settle(engine, tenant, tree)
    assert await tasks(engine, tenant) == [task(1, "p", 1, 8), task(3, "p", 1, 7)]
    rows = await engine.rows(
        "SELECT task_id, agent_name, agent_version FROM tasks FINAL WHERE tenant = {t:String} ORDER BY span_id",
        {"t": tenant},
    )
    assert rows == [(b"", b"Planner", b"2"), (b"t-1", b"Planner", b"2")]


async def test_a_task_has_what_scores_need(engine: Engine, tenant: TenantId) -> None:
    tree = [
        Node(1, attributes={"workflow.id": "ship", "session.id": "s", "task.type": "feature"}),
        Node(2, 1, attributes=agent("a", metadata__coverage=85, gen_ai__prompt__version="v3"), failed=True),
        Node(3, 2, 1, attributes={**call(4, cost=0.5), "gen_ai.usage.output_tokens": 2}),
        Node(4, 2, 2, attributes=tool("grep"), failed=True),
        Node(5, 2, 4, attributes=tool("grep")),
        Node(6, 2, 6, attributes=tool("grep")),
        Node(7, 2, 0.5, attributes=call(0, model="other")),
        Node(8, 2, 1, attributes=agent("sub")),
    ]
    await settle(engine, tenant, tree)
    rows = await engine.rows(
        "SELECT workflow_id, session_id, task_type, status, calls, tool_calls, retries, cost, unpriced_calls, "
        "arraySort(models), prompt_version, arrayMap(m -> (m.1, m.2, m.3), metadata), output_tokens, service, name "
        "FROM tasks FINAL WHERE tenant = {t:String} AND agent_id = 'a'",
        {"t": tenant},
    )
    assert rows == [
        (b"ship", b"s", b"feature", b"error", 2, 3, 2, 0.5, 0, [b"m", b"other"], b"v3",
         [(b"metadata.coverage", 3, b"85")], 2, b"shop", b"span 2"),
    ]  # fmt: skip
    types = await engine.rows(
        "SELECT task_type FROM tasks FINAL WHERE tenant = {t:String} AND agent_id = 'sub'", {"t": tenant}
    )
    assert types == [(b"feature",)], "a type outside of any task holds for all tasks below it"


async def test_a_type_of_a_task_is_not_that_of_another_task_below_it(engine: Engine, tenant: TenantId) -> None:
    tree = [Node(1, attributes=agent("a", task__type="big")), Node(2, 1, attributes=agent("b"))]
    await settle(engine, tenant, tree)
    rows = await engine.rows(
        "SELECT task_type FROM tasks FINAL WHERE tenant = {t:String} ORDER BY agent_id", {"t": tenant}
    )
    assert rows == [(b"big",), (b"",)]


async def test_a_timeout_is_told_from_an_error(engine: Engine, tenant: TenantId) -> None:
    await settle(engine, tenant, [Node(1, failed=True, attributes=agent("a", error__type="ReadTimeoutError"))])
    assert await tasks(engine, tenant) == [task(1, "a", status="timeout")]


async def test_a_late_root_withdraws_the_tasks_that_it_holds(engine: Engine, tenant: TenantId) -> None:
    first = [Node(2, 1, attributes=agent("a")), Node(3, 1, attributes=agent("b")), Node(4, 9, attributes=call(3))]
    settler = ClickHouseSettler(engine)
    await settle(engine, tenant, first, settler=settler)
    assert await tasks(engine, tenant) == [task(2, "a"), task(3, "b")]
    assert len(await units(engine, tenant, "entry")) == 3
    late = [Node(1, attributes=agent("a")), Node(9, 3)]
    await settle(engine, tenant, late, settler=settler)
    assert await tasks(engine, tenant) == [task(1, "a"), task(3, "b", 1, 3)]
    assert await units(engine, tenant, "entry") == [(1, "a")]


async def test_a_task_whose_agent_turns_out_to_be_another_moves_to_it(engine: Engine, tenant: TenantId) -> None:
    child = Node(3, 2, attributes={"task.id": "t"})
    await settle(engine, tenant, [child], [Node(2, 1)], [Node(1, attributes=agent("a"))])
    assert await tasks(engine, tenant) == [task(1, "a"), task(3, "a")]


async def test_a_missing_parent_ends_the_inheritance(engine: Engine, tenant: TenantId) -> None:
    tree = [Node(1, attributes=agent("a")), Node(3, 2, attributes=call(3)), Node(4, 3, attributes=agent("b"))]
    await settle(engine, tenant, tree)
    assert await units(engine, tenant, "call") == [(3, "")]
    assert await tasks(engine, tenant) == [task(1, "a"), task(4, "b")]


async def test_spans_that_come_twice_count_once(engine: Engine, tenant: TenantId) -> None:
    tree = [Node(1, attributes=agent("a")), Node(2, 1, attributes=call(10))]
    await settle(engine, tenant, [*tree, *tree], tree)
    assert await tasks(engine, tenant) == [task(1, "a", 1, 10)]
    assert len(await units(engine, tenant, "call")) == 1


async def test_the_same_ids_of_another_tenant_are_another_trace(engine: Engine, tenant: TenantId) -> None:
    other = TenantId(f"{tenant}-other")
    await settle(engine, tenant, [Node(1, attributes=agent("a"))])
    started_ns = time.time_ns()
    await load(
        engine, other, Signal.TRACES, [request([Node(2, 1, attributes=call(5)), Node(3, attributes=agent("b"))])]
    )
    await load(engine, tenant, Signal.TRACES, [request([Node(4, 1, attributes=call(7))])])
    await ClickHouseSettler(engine).settle(ReceivedRange(started_ns, time.time_ns()))
    assert await tasks(engine, tenant) == [task(1, "a", 1, 7)]
    assert await tasks(engine, other) == [task(3, "b")]
    assert await units(engine, other, "call") == [(2, "")]


async def test_a_trace_of_many_hours_is_one(engine: Engine, tenant: TenantId) -> None:
    root = Node(1, start=0, seconds=9000, attributes=agent("a"))
    late = [Node(2, 1, start=8000, attributes=call(5)), Node(3, 1, start=-4000, attributes=call(6))]
    settler = ClickHouseSettler(engine)
    await settle(engine, tenant, [root], late, settler=settler)
    assert await tasks(engine, tenant) == [task(1, "a", 2, 11)]
    assert len(await units(engine, tenant, "trace")) == 1, "its first hour has moved"


async def test_calls_between_services_have_counts_errors_and_the_gap(engine: Engine, tenant: TenantId) -> None:
    tree = [
        Node(1, service="web", kind=SERVER, seconds=10),
        Node(2, 1, start=1, seconds=4, service="web", kind=CLIENT),
        Node(3, 2, start=1.5, seconds=3, service="pay", kind=SERVER),
        Node(4, 1, start=6, seconds=2, service="web", kind=CLIENT, failed=True),
        Node(5, 4, start=6, seconds=1, service="pay", kind=SERVER),
        Node(6, 3, start=70, seconds=1, service="mail"),
    ]
    await settle(engine, tenant, tree, tree)
    rows = await engine.rows(
        "SELECT minute - toDateTime({noon:UInt32}, 'UTC'), caller, callee, calls, errors, arraySort(server_ns), "
        "arraySort(client_ns), server_ns_sum, gap_ns_sum, gaps FROM service_edges FINAL "
        "WHERE tenant = {t:String} ORDER BY minute, caller",
        {"t": tenant, "noon": (await _noon(engine))},
    )
    s = 10**9
    assert rows == [
        (0, b"web", b"pay", 2, 1, [s, 3 * s], [2 * s, 4 * s], 4 * s, 2 * s, 2),
        (60, b"pay", b"mail", 1, 0, [s], [0], s, 0, 0),
    ]


async def _noon(engine: Engine) -> int:
    from tests.fixtures.trees import NOON_NS  # noqa: PLC0415

    del engine
    return NOON_NS // 10**9


async def test_a_cycle_neither_hangs_nor_hides_what_is_in_it(engine: Engine, tenant: TenantId) -> None:
    tree = [
        Node(1, 3, start=3, attributes=agent("a")),
        Node(2, 1, start=1),
        Node(3, 2, start=2),
        Node(4, 3, attributes=call(5)),
        Node(6, 6, attributes=agent("self")),
    ]
    await settle(engine, tenant, tree)
    assert await tasks(engine, tenant) == [task(1, "a"), task(6, "self")]
    assert await units(engine, tenant, "call") == [(4, "")], "the earliest of the cycle is its root"


@pytest.fixture
def crash(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Statements that fail, by a part of their text."""
    failing: list[str] = []
    run = settling._run

    def crashing(client: Client, statement: str, *values: object) -> None:
        if any(part in statement for part in failing):
            raise RuntimeError("crash")
        run(client, statement, *values)  # type: ignore[arg-type]

    monkeypatch.setattr(settling, "_run", crashing)
    return failing


@pytest.mark.parametrize("at", ["INTO units", "INTO tasks", "INTO service_edges", "INTO settle_former", "false FROM"])
async def test_a_crash_at_any_step_is_made_good_by_the_next_pass(
    engine: Engine, tenant: TenantId, crash: list[str], at: str
) -> None:
    started_ns = time.time_ns()
    await settle(engine, tenant, [Node(2, 1, attributes=agent("a")), Node(4, 3, attributes=agent("a"))])
    await load(engine, tenant, Signal.TRACES, [request([Node(3, 9), Node(1, attributes=agent("a"))])])
    crash.append(at)
    with pytest.raises(RuntimeError):
        await ClickHouseSettler(engine).settle(ReceivedRange(started_ns, time.time_ns()))
    crash.clear()
    await load(engine, tenant, Signal.TRACES, [request([Node(9, 1)])])
    await ClickHouseSettler(engine).settle(ReceivedRange(started_ns, time.time_ns()))
    assert await tasks(engine, tenant) == [task(1, "a")]
    assert await units(engine, tenant, "task") == [(1, "a")]
    assert await units(engine, tenant, "entry") == [(1, "a")]


async def test_settling_again_changes_nothing(engine: Engine, tenant: TenantId) -> None:
    started_ns = time.time_ns()
    await settle(engine, tenant, [Node(1, attributes=agent("a")), Node(2, 1, attributes=call(3))])
    for _ in range(2):
        await ClickHouseSettler(engine).settle(ReceivedRange(started_ns, time.time_ns()))
    assert await tasks(engine, tenant) == [task(1, "a", 1, 3)]


async def test_a_trace_is_not_taken_for_new_where_ranges_overlap(engine: Engine, tenant: TenantId) -> None:
    """Two commits may hold requests that were received at the same time."""
    settler = ClickHouseSettler(engine)
    await settle(engine, tenant, [Node(100, trace_id=bytes([3]) * 16)], settler=settler)
    started_ns = time.time_ns()
    await settle(engine, tenant, [Node(2, 1, attributes=agent("a"))], settler=settler)
    await load(engine, tenant, Signal.TRACES, [request([Node(1, attributes=agent("a"))])])
    await settler.settle(ReceivedRange(started_ns, time.time_ns()))
    assert await tasks(engine, tenant) == [task(1, "a")]


async def test_of_two_spans_of_one_id_that_differ_one_counts(engine: Engine, tenant: TenantId) -> None:
    settler = ClickHouseSettler(engine)
    first, other = Node(1, start=0, attributes=agent("a")), Node(1, start=-60, attributes=agent("b"))
    await settle(engine, tenant, [first], [first, other], [other], settler=settler)
    assert len(await tasks(engine, tenant)) == 1
    assert len(await units(engine, tenant, "task")) == 1


async def test_a_trace_of_too_many_spans_does_not_hold_up_the_others(
    engine: Engine, tenant: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "SETTLE_TRACE_SPANS_MAX", 3)
    small = [Node(n, attributes=agent("a"), trace_id=bytes([4]) * 16) for n in (1, 2)]
    await settle(engine, tenant, [*small, *(Node(n, attributes=agent("b")) for n in range(1, 6))])
    assert await tasks(engine, tenant) == [task(1, "a"), task(2, "a")]


async def test_the_watermark_is_kept_over_restarts(engine: Engine) -> None:
    await ClickHouseSettler(engine).advance(123)
    await ClickHouseSettler(engine).advance(456)
    await ClickHouseSettler(engine).advance(45)
    assert await ClickHouseSettler(engine).settled_to() == 45


async def test_a_pass_is_bounded_and_says_how_far_it_came(
    engine: Engine, tenant: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "SETTLE_TRACES_MAX", 2)
    monkeypatch.setattr(settling, "SETTLE_SPANS_MAX", 3)
    first_ns = time.time_ns()
    for trace in range(5):
        nodes = [Node(n, attributes=agent("a"), trace_id=bytes([trace]) * 16) for n in (1, 2)]
        await load(engine, tenant, Signal.TRACES, [request(nodes)])
    last_ns = time.time_ns()
    settler = ClickHouseSettler(engine)
    at, passes = first_ns, 0
    while at < last_ns:
        done = await settler.settle(ReceivedRange(at, last_ns))
        assert done.end_ns > at
        at, passes = done.end_ns, passes + 1
    assert passes > 1
    assert len(await tasks(engine, tenant)) == 10


async def test_a_forgotten_trace_leaves_nothing(engine: Engine, tenant: TenantId) -> None:
    other = bytes(16 * [7])
    nodes = [Node(1, attributes=agent("a")), Node(2, 1, attributes=call(1), service="x")]
    await settle(engine, tenant, nodes, [replace(n, trace_id=other) for n in nodes])
    await forget_trace(engine, tenant, OtelTraceId(TRACE_ID))
    for table in ("units", "tasks", "service_edges"):
        rows = await engine.rows(f"SELECT DISTINCT trace_id FROM {table} WHERE tenant = {{t:String}}", {"t": tenant})
        assert rows == [(other,)]


async def test_a_deletion_that_was_interrupted_can_be_asked_for_again(
    engine: Engine, tenant: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    await settle(engine, tenant, [Node(1, attributes=agent("a")), Node(2, 1, attributes=call(1), service="x")])
    store, trace_id = ClickHouseStore(engine), OtelTraceId(TRACE_ID)

    async def down(_: object) -> None:
        raise StoreDownError("stopped")

    with monkeypatch.context() as patch, pytest.raises(StoreDownError):
        patch.setattr(engine, "settle", down)
        await store.delete_trace(tenant, trace_id)
    assert await tasks(engine, tenant)
    assert await store.delete_trace(tenant, trace_id)
    assert await tasks(engine, tenant) == []
    assert not await store.delete_trace(tenant, trace_id)


async def test_a_trace_of_100_000_spans_is_settled(engine: Engine, tenant: TenantId) -> None:
    """Chains of 1,000 under each other: 64 steps up do not reach the agent."""
    nodes = [Node(1, attributes=agent("a"))]
    nodes += [Node(i, 1 if i % 1000 == 2 else i - 1, start=1) for i in range(2, 99_999)]
    nodes.append(Node(100_000, 99_998, attributes=call(5)))
    await settle(engine, tenant, nodes)
    assert await tasks(engine, tenant) == [task(1, "a", 1, 5)]


AGENTS = st.sampled_from(["", "", "", "a", "b"])
SHAPES = st.lists(
    st.lists(
        st.tuples(st.integers(0, 30), AGENTS, st.booleans(), st.booleans(), st.integers(0, 50)), min_size=1, max_size=24
    ),
    min_size=10,
    max_size=40,
)
