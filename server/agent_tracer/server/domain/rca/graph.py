"""The calls between components: who is reached from the alert, by which road."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from agent_tracer.server.domain.rca.view import EdgeSeries


@dataclass(frozen=True, slots=True)
class CallGraph:
    """Callees and callers of each component, sorted."""

    callees: Mapping[str, Sequence[str]]
    callers: Mapping[str, Sequence[str]]

    def reached(self, start: str, depth: int) -> dict[str, str]:
        """Everything called from `start` within `depth` calls, each with its caller on a shortest road; start: ""."""
        return _walk(self.callees, start, depth)

    def affected(self, start: str, depth: int) -> list[str]:
        """Who calls `start`, itself or through others, nearest first."""
        return [name for name in _walk(self.callers, start, depth) if name != start]

    def road(self, start: str, end: str, depth: int) -> list[str]:
        """A shortest road of calls from `start` to `end`, both included; empty where there is none."""
        before = self.reached(start, depth)
        if end not in before:
            return []
        road = [end]
        while road[-1] != start:
            road.append(before[road[-1]])
        return road[::-1]


def call_graph(edges: Iterable[EdgeSeries]) -> CallGraph:
    """The graph of the edges; calls of a component to itself are none."""
    pairs = {(edge.caller, edge.callee) for edge in edges if edge.caller != edge.callee}
    callees: dict[str, list[str]] = {}
    callers: dict[str, list[str]] = {}
    for caller, callee in sorted(pairs):
        callees.setdefault(caller, []).append(callee)
        callers.setdefault(callee, []).append(caller)
    return CallGraph(callees, callers)


def _walk(neighbours: Mapping[str, Sequence[str]], start: str, depth: int) -> dict[str, str]:
    before = {start: ""}
    waiting = deque([(start, 0)])
    while waiting:
        at, far = waiting.popleft()
        if far == depth:
            continue
        for neighbour in neighbours.get(at, ()):
            if neighbour not in before:
                before[neighbour] = at
                waiting.append((neighbour, far + 1))
    return before
