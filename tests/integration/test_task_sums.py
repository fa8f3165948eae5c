"""Sums of an agent's tasks on the embedded engine: single tasks, and hours of them, against tasks that were counted by hand."""

import dataclasses
import math
import time
from collections.abc import Sequence

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1 import metrics_pb2 as metrics

from agent_tracer.server.adapters.clickhouse import quality_sums, rollups, task_sums, task_usage
from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.adapters.clickhouse.evaluations import write_evaluation
from agent_tracer.server.adapters.clickhouse.settle import ClickHouseSettler
from agent_tracer.server.domain.ids import AgentId, OtelTraceId, SpanId, TenantId, TraceId
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.domain.task_sums import Moments, TaskSums
from agent_tracer.server.domain.telemetry import Evaluation, TimeRange
from agent_tracer.server.limits import REPEATED_TASKS_MAX
from agent_tracer.server.ports.task_statistics import TaskQuery, TooManyTaskTypesError
from tests.fixtures.engine import load
from tests.fixtures.otlp_requests import gauge, logs_request, metrics_request
from tests.fixtures.settled import roll_hours_of, settle
from tests.fixtures.trees import NOON_NS, SECOND_NS, Node, agent, call

HOUR = 3600
DAY = TimeRange(NOON_NS - 12 * HOUR * SECOND_NS, NOON_NS + 12 * HOUR * SECOND_NS)
CODER = AgentId("coder")
TASKS = 12


def task(number: int, who: str = "coder", **more: str) -> list[Node]:
    """Task n: half an hour after the last, n seconds long, a call of a dollar a second in it; every third fails.

    Every fourth says its coverage; the second half is of version 2, and of another model too.
    """
    attributes = agent(who, task__type="ship" if number % 2 else "plan")
    attributes |= {"gen_ai.agent.version": "1" if number <= TASKS // 2 else "2", **more}
    if number % 4 == 0:
        attributes["metadata.coverage"] = 80
    start = number * HOUR / 2
    trace_id = bytes([number]) * 15 + who[:1].encode()
    return [
        Node(number * 2, start=start, seconds=number, failed=number % 3 == 0, attributes=attributes, trace_id=trace_id),
        Node(number * 2 + 1, number * 2, start, 0.5, attributes=call(10, "m1", float(number)), trace_id=trace_id),
    ]


@pytest.fixture
async def stored(engine: Engine, tenant: TenantId) -> TenantId:
    spans = [span for number in range(1, TASKS + 1) for span in task(number)]
    others = [span for number in range(1, 4) for span in task(number, "peer")]
    await settle(engine, tenant, spans, others)
    return tenant


def query(**more: object) -> TaskQuery:
    return dataclasses.replace(TaskQuery(CODER, DAY), **more)  # type: ignore[arg-type]


async def roll(engine: Engine, tenant: TenantId, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sum up every whole hour, and let reads use the sums however few the tasks are."""
    roll_hours_of(monkeypatch, tenant)
    monkeypatch.setattr(rollups, "ROLL_UNITS_MIN", 1)
    monkeypatch.setattr(task_sums, "TASKS_SINGLE_MAX", 1)
    while await ClickHouseSettler(engine).roll(time.time_ns() + HOUR * SECOND_NS):
        pass


def in_all(sums: Sequence[TaskSums]) -> dict[str, tuple[float, ...]]:
    """Each type's numbers over all buckets."""
    types: dict[str, tuple[float, ...]] = {}
    for of in sums:
        numbers = (
            *(of.tasks, of.successes, of.timeouts, of.retried),
            *(n for m in dataclasses.astuple(of)[7:14] for n in m),
        )
        types[of.task_type] = tuple(a + b for a, b in zip(types.get(of.task_type, (0,) * 99), numbers, strict=False))
    return types


async def test_every_task_counts_once_with_its_own_numbers(engine: Engine, stored: TenantId) -> None:
    sums = await task_sums.read_task_sums(engine, stored, query(bucket_ns=0))
    assert [of.tasks for of in sums] == [1] * TASKS
    assert [of.start_ns for of in sums] == [NOON_NS + n * HOUR // 2 * SECOND_NS for n in range(1, TASKS + 1)]
    third = sums[2]
    assert (third.task_type, third.successes, third.durations_ms) == ("ship", 0, Moments(1, 3000, 9e6))
    assert third.log_durations == Moments.of([math.log(3000)])
    assert (third.success_log_durations.count, third.costs, third.success_log_costs.count) == (0, Moments(1, 3, 9), 0)
    assert [of.coverage.total for of in sums] == [0, 0, 0, 0.8] * 3


async def test_buckets_add_up_to_the_single_tasks(engine: Engine, stored: TenantId) -> None:
    single = await task_sums.read_task_sums(engine, stored, query(bucket_ns=0))
    for width_ns in (None, HOUR * SECOND_NS, 1_000 * SECOND_NS):
        wide = await task_sums.read_task_sums(engine, stored, query(bucket_ns=width_ns))
        assert {t: pytest.approx(n) for t, n in in_all(wide).items()} == in_all(single)


async def test_sums_of_hours_say_the_same_as_their_tasks(
    engine: Engine, stored: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    width = query(bucket_ns=HOUR * SECOND_NS)
    before = await task_sums.read_task_sums(engine, stored, width)
    usage = await task_usage.read_usage(engine, stored, width)
    changes = await task_usage.read_changes(engine, stored, width)
    peers = await task_sums.read_peer_sums(engine, stored, CODER, ["ship"], DAY)
    await roll(engine, stored, monkeypatch)
    assert (await task_sums.hours_of(engine, stored, width)).rolled
    after = await task_sums.read_task_sums(engine, stored, width)
    assert [(of.start_ns, of.task_type, of.tasks) for of in after] == [
        (of.start_ns, of.task_type, of.tasks) for of in before
    ]
    assert {t: pytest.approx(n) for t, n in in_all(after).items()} == in_all(before)
    assert await task_usage.read_usage(engine, stored, width) == usage
    assert [text for _, text in await task_usage.read_changes(engine, stored, width)] == [text for _, text in changes]
    assert await task_sums.read_peer_sums(engine, stored, CODER, ["ship"], DAY) == peers
    await settle(engine, stored, task(TASKS + 1), task(1)[:1])
    late = await task_sums.read_task_sums(engine, stored, width)
    assert sum(of.tasks for of in late) == TASKS + 1, "an hour into which a task came is read anew"


async def test_peers_are_all_others_of_the_same_types(engine: Engine, stored: TenantId) -> None:
    (ship,) = await task_sums.read_peer_sums(engine, stored, CODER, ["ship", "unknown"], DAY)
    assert (ship.task_type, ship.tasks, ship.successes) == ("ship", 2, 1)


async def test_tasks_of_many_agents_are_read_at_once_and_by_hours_too(
    engine: Engine, stored: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    agents = [CODER, AgentId("peer"), AgentId("x")]
    found = await task_sums.read_sums_of_agents(engine, stored, agents, DAY)
    assert {agent_id: {of.task_type: of.tasks for of in sums} for agent_id, sums in found.items()} == {
        "coder": {"plan": 6, "ship": 6},
        "peer": {"plan": 1, "ship": 2},
    }
    assert found[CODER] == await task_sums.read_task_sums(engine, stored, query())
    await roll(engine, stored, monkeypatch)
    after = await task_sums.read_sums_of_agents(engine, stored, agents, DAY)
    for agent_id, sums in found.items():
        assert {t: pytest.approx(n) for t, n in in_all(after[agent_id]).items()} == in_all(sums)


async def test_the_latest_tasks_of_each_agent(engine: Engine, stored: TenantId) -> None:
    found = await task_sums.read_latest_task_sums(
        engine, stored, [CODER, AgentId("peer"), AgentId("x")], "ship", 2, DAY
    )
    assert {agent_id: (of.tasks, of.durations_ms.total) for agent_id, of in found.items()} == {
        "coder": (2, 20_000),
        "peer": (2, 4_000),
    }


@pytest.mark.parametrize(
    ("attribute", "values", "counts"),
    [
        ("agent_version", ["1", "2"], {"1": 6, "2": 8}),
        ("agent_version", ["2"], {"2": 8}),
        ("model", ["m1", "m9"], {"m1": 14}),
        ("flag", ["on"], {"on": 2}),
        ("metadata.coverage", ["80"], {"80": 3}),
        ("coverage", ["80"], {"80": 3}),
    ],
)
async def test_variants_are_told_apart_by_any_attribute(
    engine: Engine, stored: TenantId, attribute: str, values: list[str], counts: dict[str, int]
) -> None:
    await settle(engine, stored, task(21, flag="on"), task(22, flag="on"))
    sums = await task_sums.read_task_sums(engine, stored, query(attribute=attribute, values=values))
    found: dict[str, int] = {}
    for of in sums:
        found[of.variant] = found.get(of.variant, 0) + of.tasks
    assert found == counts


async def test_usage_and_changes(engine: Engine, stored: TenantId) -> None:
    usage = await task_usage.read_usage(engine, stored, query(bucket_ns=0))
    assert (usage.calls, usage.input_tokens, usage.cost, usage.peak) == (12, 120, sum(range(1, 13)), 1)
    assert usage.busy_ns == sum(range(1, 13)) * SECOND_NS
    changed_ns = NOON_NS + 7 * HOUR // 2 * SECOND_NS
    assert await task_usage.read_changes(engine, stored, query(bucket_ns=0)) == [(changed_ns, "agent version 2")]


async def judge(engine: Engine, tenant: TenantId, number: int, score: float | None, span: int | None) -> None:
    trace_id = OtelTraceId(bytes([number]) * 15 + b"c")
    span_id = SpanId(span.to_bytes(8, "big")) if span else None
    judged_ns = DAY.end_ns + number
    evaluation = Evaluation(f"e-{number}-{span}", TraceId("t"), span_id, "correct", score, "", "", "human", judged_ns)
    await write_evaluation(engine, tenant, trace_id, evaluation)


async def test_judgements_belong_to_the_task_they_name_or_lie_in(engine: Engine, stored: TenantId) -> None:
    other = Node(99, 2, start=HOUR / 2, attributes=agent("peer"), trace_id=bytes([1]) * 15 + b"c")
    await settle(engine, stored, [other])
    await judge(engine, stored, 1, 1.0, None)
    await judge(engine, stored, 1, 0.5, 2)
    await judge(engine, stored, 1, 0.25, 3)
    await judge(engine, stored, 1, 0.0, 99)
    await judge(engine, stored, 2, None, None)
    found = await quality_sums.read_quality_sums(engine, stored, query())
    assert len(found) == 1, found
    (sums,) = found
    assert (sums.name, sums.task_type, sums.source) == ("correct", "ship", "evaluations")
    assert sums.scores == Moments.of([1.0, 0.5, 0.25]), "that of the peer's span is the peer's"
    (of_peer,) = await quality_sums.read_quality_sums(engine, stored, query(agent_id=AgentId("peer")))
    assert of_peer.scores == Moments.of([1.0, 0.0])


def result_log(number: int, score: float) -> LogRecord:
    """An evaluation as the GenAI conventions tell it: a log event on the trace."""
    log = LogRecord(event_name="gen_ai.evaluation.result", time_unix_nano=NOON_NS, trace_id=bytes([number]) * 15 + b"c")
    log.attributes.add(key="gen_ai.evaluation.name").value.string_value = "relevance"
    log.attributes.add(key="gen_ai.evaluation.score.value").value.double_value = score
    return log


async def test_judgements_that_come_as_logs_count_as_those_of_the_api(engine: Engine, stored: TenantId) -> None:
    request = logs_request(result_log(1, 0.25), result_log(3, 0.75))
    await load(engine, stored, Signal.LOGS, [request.SerializeToString()])
    (sums,) = await quality_sums.read_quality_sums(engine, stored, query())
    assert (sums.name, sums.task_type, sums.scores) == ("relevance", "ship", Moments.of([0.25, 0.75]))


async def test_the_agents_own_metrics_are_among_what_it_used(engine: Engine, stored: TenantId) -> None:
    points = [metrics.NumberDataPoint(time_unix_nano=NOON_NS, as_double=value) for value in (0.2, 0.6, 9.0)]
    for point, who in zip(points, ("coder", "coder", "peer"), strict=True):
        point.attributes.add(key="gen_ai.agent.id").value.string_value = who
    await load(engine, stored, Signal.METRICS, [metrics_request(gauge(*points)).SerializeToString()])
    usage = await task_usage.read_usage(engine, stored, query(bucket_ns=0))
    assert usage.metrics == {"load": pytest.approx(0.4)}


async def test_too_many_kinds_of_tasks_are_refused_not_cut(
    engine: Engine, stored: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_sums, "TASK_SUMS_MAX", 3)
    with pytest.raises(TooManyTaskTypesError):
        await task_sums.read_task_sums(engine, stored, query(bucket_ns=0))


async def test_tries_of_one_task_are_told_apart_by_its_id(engine: Engine, tenant: TenantId) -> None:
    outcomes = {"a": [True, True, False], "b": [False, False, True], "c": [True], "": [True, True]}
    tries = [(task_id, succeeded) for task_id, all_ in outcomes.items() for succeeded in all_]
    nodes = [
        Node(n, attributes=agent("coder", task__type="fix", task__id=task_id), failed=not ok, trace_id=bytes([n]) * 16)
        for n, (task_id, ok) in enumerate(tries, start=1)
    ]
    await settle(engine, tenant, nodes)
    found = await task_sums.read_repeats(engine, tenant, [CODER, AgentId("x")], DAY)
    assert {kind: sorted(counts) for kind, counts in found[CODER].items()} == {"fix": [(1, 1), (3, 1), (3, 2)]}
    assert list(found) == [CODER]


@pytest.mark.parametrize(("most", "who"), [(2, set()), (5, {"a", "b"}), (100, {"a", "b"})])
async def test_repeats_are_counted_for_few_enough_agents_at_a_time(
    engine: Engine, tenant: TenantId, monkeypatch: pytest.MonkeyPatch, most: int, who: set[str]
) -> None:
    counts = task_sums._COUNTS.replace(str(REPEATED_TASKS_MAX), str(most))
    monkeypatch.setattr(task_sums, "_COUNTS", counts)
    monkeypatch.setattr(task_sums, "REPEATED_TASKS_MAX", most)
    nodes = [
        Node(n, attributes=agent("ab"[n % 2], task__type="fix", task__id="one"), trace_id=bytes([n]) * 16)
        for n in range(1, 7)
    ]
    await settle(engine, tenant, nodes)
    found = await task_sums.read_repeats(engine, tenant, [AgentId("a"), AgentId("b")], DAY)
    assert found == {agent_id: {"fix": [(3, 3)]} for agent_id in who}


async def test_a_task_without_a_type_is_of_its_name_less_ids(engine: Engine, tenant: TenantId) -> None:
    names = ["review", "review", "fix issue 12345", "fix issue 67890", "run 4bf92f3577b34da6", "top 3"]
    nodes = [
        Node(n, attributes=agent("coder"), name=name, trace_id=bytes([n]) * 16) for n, name in enumerate(names, start=1)
    ]
    await settle(engine, tenant, nodes)
    sums = await task_sums.read_task_sums(engine, tenant, query())
    assert {of.task_type: of.tasks for of in sums} == {"review": 2, "fix issue #": 2, "run #": 1, "top 3": 1}
    (review,) = await task_sums.read_task_sums(engine, tenant, query(task_type="review"))
    assert review.tasks == 2


async def test_agents_that_are_known(engine: Engine, stored: TenantId) -> None:
    assert await task_sums.is_agent(engine, stored, CODER)
    assert not await task_sums.is_agent(engine, stored, AgentId("nobody"))
    assert await task_sums.count_tasks(engine, stored, CODER, DAY, 5) == 5
