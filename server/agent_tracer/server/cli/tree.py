"""Which spans of a trace are drawn, and where: pure, over spans in depth-first order."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

GUIDE_LEVELS_MAX: Final = 12
"""Levels of guides drawn before a row; deeper rows say their depth in a number instead."""


@dataclass(frozen=True, slots=True)
class Node:
    """What a tree shows of a span. Times in milliseconds; `offset` counts from the trace's start."""

    depth: int
    name: str
    kind: str
    agent: str = ""
    failed: bool = False
    message: str = ""
    offset: float = 0.0
    duration: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None
    model: str = ""


@dataclass(slots=True)
class Collapsed:
    """Neighbouring subtrees that are not drawn, all under one parent."""

    depth: int
    kinds: Counter[str] = field(default_factory=Counter)
    errors: int = 0

    @property
    def spans(self) -> int:
        """How many spans stand behind the line."""
        return self.kinds.total()


Row: TypeAlias = Node | Collapsed


@dataclass(frozen=True, slots=True)
class Guide:
    """A row's place: for each level above (from `skipped` on) whether its line goes on below this row."""

    open_levels: tuple[bool, ...]
    skipped: int
    last: bool
    has_children: bool


def outline(nodes: Sequence[Node], spans_max: int) -> list[Row]:
    """The rows to draw: all, or of more than spans_max the errors, then the shallow, then the early ones.

    At most spans_max nodes (an error counts with its ancestors, which are always drawn with it), and one
    Collapsed in each place where some are missing.
    """
    nodes = list(_without_gaps(nodes))
    if len(nodes) <= spans_max:
        return list(nodes)
    return list(_collapsed(nodes, _chosen(nodes, spans_max)))


def _without_gaps(nodes: Sequence[Node]) -> Iterator[Node]:
    """Nodes with no depth more than one below the node before: a tree, whatever was received."""
    before = -1
    for node in nodes:
        depth = max(0, min(node.depth, before + 1))
        before = depth
        yield node if depth == node.depth else _at_depth(node, depth)


def _at_depth(node: Node, depth: int) -> Node:
    values = {name: getattr(node, name) for name in Node.__slots__}
    return Node(**values | {"depth": depth})


def _parents(nodes: Sequence[Node]) -> list[int]:
    """The index of each node's parent; -1 at a root."""
    path: list[int] = []
    parents = []
    for index, node in enumerate(nodes):
        del path[node.depth :]
        parents.append(path[-1] if path else -1)
        path.append(index)
    return parents


def _chosen(nodes: Sequence[Node], spans_max: int) -> set[int]:
    parents = _parents(nodes)
    chosen: set[int] = set()
    for index in (i for i, node in enumerate(nodes) if node.failed):
        way: list[int] = []
        above = index
        while above >= 0 and above not in chosen:
            way.append(above)
            above = parents[above]
        # Half of the room: the errors need the spans around them to mean something.
        if len(chosen) + len(way) <= max(1, spans_max // 2):
            chosen.update(way)
    for index in sorted(range(len(nodes)), key=lambda i: nodes[i].depth):
        if len(chosen) >= spans_max:
            break
        chosen.add(index)
    return chosen


def _collapsed(nodes: Sequence[Node], chosen: set[int]) -> Iterator[Row]:
    hidden: Collapsed | None = None
    for index, node in enumerate(nodes):
        if hidden is not None and (index in chosen or node.depth < hidden.depth):
            yield hidden
            hidden = None
        if index in chosen:
            yield node
            continue
        hidden = hidden or Collapsed(node.depth)
        hidden.kinds[node.kind] += 1
        hidden.errors += node.failed
    if hidden is not None:
        yield hidden


def guides(rows: Sequence[Row], levels_max: int = GUIDE_LEVELS_MAX) -> list[Guide]:
    """Each row's guide."""
    # From the end: a level is open while a later row of its depth is a sibling.
    found: list[Guide] = []
    open_depths: set[int] = set()
    below = 0
    for row in reversed(rows):
        first = max(1, row.depth - levels_max)
        found.append(
            Guide(
                open_levels=tuple(level in open_depths for level in range(first, row.depth)),
                skipped=first - 1,
                last=row.depth not in open_depths,
                has_children=below > row.depth,
            )
        )
        open_depths = {depth for depth in open_depths if depth < row.depth} | {row.depth}
        below = row.depth
    found.reverse()
    return found
