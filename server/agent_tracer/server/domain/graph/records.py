"""What the graph is made of: components, calls between them by time bucket, incidents and their causes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from agent_tracer.server.domain.graph.histograms import Histogram
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.telemetry import TimeRange

BUCKET_SECONDS: Final = 300
BUCKET_NS: Final = BUCKET_SECONDS * 1_000_000_000


class NodeKind(StrEnum):
    """As the API names them. The last two are no components: they tell of some."""

    SERVICE = "service"
    AGENT = "agent"
    MODEL = "model"
    TOOL = "tool"
    DATABASE = "database"
    INCIDENT = "incident"
    CAUSE = "cause"


COMPONENTS: Final = (NodeKind.SERVICE, NodeKind.AGENT, NodeKind.MODEL, NodeKind.TOOL, NodeKind.DATABASE)
"""Kinds that call and are called."""


class NodeKey(NamedTuple):
    """A node within a tenant: two of different kinds may have the same id."""

    kind: NodeKind
    id: str


@dataclass(frozen=True, slots=True)
class NodeCalls:
    """What a component did: how often it was called, by whomever. A caller that nobody calls has no calls."""

    node: NodeKey
    calls: int = 0
    errors: int = 0
    durations: Histogram = field(default_factory=Histogram)


@dataclass(frozen=True, slots=True)
class EdgeCalls:
    """Calls from one component to another, by the callee's time.

    `gaps`: the caller's time less the callee's (network, proxies, queues), of those calls where both are known.
    """

    source: NodeKey
    target: NodeKey
    calls: int
    errors: int = 0
    durations: Histogram = field(default_factory=Histogram)
    gaps: Histogram = field(default_factory=Histogram)


@dataclass(frozen=True, slots=True)
class GraphBucket:
    """Everything that began in the BUCKET_NS from `start_ns` (a whole number of them) on.

    `settled_ns`: the version of the data that it was made of. `version`: counts up with every bucket that is written.
    `left_out`: nodes and edges with the fewest calls that were too many to keep.
    """

    tenant: TenantId
    start_ns: int
    nodes: Sequence[NodeCalls]
    edges: Sequence[EdgeCalls]
    settled_ns: int = 0
    version: int = 0
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class GraphFact:
    """An incident, or what was found to be its cause; both have the incident's id.

    `about`: the component that the incident was noticed on, or that the cause lies in. `end_ns` None: not over.
    `confidence`: of a cause, 0 to 1. `version`: counts up with every fact that is written.
    """

    tenant: TenantId
    node: NodeKey
    about: NodeKey
    title: str
    start_ns: int
    end_ns: int | None = None
    confidence: float = 0.0
    version: int = 0


class RelationKind(StrEnum):
    """How facts hang together with components."""

    AFFECTS = "affects"
    """From an incident to a component."""
    CAUSED_BY = "caused_by"
    """From an incident to its cause."""
    LIES_IN = "lies_in"
    """From a cause to a component."""


class Relation(NamedTuple):
    """A line between two nodes that is no call."""

    source: NodeKey
    target: NodeKey
    kind: RelationKind


class Direction(StrEnum):
    """Which way calls are followed."""

    CALLEES = "callees"
    CALLERS = "callers"
    BOTH = "both"


class Walk(NamedTuple):
    """From a node, up to `depth` steps."""

    start: NodeKey
    depth: int
    direction: Direction = Direction.BOTH


@dataclass(frozen=True, slots=True)
class GraphLimit:
    """Nodes and edges that one answer holds."""

    nodes: int
    edges: int


@dataclass(frozen=True, slots=True)
class Graph:
    """Of some time. Ends of edges and relations are among the nodes. `left_out`: nodes and edges that limits cut."""

    nodes: Sequence[NodeCalls] = ()
    edges: Sequence[EdgeCalls] = ()
    relations: Sequence[Relation] = ()
    left_out: int = 0


def bucket_start(time_ns: int) -> int:
    """Of the bucket that holds the time."""
    return time_ns - time_ns % BUCKET_NS


def whole_buckets(time_range: TimeRange) -> TimeRange:
    """From the start of the first bucket that the range touches to the end of the last."""
    end_ns = bucket_start(max(time_range.end_ns - 1, time_range.start_ns))
    return TimeRange(bucket_start(time_range.start_ns), end_ns + BUCKET_NS)


def relations_of(facts: Sequence[GraphFact]) -> list[Relation]:
    """The lines that facts draw."""
    causes = {fact.node.id: fact.node for fact in facts if fact.node.kind is NodeKind.CAUSE}
    found = []
    for fact in facts:
        if fact.node.kind is NodeKind.CAUSE:
            found.append(Relation(fact.node, fact.about, RelationKind.LIES_IN))
            continue
        found.append(Relation(fact.node, fact.about, RelationKind.AFFECTS))
        if fact.node.id in causes:
            found.append(Relation(fact.node, causes[fact.node.id], RelationKind.CAUSED_BY))
    return found
