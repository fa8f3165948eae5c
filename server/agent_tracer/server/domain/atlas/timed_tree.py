"""A trace as one timed tree, whatever arrived of it: the shape that critical paths and replays work on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from agent_tracer.server.domain.ids import AgentId
from agent_tracer.server.domain.trees import Placed, TreeSpan, depth_first

TOP: Final = 0
"""The index of the tree's root."""

NO_PARENT: Final = -1


class TimedSpan(TreeSpan, Protocol):
    """A span of a tree that also has an end."""

    @property
    def end_ns(self) -> int:
        """Unix time; an end before the start counts as the start."""
        ...

    @property
    def kind(self) -> str:
        """As in telemetry.Span; "client" and "server" tell a call's two ends apart."""
        ...


AnyTimed = TypeVar("AnyTimed", bound=TimedSpan)


@dataclass(frozen=True, slots=True)
class TimedTree(Generic[AnyTimed]):
    """Spans by index, parents before their children. All lists are of one length; at least one entry.

    The root, at TOP, is the trace's only span without a parent. Spans whose parent is missing hang from it: their
    caller was lost, not the trace's end. Where there are several such roots, or none, TOP stands for all of them: it
    has no span, and reaches from the first root's start to the last one's end.
    """

    spans: list[AnyTimed | None]
    agents: list[AgentId]
    starts: list[int]
    ends: list[int]
    parents: list[int]
    children: list[list[int]]

    @property
    def duration_ns(self) -> int:
        """The root's: what outlives it is no part of what its caller waited for."""
        return self.ends[TOP] - self.starts[TOP]


def timed_tree(spans: Sequence[AnyTimed]) -> TimedTree[AnyTimed]:
    """The spans as one tree; missing parents, several roots and cycles included (trees.depth_first).

    Raises ValueError where there are no spans.
    """
    groups = _by_root(depth_first(spans))
    if not groups:
        message = "a trace without spans has no tree"
        raise ValueError(message)
    true_roots = [group for group in groups if group[0].span.parent_id is None]
    tree: TimedTree[AnyTimed] = TimedTree([], [], [], [], [], [])
    if len(true_roots) == 1:
        _graft(tree, true_roots[0], NO_PARENT)
        _graft_all(tree, (group for group in groups if group is not true_roots[0]))
    else:
        roots = [group[0].span for group in groups]
        _add(tree, None, AgentId(""), NO_PARENT)
        tree.starts.append(min(root.start_ns for root in roots))
        tree.ends.append(max(max(root.start_ns, root.end_ns) for root in roots))
        _graft_all(tree, groups)
    return tree


def _by_root(walked: Sequence[Placed[AnyTimed]]) -> list[list[Placed[AnyTimed]]]:
    groups: list[list[Placed[AnyTimed]]] = []
    for placed in walked:
        if placed.depth == 0:
            groups.append([])
        groups[-1].append(placed)
    return groups


def _graft_all(tree: TimedTree[AnyTimed], groups: Iterable[Sequence[Placed[AnyTimed]]]) -> None:
    for group in groups:
        _graft(tree, group, TOP)


def _graft(tree: TimedTree[AnyTimed], group: Sequence[Placed[AnyTimed]], parent: int) -> None:
    path: list[int] = []
    for placed in group:
        del path[placed.depth :]
        path.append(len(tree.spans))
        _add(tree, placed.span, placed.agent_id, path[-2] if placed.depth else parent)
        tree.starts.append(placed.span.start_ns)
        tree.ends.append(max(placed.span.start_ns, placed.span.end_ns))


def _add(tree: TimedTree[AnyTimed], span: AnyTimed | None, agent_id: AgentId, parent: int) -> None:
    if parent != NO_PARENT:
        tree.children[parent].append(len(tree.spans))
    tree.spans.append(span)
    tree.agents.append(agent_id)
    tree.parents.append(parent)
    tree.children.append([])
