"""Replays of recorded traces: what holds for any trace and any change."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_tracer.server.domain.atlas.critical_path import critical_path
from agent_tracer.server.domain.atlas.replay import Plan, recorded, replay
from agent_tracer.server.domain.atlas.workflow import WorkSpan, stage_of
from agent_tracer.server.domain.ids import AgentId, SpanId


def span(number: int, parent: int | None, start: int, end: int, **more: str) -> WorkSpan:
    parent_id = None if parent is None else SpanId(bytes([parent]))
    return WorkSpan(SpanId(bytes([number])), parent_id, start, end, f"s{number}", **more)  # type: ignore[arg-type]


@st.composite
def traces(draw: st.DrawFn) -> list[WorkSpan]:
    """Any spans: several roots, missing parents, cycles, clocks off, no duration, children that outlive parents."""
    count = draw(st.integers(1, 12))
    parents = st.one_of(st.none(), st.integers(0, count + 1))
    starts, lengths = st.integers(0, 50), st.integers(-2, 60)
    return [span(n, draw(parents), start, start + draw(lengths)) for n in range(count) for start in [draw(starts)]]


@given(traces())
def test_replayed_without_a_change_every_trace_takes_what_it_took(spans: list[WorkSpan]) -> None:
    trace = recorded(spans)
    assert replay(trace, Plan()) == trace.duration_ns == critical_path(spans).duration_ns


@given(traces(), st.data())
def test_faster_parts_never_make_the_whole_slower(spans: list[WorkSpan], data: st.DataObject) -> None:
    trace = recorded(spans)
    indexes = st.integers(0, len(trace.stages) - 1)
    scales = data.draw(st.dictionaries(indexes, st.floats(0, 1)))
    assert replay(trace, Plan(scales)) <= trace.duration_ns


@given(traces(), st.data())
def test_waiting_for_fewer_siblings_never_makes_the_whole_slower(spans: list[WorkSpan], data: st.DataObject) -> None:
    trace = recorded(spans)
    freed = [c for order in trace.orders.values() for c in order.children if data.draw(st.booleans())]
    assert replay(trace, Plan(after=dict.fromkeys(freed, ()))) <= trace.duration_ns


def test_the_whole_ends_sooner_only_by_what_was_waited_for() -> None:
    trace = recorded([span(0, None, 0, 100), span(1, 0, 0, 60), span(2, 0, 0, 80), span(3, 0, 80, 100)])
    scaled = {1: 0.0}, {2: 0.0}, {1: 0.5, 2: 0.5}, {3: 0.5}
    assert [replay(trace, Plan(scales)) for scales in scaled] == [100, 80, 60, 90]


def test_what_follows_a_call_keeps_its_distance_from_it() -> None:
    trace = recorded([span(0, None, 0, 100), span(1, 0, 10, 40), span(2, 0, 55, 90)])
    assert replay(trace, Plan({1: 0.0})) == 70
    assert replay(trace, Plan({1: 0.0}, {2: 0})) == 55
    assert replay(trace, Plan(after={2: ()})) == 15 + 35 + 10


def test_a_loop_of_a_hundred_thousand_turns_is_replayed() -> None:
    turns = 100_000
    ids = [SpanId(number.to_bytes(8, "big")) for number in range(turns + 1)]
    root = WorkSpan(ids[0], None, 0, 2 * turns, "root")
    calls = [WorkSpan(one, ids[0], 2 * at, 2 * at + 1, "turn") for at, one in enumerate(ids[1:])]
    trace = recorded([root, *calls])
    assert replay(trace, Plan(dict.fromkeys(range(1, turns + 1), 0.0))) == turns


def test_two_plans_at_once_scale_twice_and_wait_least() -> None:
    one, other = Plan({1: 0.5, 2: 0.5}, {1: 5}, {1: (2, 3)}), Plan({1: 0.5}, {1: 3}, {1: (2,), 4: ()})
    assert one | other == Plan({1: 0.25, 2: 0.5}, {1: 3}, {1: (2,), 4: ()})


@pytest.mark.parametrize(
    ("name", "more", "agent", "stage"),
    [
        ("chat gpt-4o", {"model": "gpt-4o", "kind": "llm"}, "planner", "planner/chat"),
        ("execute_tool search", {"tool_name": "search"}, "", "search"),
        ("fetch page 12", {}, "", "fetch page #"),
        ("job 3f2b8c1e-0000-4000-8000-0123456789ab", {}, "", "job #"),
        ("gpt-4o", {"model": "gpt-4o", "kind": "llm"}, "a", "a/llm"),
        ("added face", {}, "", "added face"),
    ],
)
def test_a_stage_is_named_after_what_its_runs_have_in_common(
    name: str, more: dict[str, str], agent: str, stage: str
) -> None:
    made = WorkSpan(SpanId(b"1"), None, 0, 1, name, **more)  # type: ignore[arg-type]
    assert stage_of(made, AgentId(agent)) == stage


def test_tests_of_a_deep_chain_need_no_recursion() -> None:
    ids = [SpanId(number.to_bytes(8, "big")) for number in range(5_000)]
    chain = [WorkSpan(ids[0], None, 0, 10_000, "root")]
    chain += [WorkSpan(one, above, at + 1, 10_000 - at, "step") for at, (above, one) in enumerate(pairwise(ids))]
    trace = recorded(chain)
    assert replay(trace, Plan({len(ids) - 1: 0.0})) < trace.duration_ns
