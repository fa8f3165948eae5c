"""Traces run again with parts of them changed: what a change saves of a trace as a whole.

Source: the question is that of causal profiling (Curtsinger, Berger: "COZ: Finding Code that Counts with Causal
Profiling", SOSP 2015): not how long a part takes, but how much sooner the whole ends without it. COZ slows everything
else down; here the recorded trace is known whole, so that it is computed.

What a trace's order tells (as the "all series" estimate of CRISP): a child starts after all of its siblings that were
over by then, and so much later as it did; a parent ends so much after its last child as it did. Children that outlive
their parent are not waited for. Replayed without a change, this gives the recorded duration to the nanosecond.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agent_tracer.server.domain.atlas.timed_tree import TOP, TimedTree, timed_tree
from agent_tracer.server.domain.atlas.workflow import WorkSpan, stage_of


@dataclass(frozen=True, slots=True)
class Order:
    """A span's children by start. Before the child at `i` starts, the first `released[i]` of `by_end` are over.

    `by_end` holds positions in `children`. `tail`: nanoseconds from the last awaited child's end, or the parent's
    start, to the parent's end.
    """

    children: Sequence[int]
    by_end: Sequence[int]
    released: Sequence[int]
    awaited: Sequence[bool]
    tail: int


@dataclass(frozen=True, slots=True)
class RecordedTrace:
    """A trace ready to be replayed: its tree, the stage of each span (empty at a root of several), its order.

    `gaps`: nanoseconds between what a span waited for and its start; negative where clocks disagree.
    """

    tree: TimedTree[WorkSpan]
    stages: Sequence[str]
    orders: Mapping[int, Order]
    gaps: Sequence[int]

    @property
    def duration_ns(self) -> int:
        """As recorded."""
        return self.tree.duration_ns


@dataclass(frozen=True, slots=True)
class Plan:
    """What to change of one trace, by index of its tree.

    `scales`: factors of a span's length with all below it, 0 to leave it out. `gaps`: nanoseconds, in place of the
    recorded ones. `after`: the siblings that a span waits for, in place of all that were over when it started.
    """

    scales: Mapping[int, float] = field(default_factory=dict)
    gaps: Mapping[int, int] = field(default_factory=dict)
    after: Mapping[int, Sequence[int]] = field(default_factory=dict)

    def __or__(self, other: "Plan") -> "Plan":
        """Both plans at once: scales multiplied, the shorter of two gaps, the fewer of two lists of siblings."""
        return Plan(
            {**self.scales, **{i: scale * self.scales.get(i, 1) for i, scale in other.scales.items()}},
            {**self.gaps, **{i: min(gap, self.gaps.get(i, gap)) for i, gap in other.gaps.items()}},
            {**self.after, **{i: min(after, self.after.get(i, after), key=len) for i, after in other.after.items()}},
        )


def recorded(spans: Sequence[WorkSpan]) -> RecordedTrace:
    """The trace's spans, in any order, as a tree with an order. Raises ValueError where there are no spans."""
    tree = timed_tree(spans)
    stages = ["" if s is None else stage_of(s, agent) for s, agent in zip(tree.spans, tree.agents, strict=True)]
    gaps = [0] * len(tree.spans)
    orders = {index: _order(tree, index, gaps) for index, children in enumerate(tree.children) if children}
    return RecordedTrace(tree, stages, orders, gaps)


def _order(tree: TimedTree[WorkSpan], parent: int, gaps: list[int]) -> Order:
    begin, end = tree.starts[parent], tree.ends[parent]
    children = sorted(tree.children[parent], key=lambda i: (tree.starts[i], tree.ends[i], i))
    by_end = sorted(range(len(children)), key=lambda at: (tree.ends[children[at]], at))
    released, over = [], 0
    for at, child in enumerate(children):
        # Siblings without duration that start at one moment follow each other in this order.
        while over < len(by_end) and by_end[over] < at and tree.ends[children[by_end[over]]] <= tree.starts[child]:
            over += 1
        released.append(over)
        ready = tree.ends[children[by_end[over - 1]]] if over else begin
        gaps[child] = tree.starts[child] - max(begin, ready)
    awaited = [tree.ends[child] <= end for child in children]
    last = max((tree.ends[child] for child in children if tree.ends[child] <= end), default=begin)
    return Order(children, by_end, released, awaited, end - max(begin, last))


def siblings_over(trace: RecordedTrace, parent: int, at: int) -> list[int]:
    """The children of the parent that were over when its child at that place of the order started, by their end."""
    order = trace.orders[parent]
    return [order.children[earlier] for earlier in order.by_end[: order.released[at]]]


def replay(trace: RecordedTrace, plan: Plan) -> int:
    """The duration in nanoseconds that the trace would have had. O(n), plus what the plan lists."""
    tree = trace.tree
    lengths = [end - start for start, end in zip(tree.starts, tree.ends, strict=True)]
    for index in range(len(lengths) - 1, -1, -1):  # children come after their parents
        if index in trace.orders:
            lengths[index] = _length(trace, trace.orders[index], plan, lengths)
        if index in plan.scales:
            lengths[index] = round(lengths[index] * plan.scales[index])
    return lengths[TOP]


def _length(trace: RecordedTrace, order: Order, plan: Plan, lengths: Sequence[int]) -> int:
    """How long the parent takes, from the start of its own clock."""
    ends: list[int] = []
    place = {child: at for at, child in enumerate(order.children)} if plan.after else {}
    over, ready = 0, 0
    for at, child in enumerate(order.children):
        while over < order.released[at]:
            ready = max(ready, ends[order.by_end[over]])
            over += 1
        after = plan.after.get(child)
        begin = ready if after is None else max((0, *(ends[place[sibling]] for sibling in after)))
        ends.append(begin + plan.gaps.get(child, trace.gaps[child]) + lengths[child])
    last = max((end for end, awaited in zip(ends, order.awaited, strict=True) if awaited), default=0)
    return max(0, last) + order.tail
