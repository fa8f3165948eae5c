"""The order of spans in a tree, and what they inherit."""

import random
from dataclasses import dataclass
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from agent_tracer.server.domain.ids import AgentId, SpanId
from agent_tracer.server.domain.trees import depth_first, inherit_agents


@dataclass(frozen=True, slots=True)
class Node:
    span_id: SpanId
    parent_id: SpanId | None
    start_ns: int
    agent_id: AgentId = AgentId("")  # noqa: RUF009


def node(number: int, parent: int | None, start: int = 0, agent: str = "") -> Node:
    return Node(key(number), None if parent is None else key(parent), start, AgentId(agent))


def key(number: int) -> SpanId:
    return SpanId(number.to_bytes(8, "big"))


def outline(nodes: list[Node]) -> list[tuple[int, int]]:
    return [(int.from_bytes(placed.span.span_id, "big"), placed.depth) for placed in depth_first(nodes)]


def test_children_follow_their_parent_by_start_then_id() -> None:
    nodes = [node(5, 1, 20), node(1, None, 0), node(3, 1, 10), node(2, 1, 10), node(4, 3, 11)]
    assert outline(nodes) == [(1, 0), (2, 1), (3, 1), (4, 2), (5, 1)]


def test_a_span_whose_parent_is_missing_is_one_more_root() -> None:
    assert outline([node(1, None, 5), node(2, 99, 3), node(3, 2, 4)]) == [(2, 0), (3, 1), (1, 0)]


def test_a_cycle_hangs_nothing_and_starts_at_its_earliest_span() -> None:
    nodes = [node(1, None, 0), node(2, 4, 30), node(3, 2, 20), node(4, 3, 10), node(5, 3, 5), node(6, 6, 1)]
    assert outline(nodes) == [(1, 0), (6, 0), (4, 0), (2, 1), (3, 2), (5, 3)]


def test_a_span_delivered_twice_is_shown_once() -> None:
    assert outline([node(1, None, 0), node(2, 1, 1), node(2, 1, 1)]) == [(1, 0), (2, 1)]


def test_an_agent_is_inherited_from_the_nearest_ancestor_only() -> None:
    nodes = [
        node(1, None, 0, "planner"),
        node(2, 1, 1),
        node(3, 2, 2, "coder"),
        node(4, 3, 3),
        node(5, 2, 4),
        node(6, None, 9),
    ]
    agents = [placed.agent_id for placed in depth_first(nodes)]
    assert agents == ["planner", "planner", "coder", "coder", "planner", ""]


def test_inheritance_is_a_function_of_order_and_depth_alone() -> None:
    walked = [(node(1, None), 0), (node(2, None, 0, "a"), 1), (node(3, None), 0)]
    assert [placed.agent_id for placed in inherit_agents(walked)] == ["", "a", ""]


def test_100_000_spans_in_chains_of_1_000_need_no_recursion() -> None:
    nodes = [node(i, None if i == 0 else (i - 1 if i % 1000 else 0), i) for i in range(100_000)]
    random.Random(7).shuffle(nodes)
    placed = depth_first(nodes)
    assert len(placed) == 100_000
    assert max(place.depth for place in placed) == 1000


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(0, 12), st.integers(0, 5)), max_size=40))
def test_whatever_the_parents_every_id_comes_once_and_depth_grows_by_one_at_most(
    edges: list[tuple[int, int, int]],
) -> None:
    nodes = [node(number, parent or None, start) for number, parent, start in edges]
    shown = outline(nodes)
    assert sorted(number for number, _ in shown) == sorted({number for number, _, _ in edges})
    depths = [0, *(depth for _, depth in shown)]
    assert all(after <= before + 1 for before, after in pairwise(depths))
