"""Which spans a trace's duration is made of: the critical path.

Source: Zhang, Ramanathan, Raj, Parwal, Sherwood, Chabbi: "CRISP: Critical Path Analysis of Large-Scale Microservice
Architectures", USENIX ATC 2022. From a span's end backwards: the child that ends last is on the path, then the child
that ends last among those over before that one began, and so on; what no such child covers is the span's own time.

Clocks of several machines disagree, and work outlives who asked for it. As in CRISP:
- a child that reaches over one end of its parent is cut there;
- a child that lies outside its parent, or starts before and ends after it, is left out with all below it;
- a server's span under a client's only call keeps its length, at most 1 % longer, and is moved into the call;
- siblings that overlap by less than 1 % of their parent count as one after the other, where no third one starts or
  ends in the overlap; the earlier one is moved forward in time, so that nothing is counted twice.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Generic

from agent_tracer.server.domain.atlas.timed_tree import TOP, AnyTimed, TimedTree, timed_tree
from agent_tracer.server.domain.ids import AgentId

OVERLAP_SHARE_MAX: Final = 0.01
"""CRISP's allowance for clocks: siblings may overlap by less than this share of their parent's duration."""

SERVER_LENGTHENING_MAX: Final = 1.01
"""CRISP's bound up to which a server's span may be longer than the call that it answers."""


@dataclass(frozen=True, slots=True)
class Segment(Generic[AnyTimed]):
    """A stretch of the path that is one span's own. Without a span where none of several roots was running.

    A span on the path whose children take all of its time has one segment of no duration. Times are on the path's
    clock: they differ from the span's own where that was corrected. `agent_id` is inherited where the span has none.
    """

    span: AnyTimed | None
    agent_id: AgentId
    start_ns: int
    duration_ns: int


@dataclass(frozen=True, slots=True)
class CriticalPath(Generic[AnyTimed]):
    """Segments in time order, not overlapping; their durations add up to the trace's, exactly."""

    segments: Sequence[Segment[AnyTimed]]
    duration_ns: int


@dataclass(slots=True)
class _Place:
    """A span's window on the path's clock, and how far it was moved there."""

    index: int
    start: int
    end: int
    shift: int

    def move(self, by: int) -> None:
        self.start += by
        self.end += by
        self.shift += by

    def cut(self, start: int, end: int) -> None:
        self.start = min(max(self.start, start), end)
        self.end = min(max(self.end, self.start), end)


def critical_path(spans: Sequence[AnyTimed]) -> CriticalPath[AnyTimed]:
    """The critical path of a trace's spans, in any order. O(n log n), without recursion.

    Raises ValueError where there are no spans.
    """
    return path_of(timed_tree(spans))


def path_of(tree: TimedTree[AnyTimed]) -> CriticalPath[AnyTimed]:
    """As critical_path, of a tree at hand."""
    segments: list[Segment[AnyTimed]] = []
    waiting = [_Place(TOP, tree.starts[TOP], tree.ends[TOP], 0)]
    while waiting:
        place = waiting.pop()
        chain = _chain(tree, place)
        segments.extend(_own(tree, place, chain))
        waiting.extend(chain)
    # Stable, and parents come before their children: a span without time of its own stays before what covers it.
    segments.sort(key=lambda segment: (segment.start_ns, segment.duration_ns > 0))
    return CriticalPath(segments, tree.duration_ns)


def _own(tree: TimedTree[AnyTimed], place: _Place, chain: Sequence[_Place]) -> Iterator[Segment[AnyTimed]]:
    """What of the window the chain, given from its end backwards, leaves over."""
    span, agent_id = tree.spans[place.index], tree.agents[place.index]
    covered = [(child.start, child.end) for child in reversed(chain)]
    pairs = zip([place.start, *(end for _, end in covered)], [*(start for start, _ in covered), place.end], strict=True)
    gaps = [(start, end) for start, end in pairs if end > start]
    if not gaps and span is not None:
        gaps = [(place.start, place.start)]
    for start, end in gaps:
        yield Segment(span, agent_id, start, end - start)


def _chain(tree: TimedTree[AnyTimed], parent: _Place) -> list[_Place]:
    """The children on the path, last one first, next to each other within their parent."""
    children = [_Place(child, tree.starts[child], tree.ends[child], 0) for child in tree.children[parent.index]]
    kept = [child for child in children if _fit(tree, child, parent)]
    kept.sort(key=lambda child: (child.end, child.start, child.index), reverse=True)
    if tree.spans[parent.index] is None:
        return _covering(kept, parent.end)
    chain = _one_after_the_other(kept, parent.end - parent.start)
    latest = parent.end
    for child in chain:
        child.move(min(0, latest - child.end))
        child.cut(parent.start, latest)
        latest = child.start
    return chain


def _fit(tree: TimedTree[AnyTimed], child: _Place, parent: _Place) -> bool:
    """Move and cut the child to its parent's window; False where it is no part of it."""
    child.move(parent.shift)
    inside = parent.start <= child.start and child.end <= parent.end
    if not inside and _answers_call(tree, child, parent):
        slack = (parent.end - parent.start) - (child.end - child.start)
        child.move(parent.start + max(0, slack) // 2 - child.start)
    elif not inside and (
        child.start >= parent.end
        or child.end <= parent.start
        or (child.start < parent.start and child.end > parent.end)
    ):
        return False
    child.cut(parent.start, parent.end)
    return True


def _answers_call(tree: TimedTree[AnyTimed], child: _Place, parent: _Place) -> bool:
    """Whether the two are the server's and the client's view of one call.

    The caller's span may lack its kind: then it counts as a client's where it lies between two servers.
    """
    above = tree.parents[parent.index]
    kinds = [_kind(tree, index) for index in (child.index, parent.index, above)]
    called = kinds[0] == "server" and (kinds[1] == "client" or (kinds[1] != "server" and kinds[2] == "server"))
    return (
        called
        and len(tree.children[parent.index]) == 1
        and child.end - child.start <= SERVER_LENGTHENING_MAX * (parent.end - parent.start)
    )


def _kind(tree: TimedTree[AnyTimed], index: int) -> str:
    span = tree.spans[index] if index >= 0 else None
    return "" if span is None else span.kind


def _one_after_the_other(ordered: Sequence[_Place], duration: int) -> list[_Place]:
    """CRISP's chain: each child of it is over before the next one begins. Takes the last one to end first."""
    events = sorted(time for child in ordered for time in (child.start, child.end))
    chain: list[_Place] = list(ordered[:1])
    for child in ordered[1:]:
        if _happens_before(child, chain[-1], events, duration):
            chain.append(child)
    return chain


def _happens_before(earlier: _Place, later: _Place, events: Sequence[int], duration: int) -> bool:
    if earlier.end < later.start:
        return True
    if earlier.end >= later.end or earlier.start >= later.start:
        return False
    within = bisect_right(events, earlier.end) - bisect_left(events, later.start)
    only_these_two = 2
    return earlier.end - later.start < OVERLAP_SHARE_MAX * duration and within == only_these_two


def _covering(ordered: Sequence[_Place], end: int) -> list[_Place]:
    """Of several roots: whichever was running, the last one to end first, so that only idle time is nobody's."""
    chain = []
    for root in ordered:
        if root.start < end:
            root.cut(root.start, end)
            chain.append(root)
            end = root.start
    return chain
