"""A trace's spans as a tree: order, depth, inherited agents. No recursion, so depth has no bound."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

from agent_tracer.server.domain.ids import AgentId, SpanId


class TreeSpan(Protocol):
    """What of a span its place in the tree depends on."""

    @property
    def span_id(self) -> SpanId:
        """As in telemetry.Span."""
        ...

    @property
    def parent_id(self) -> SpanId | None:
        """As in telemetry.Span."""
        ...

    @property
    def start_ns(self) -> int:
        """As in telemetry.Span."""
        ...

    @property
    def agent_id(self) -> AgentId:
        """As in telemetry.Span."""
        ...


AnySpan = TypeVar("AnySpan", bound=TreeSpan)


class Placed(NamedTuple, Generic[AnySpan]):
    """A span in its place: depth under its root, and its own agent, else its nearest ancestor's, else ""."""

    span: AnySpan
    depth: int
    agent_id: AgentId


def depth_first(spans: Sequence[AnySpan]) -> list[Placed[AnySpan]]:
    """Every span id once, parents before their children; roots and siblings by start time, then id.

    A span whose parent is not among them is a root. Of a cycle, the earliest span is taken as the root.
    O(n log n): 100,000 spans in about a third of a second.
    """
    by_id: dict[SpanId, AnySpan] = {}
    for span in sorted(spans, key=_by_start):
        by_id.setdefault(span.span_id, span)
    return inherit_agents(_walk(by_id))


def inherit_agents(walked: Sequence[tuple[AnySpan, int]]) -> list[Placed[AnySpan]]:
    """Give every span without an agent its nearest ancestor's. Takes depth-first spans with their depth."""
    path: list[AgentId] = []
    placed = []
    for span, depth in walked:
        del path[depth:]
        agent_id = span.agent_id or (path[-1] if path else AgentId(""))
        path.append(agent_id)
        placed.append(Placed(span, depth, agent_id))
    return placed


def _by_start(span: TreeSpan) -> tuple[int, SpanId]:
    return span.start_ns, span.span_id


def _walk(by_id: Mapping[SpanId, AnySpan]) -> list[tuple[AnySpan, int]]:
    children: dict[SpanId, list[AnySpan]] = {}
    roots = []
    for span in by_id.values():
        if span.parent_id is not None and span.parent_id in by_id:
            children.setdefault(span.parent_id, []).append(span)
        else:
            roots.append(span)
    walked: list[tuple[AnySpan, int]] = []
    for root in roots:
        walked.extend(_descend(root, children))
    if len(walked) < len(by_id):
        walked.extend(_break_cycles(by_id, children))
    return walked


def _descend(root: AnySpan, children: dict[SpanId, list[AnySpan]]) -> Iterator[tuple[AnySpan, int]]:
    """Takes the children it visits out of the table, so nothing is visited twice, cycles included."""
    waiting = [(root, 0)]
    while waiting:
        span, depth = waiting.pop()
        yield span, depth
        waiting.extend((child, depth + 1) for child in reversed(children.pop(span.span_id, ())))


def _break_cycles(
    by_id: Mapping[SpanId, AnySpan], children: dict[SpanId, list[AnySpan]]
) -> Iterator[tuple[AnySpan, int]]:
    """What no root leads to hangs from a cycle. Whose parent is still in the table was not visited."""
    for span in by_id.values():
        if span.parent_id not in children:
            continue
        root = min(_cycle_above(span, by_id), key=_by_start)
        children[root.parent_id].remove(root)  # type: ignore[index]
        yield from _descend(root, children)


def _cycle_above(span: AnySpan, by_id: Mapping[SpanId, AnySpan]) -> list[AnySpan]:
    climbed: dict[SpanId, int] = {}
    path: list[AnySpan] = []
    while span.span_id not in climbed:
        climbed[span.span_id] = len(path)
        path.append(span)
        span = by_id[span.parent_id]  # type: ignore[index]
    return path[climbed[span.span_id] :]
