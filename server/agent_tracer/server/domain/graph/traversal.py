"""Roads through the graph: what is near a component, and how calls get from one to another."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent_tracer.server.domain.graph.records import Direction, Graph, NodeCalls, NodeKey, Relation, Walk

if TYPE_CHECKING:
    import rustworkx

Pair = tuple[NodeKey, NodeKey]
"""Somebody who called, and whom."""


@dataclass(frozen=True, slots=True)
class Reached:
    """Nodes by how many steps away they are; `is_cut`: there would have been more."""

    steps: Mapping[NodeKey, int]
    is_cut: bool = False


def reach(pairs: Iterable[Pair], relations: Iterable[Relation], walk: Walk, *, most: int) -> Reached:
    """What the walk comes to, its start included; at most `most` nodes, the nearest, then by key.

    Calls are followed in the direction, relations either way.
    """
    net = _Net.of([*_walks(pairs, walk.direction), *_either(relations)], walk.start)
    far = net.steps_from(walk.start, walk.depth)
    nearest = sorted(far, key=lambda node: (far[node], node))
    return Reached({node: far[node] for node in nearest[:most]}, len(nearest) > most)


def surroundings(among: Graph, reached: Reached, relations: Iterable[Relation]) -> Graph:
    """What was reached as a graph: `among` has calls between them, but no node that nobody called."""
    known = {one.node for one in among.nodes}
    nodes = [*among.nodes, *(NodeCalls(node) for node in sorted(reached.steps) if node not in known)]
    inside = [one for one in relations if one.source in reached.steps and one.target in reached.steps]
    return Graph(nodes, among.edges, inside, among.left_out + reached.is_cut)


def shortest_roads(
    pairs: Iterable[Pair], source: NodeKey, target: NodeKey, *, depth: int, most: int
) -> Sequence[Sequence[NodeKey]]:
    """All roads of the fewest calls from one to the other, both included, by their nodes; none past `depth` calls.

    At most `most`: there may be exponentially many.
    """
    net = _Net.of([(after, before) for before, after in pairs], target)
    far = net.steps_from(target, depth)
    if source not in far:
        return []
    roads = _descending(net, far, (source,))
    return [road for road, _ in zip(roads, range(most), strict=False)]


def _descending(net: "_Net", far: Mapping[NodeKey, int], road: tuple[NodeKey, ...]) -> Iterator[tuple[NodeKey, ...]]:
    """Every road on which each step is one nearer."""
    at = road[-1]
    if far[at] == 0:
        yield road
        return
    for after in net.before(at):
        if far.get(after) == far[at] - 1:
            yield from _descending(net, far, (*road, after))


def _walks(pairs: Iterable[Pair], direction: Direction) -> Iterator[Pair]:
    for source, target in pairs:
        if direction is not Direction.CALLERS:
            yield source, target
        if direction is not Direction.CALLEES:
            yield target, source


def _either(relations: Iterable[Relation]) -> Iterator[Pair]:
    for source, target, _ in relations:
        yield source, target
        yield target, source


class _Net:
    """Nodes by number in a rustworkx graph."""

    def __init__(self, graph: "rustworkx.PyDiGraph[NodeKey, int]", numbers: Mapping[NodeKey, int]) -> None:
        self._graph = graph
        self._numbers = numbers

    @classmethod
    def of(cls, pairs: Iterable[Pair], start: NodeKey) -> "_Net":
        """Imported here: a server that nobody asks for its graph has no use for it."""
        import rustworkx  # noqa: PLC0415 - see above

        known = set(pairs)
        nodes = sorted({start, *(node for pair in known for node in pair)})
        graph: rustworkx.PyDiGraph[NodeKey, int] = rustworkx.PyDiGraph(multigraph=False)
        numbers = dict(zip(nodes, graph.add_nodes_from(nodes), strict=True))
        graph.add_edges_from([(numbers[source], numbers[target], 1) for source, target in known])
        return cls(graph, numbers)

    def steps_from(self, start: NodeKey, depth: int) -> dict[NodeKey, int]:
        """How far everything within `depth` steps is."""
        import rustworkx  # noqa: PLC0415 - loaded by now

        first = self._numbers[start]
        lengths = rustworkx.digraph_dijkstra_shortest_path_lengths(self._graph, first, float)
        found = {self._graph[number]: int(length) for number, length in lengths.items() if length <= depth}
        return {start: 0} | found

    def before(self, node: NodeKey) -> list[NodeKey]:
        """Whose steps lead to the node, by key."""
        return sorted(self._graph.predecessors(self._numbers[node]))
