"""Calls and tasks are counted once each, whatever is delivered how often and in which order, as aggregates count them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from prometheus_client.core import CollectorRegistry

from agent_tracer.server.adapters.clickhouse import settle_sql
from agent_tracer.server.adapters.clickhouse.aggregates import read_aggregate
from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.adapters.clickhouse.settle import ClickHouseSettler
from agent_tracer.server.adapters.work_metrics import PrometheusWork
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.domain.telemetry import TimeRange
from agent_tracer.server.limits import TRACE_QUIET_SECONDS
from agent_tracer.server.ports.settling import ReceivedRange
from agent_tracer.server.ports.store import AggregateQuery, StoreDownError
from agent_tracer.server.services.work_counts import WorkCounts
from tests.fixtures.engine import load
from tests.fixtures.settled import settle
from tests.fixtures.trees import NOON_NS, SECOND_NS, SERVER, Node, agent, call, request, tool

HOUR_NS = 3600 * SECOND_NS


@dataclass
class Counting:
    """A settler that counts, and what a scrape says."""

    engine: Engine
    now: float = 0.0
    metrics: PrometheusWork = field(default_factory=PrometheusWork)

    def __post_init__(self) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(self.metrics)
        counts = WorkCounts(self.metrics, lambda: self.now)
        self.metrics.before_collect = counts.count_rested
        self.settler = ClickHouseSettler(self.engine, counts)

    async def settle(self, tenant: TenantId, *commits: Sequence[Node]) -> None:
        await settle(self.engine, tenant, *commits, settler=self.settler)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"agent_tracer_{name}", labels)

    def tasks(self) -> dict[tuple[str, str], int]:
        """Counts by type of agent and status."""
        return {
            (sample.labels["agent_type"], sample.labels["status"]): int(sample.value)
            for family in self.registry.collect()
            for sample in family.samples
            if sample.name == "agent_tracer_agent_tasks_total"
        }


@pytest.fixture
def counting(engine: Engine) -> Counting:
    return Counting(engine)


def of(agent_type: str, name: str = "a") -> dict[str, str | int | float]:
    return {**agent(name), "gen_ai.agent.type": agent_type}


def trace(number: int) -> bytes:
    return number.to_bytes(16, "big")


async def test_calls_are_counted_by_provider_model_and_status_with_what_they_took_and_cost(
    counting: Counting, tenant: TenantId
) -> None:
    await counting.settle(
        tenant,
        [
            Node(1, attributes=agent("a")),
            Node(2, 1, seconds=0.05, attributes={**call(100, cost=0.5), "gen_ai.usage.output_tokens": 7}),
            Node(3, 1, seconds=0.5, attributes=call(10, cost=0.25)),
            Node(4, 1, seconds=30, failed=True, attributes=call()),
            Node(5, 1, seconds=3, attributes={**call(model="n"), "error.type": "ReadTimeout"}, failed=True),
            Node(6, 1, attributes=tool("search")),
        ],
    )
    acme = {"provider": "acme", "model": "m"}
    assert counting.value("llm_requests_total", **acme, status="success") == 2
    assert counting.value("llm_requests_total", **acme, status="error") == 1
    assert counting.value("llm_requests_total", provider="acme", model="n", status="timeout") == 1
    within = [counting.value("llm_duration_seconds_bucket", **acme, le=le) for le in ("0.1", "0.5", "10.0", "+Inf")]
    assert within == [1, 2, 2, 3], "a bucket holds what took exactly its bound"
    assert counting.value("llm_duration_seconds_sum", **acme) == pytest.approx(30.55)
    assert counting.value("llm_duration_seconds_count", **acme) == 3
    assert counting.value("llm_cost_dollars", **acme) == 0.75
    assert counting.value("llm_tokens_total", **acme, direction="input") == 110
    assert counting.value("llm_tokens_total", **acme, direction="output") == 7


async def test_a_model_without_a_price_has_no_cost(counting: Counting, tenant: TenantId) -> None:
    await counting.settle(tenant, [Node(1, attributes=call(10))])
    assert counting.value("llm_requests_total", provider="acme", model="m", status="success") == 1
    assert counting.value("llm_cost_dollars", provider="acme", model="m") is None


async def test_names_that_nobody_gave_are_unknown(counting: Counting, tenant: TenantId) -> None:
    await counting.settle(tenant, [Node(1, attributes={**agent("a"), "gen_ai.operation.name": "chat"})])
    assert counting.value("llm_requests_total", provider="unknown", model="unknown", status="success") == 1
    assert counting.tasks() == {("unknown", "success"): 1}


@pytest.mark.parametrize("commits", [1, 3])
async def test_what_is_delivered_again_counts_once(counting: Counting, tenant: TenantId, commits: int) -> None:
    nodes = [Node(1, attributes=of("coder")), Node(2, 1, attributes=call(5, cost=1))]
    await counting.settle(tenant, *([nodes] * commits if commits > 1 else [nodes * 3]))
    assert counting.value("llm_requests_total", provider="acme", model="m", status="success") == 1
    assert counting.value("llm_cost_dollars", provider="acme", model="m") == 1
    assert counting.tasks() == {("coder", "success"): 1}


async def test_what_an_earlier_process_counted_is_not_counted_again(
    engine: Engine, counting: Counting, tenant: TenantId
) -> None:
    await counting.settle(tenant, [Node(1, attributes=of("coder")), Node(2, 1, attributes=call(5))])
    restarted = Counting(engine)
    await restarted.settle(tenant, [Node(1, attributes=of("coder")), Node(3, 1, attributes=call(5))])
    assert restarted.value("llm_requests_total", provider="acme", model="m", status="success") == 1
    assert restarted.tasks() == {}


async def test_what_was_loaded_and_not_settled_before_a_stop_is_counted_after_the_start(
    engine: Engine, counting: Counting, tenant: TenantId
) -> None:
    started_ns = time.time_ns()
    await load(engine, tenant, Signal.TRACES, [request([Node(1, attributes={**of("coder"), **call()})])])
    for _ in range(2):
        await counting.settler.settle(ReceivedRange(started_ns, time.time_ns()))
    assert counting.tasks() == {("coder", "success"): 1}
    assert counting.value("llm_requests_total", provider="acme", model="m", status="success") == 1


async def test_a_child_that_comes_before_its_parent_is_no_task_of_its_own(counting: Counting, tenant: TenantId) -> None:
    """As exporters send: a span when it ends, and every span with its agent's id."""
    child = Node(2, 1, attributes={**of("coder"), **call()})
    await counting.settle(tenant, [child])
    assert counting.tasks() == {}
    assert counting.value("llm_requests_total", provider="acme", model="m", status="success") == 1
    await counting.settle(tenant, [Node(3, 1, attributes=of("coder"))], [Node(1, seconds=2, attributes=of("coder"))])
    assert counting.tasks() == {("coder", "success"): 1}
    assert counting.value("agent_duration_seconds_sum", agent_type="coder") == 2


async def test_a_task_that_waits_is_counted_when_its_parents_are_there(counting: Counting, tenant: TenantId) -> None:
    await counting.settle(tenant, [Node(3, 2, seconds=4, failed=True, attributes=of("coder", "c"))])
    await counting.settle(tenant, [Node(2, 1, attributes=of("planner", "p"))])
    assert counting.tasks() == {("coder", "error"): 1}, "its parent's agent is another, whatever is above that"
    await counting.settle(tenant, [Node(1)])
    assert counting.tasks() == {("coder", "error"): 1, ("planner", "success"): 1}
    assert counting.value("agent_duration_seconds_bucket", agent_type="coder", le="5.0") == 1
    assert counting.value("agent_duration_seconds_bucket", agent_type="coder", le="2.0") == 0


async def test_a_task_whose_parents_lie_elsewhere_is_counted_once_its_trace_rests(
    counting: Counting, tenant: TenantId
) -> None:
    nodes = [Node(2, 1, attributes=of("coder"))]
    await counting.settle(tenant, nodes)
    counting.now = TRACE_QUIET_SECONDS - 1
    assert counting.tasks() == {}
    await counting.settle(tenant, [Node(3, 2)])
    counting.now += 2
    assert counting.tasks() == {}, "the trace goes on"
    counting.now += TRACE_QUIET_SECONDS
    assert counting.tasks() == {("coder", "success"): 1}
    await counting.settle(tenant, nodes, [Node(1)])
    counting.now += 2 * TRACE_QUIET_SECONDS
    assert counting.tasks() == {("coder", "success"): 1}, "its parents came after all"


@pytest.mark.parametrize(
    "node",
    [
        Node(2, 1, attributes={**of("coder"), "task.id": "t-1"}),
        Node(2, 1, kind=SERVER, attributes=of("coder")),
    ],
    ids=["task id", "server"],
)
async def test_what_says_itself_that_it_is_a_task_does_not_wait(
    counting: Counting, tenant: TenantId, node: Node
) -> None:
    await counting.settle(tenant, [node], [Node(1, attributes=of("planner", "p"))], [node])
    assert counting.tasks() == {("coder", "success"): 1, ("planner", "success"): 1}


async def test_a_task_inherits_the_type_of_its_agent(counting: Counting, tenant: TenantId) -> None:
    await counting.settle(
        tenant, [Node(1, attributes=of("planner")), Node(2, 1), Node(3, 2, attributes={"task.id": "t"})]
    )
    assert counting.tasks() == {("planner", "success"): 2}


async def test_a_pass_that_fails_counts_nothing_until_it_succeeds(
    counting: Counting, tenant: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    started_ns = time.time_ns()
    with monkeypatch.context() as broken:
        broken.setattr(settle_sql, "UNITS", "INSERT INTO nowhere SELECT 1")
        with pytest.raises(StoreDownError):
            await counting.settle(tenant, [Node(1, attributes={**of("coder"), **call()})])
    assert counting.tasks() == {}
    with monkeypatch.context() as broken:
        broken.setattr(settle_sql, "EDGES", "INSERT INTO nowhere SELECT 1")
        with pytest.raises(StoreDownError):
            await counting.settler.settle(ReceivedRange(started_ns, time.time_ns()))
    await counting.settler.settle(ReceivedRange(started_ns, time.time_ns()))
    assert counting.tasks() == {("coder", "success"): 1}
    assert counting.value("llm_requests_total", provider="acme", model="m", status="success") == 1


def _busy_trace(number: int) -> list[Node]:
    """Two agents' tasks, with a call each."""
    first, model = f"agent {number % 5}", f"m{number % 4}"
    nodes = [
        Node(1, seconds=9, attributes=of(f"type {number % 3}", first)),
        Node(2, 1, attributes={**agent(first), **call(number, model, 0.125)}),
        Node(3, 1, failed=number % 7 == 0, attributes=of("sub", f"sub {number % 2}")),
        Node(4, 3, failed=number % 2 == 0, attributes=call(1, model)),
    ]
    return [replace(node, start=number, trace_id=trace(1_000 + number)) for node in nodes]


async def test_counters_say_what_aggregates_say(engine: Engine, counting: Counting, tenant: TenantId) -> None:
    """Many traces, in an order that has children before parents, some of them twice."""
    nodes = [node for number in range(60) for node in _busy_trace(number)]
    late = nodes[::-1]
    await counting.settle(tenant, late[:100], late[80:170], late[150:], late[:50])
    query = AggregateQuery(
        time_range=TimeRange(NOON_NS, NOON_NS + HOUR_NS),
        group_by=("provider", "model", "status"),
        interval_seconds=None,
        agent_id="",
        service="",
    )
    rows = await read_aggregate(engine, tenant, query)
    assert len(rows) >= 6
    for row in rows:
        labels = {key: str(value) for key, value in row.group.items()}
        assert counting.value("llm_requests_total", **labels) == row.count
    for model in ("m0", "m1", "m2", "m3"):
        of_model = [row for row in rows if row.group["model"] == model]
        labels = {"provider": "acme", "model": model}
        tokens = sum(row.usage.input for row in of_model)
        assert counting.value("llm_tokens_total", **labels, direction="input") == tokens
        assert counting.value("llm_cost_dollars", **labels) == sum(row.cost or 0 for row in of_model)
    assert sum(counting.tasks().values()) == 120
    assert counting.tasks()["sub", "error"] == sum(number % 7 == 0 for number in range(60))
