"""What is asked of a graph of components and calls, and of what makes it. Times are UTC nanoseconds."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from agent_tracer.server.domain.graph.records import Graph, GraphBucket, GraphFact, GraphLimit, NodeKey, Walk
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.telemetry import TimeRange


class GraphDownError(Exception):
    """The graph database does not answer, or not in time. Trying again later may help.

    The text is for callers, and names the setting to look at.
    """


class GraphRefusedError(GraphDownError):
    """The graph database answers, but will not do it: user, password, or a database that is not there."""


class Versions(NamedTuple):
    """The greatest version of what a store was ever given; 0 where it was given nothing."""

    buckets: int
    facts: int


class GraphReader(Protocol):
    """Reads of a time range see the buckets that it touches, whole, and the facts of incidents going on in it.

    Counts and histograms of several buckets are added up. Raises GraphDownError, or what ports.store raises.
    """

    async def graph(self, tenant: TenantId, time_range: TimeRange, limit: GraphLimit) -> Graph:
        """Components and calls, those with the most calls first, cut to the limit. No facts.

        Nodes that no edge of the answer touches are kept; edges whose ends the limit of nodes cut are not.
        """
        ...

    async def around(self, tenant: TenantId, walk: Walk, time_range: TimeRange, limit: GraphLimit) -> Graph:
        """What a walk comes to, with every call and relation in between.

        Calls are followed in the walk's direction, relations either way. Where the limit cuts, the farthest nodes go
        first, then the edges with the fewest calls. A node that is not there at that time stands alone, without calls.
        """
        ...

    async def roads(
        self, tenant: TenantId, ends: tuple[NodeKey, NodeKey], time_range: TimeRange, *, depth: int, limit: int
    ) -> Sequence[Sequence[NodeKey]]:
        """All shortest roads of calls from the first end to the second, both included, by their nodes.

        Empty where none has up to `depth` calls.
        """
        ...


class GraphWriter(Protocol):
    """Each write may be repeated. Durable on return. Raises as GraphReader does."""

    async def put(self, buckets: Sequence[GraphBucket]) -> None:
        """Each bucket takes the place of the whole former bucket of its tenant and start.

        One after the other, in their order: what fails leaves whole buckets.
        """
        ...

    async def put_facts(self, facts: Sequence[GraphFact]) -> None:
        """Each takes the place of the former fact of its tenant and node."""
        ...

    async def versions(self) -> Versions:
        """What was put last, so that a copy knows where to go on: writers put in the order of versions."""
        ...

    async def trim(self, from_ns: int) -> None:
        """Remove buckets that start before. A store that has a retention of its own does nothing."""
        ...

    async def aclose(self) -> None:
        """Let go of everything. Never raises GraphDownError."""
        ...


class GraphStore(GraphReader, GraphWriter, Protocol):
    """Both."""


class GraphLog(Protocol):
    """What a copy of a store is made of. Raises what ports.store raises."""

    async def buckets_after(self, version: int, *, from_ns: int, rows: int) -> Sequence[GraphBucket]:
        """The next in order of version that start at `from_ns` or later; empty where there is none.

        About `rows` nodes and edges, at least one bucket.
        """
        ...

    async def facts_after(self, version: int, *, limit: int) -> Sequence[GraphFact]:
        """The next in order of version."""
        ...


class TouchedBucket(NamedTuple):
    """A bucket of which calls were settled. `settled_ns` is the version of the last of them."""

    tenant: TenantId
    start_ns: int
    settled_ns: int


class Touched(NamedTuple):
    """Some of the buckets, the latest first, and how many there are in all."""

    some: Sequence[TouchedBucket]
    waiting: int


class GraphSource(Protocol):
    """What settled calls say. Raises StoreDownError, QueryTimeoutError, TooMuchDataError."""

    async def touched(self, *, after_ns: int, limit: int) -> Touched:
        """Buckets of which more is settled than the store's graph holds, over restarts too.

        Looks at those alone of which something was settled after that version: 0 for all.
        """
        ...

    async def made(self, touched: Sequence[TouchedBucket]) -> Sequence[GraphBucket]:
        """The buckets as settled calls make them, in the order given; empty where nothing is left of one.

        Past GRAPH_BUCKET_NODES_MAX and GRAPH_BUCKET_EDGES_MAX those with the fewest calls are left out.
        """
        ...
