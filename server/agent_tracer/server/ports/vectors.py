"""What similarity asks of an index of vectors, and of what makes vectors out of traces."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from agent_tracer.server.domain.atlas.embedding import TraceOutline
from agent_tracer.server.domain.ids import AgentId, OtelTraceId, TenantId
from agent_tracer.server.domain.telemetry import TimeRange

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Vector: TypeAlias = "NDArray[np.float32]"
"""One dimension, as many numbers as the embedder says; not all zero."""


class VectorsDownError(Exception):
    """The index does not answer, or not in time. Trying again later may help. The text is for callers."""


class VectorsMismatchError(VectorsDownError):
    """The index holds vectors of another length than the embedder makes; the text names the setting to change."""


class EmbedderDownError(Exception):
    """The embedding service does not answer, or not in time. Trying again later may help. The text is for callers."""


class EmbedderRefusedError(EmbedderDownError):
    """The embedding service will not take what it is given; the text names the settings to look at."""


@dataclass(frozen=True, slots=True)
class VectorPoint:
    """A trace in the index. `embedder`: id of what made the vector; only vectors of one embedder can be compared.

    `received_ns`: when the last was received of what the vector is made of. `status` is as of then.
    """

    tenant: TenantId
    trace_id: OtelTraceId
    embedder: str
    agent_id: AgentId
    operation: str
    status: str
    start_ns: int
    received_ns: int


@dataclass(frozen=True, slots=True)
class VectorConditions:
    """Which points may be answered. Empty `statuses`: whatever the status."""

    tenant: TenantId
    embedder: str
    statuses: Sequence[str] = ()
    time_range: TimeRange | None = None


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A point, and the cosine of its vector and the one asked for, -1 to 1."""

    point: VectorPoint
    similarity: float


class VectorIndex(Protocol):
    """Vectors of traces, one for each trace of a tenant, whatever embedder made it.

    What a call wrote, every later call sees, in the next process too: it survives the end of this one, however that
    comes. Only `flush` makes it survive the end of the machine. Nothing in here is the only copy of anything, so an
    index that is damaged may come back empty. Calls may come at any time and wait for each other. Every write may be
    repeated. Raises VectorsDownError, from the first call on where the index is not there.
    """

    async def upsert(self, points: Sequence[VectorPoint], vectors: Sequence[Vector]) -> None:
        """Put the points there, each with the vector of its place; a trace's former point is replaced. All or some."""
        ...

    async def nearest(self, vector: Vector, where: VectorConditions, *, limit: int) -> Sequence[Neighbour]:
        """The most similar first, at most `limit`. Bounds of the time range hold to a microsecond.

        Of a hundred thousand points those of the embedded index are exact; a server's may miss some.
        """
        ...

    async def received(
        self, tenant: TenantId, embedder: str, trace_ids: Sequence[OtelTraceId]
    ) -> Mapping[OtelTraceId, int]:
        """Those of the traces that have a point of the embedder, with its `received_ns`."""
        ...

    async def delete(self, tenant: TenantId, trace_ids: Sequence[OtelTraceId]) -> None:
        """Remove the points of these traces, where there are any."""
        ...

    async def count(self, embedder: str = "") -> int:
        """How many points there are of all tenants: made by the embedder, or by any where none is given."""
        ...

    async def keep_only(self, embedder: str) -> None:
        """Remove the points that other embedders made."""
        ...

    async def trim(self, *, keep: int, received_from_ns: int) -> int | None:
        """Remove what was received before the time, then the first received until about `keep` points are left.

        The receipt of the oldest point that is left where `keep` was passed, else None.
        """
        ...

    async def flush(self) -> None:
        """Make what was written durable."""
        ...

    async def aclose(self) -> None:
        """Let go of everything. Never raises VectorsDownError."""
        ...


class Embedder(Protocol):
    """Makes vectors out of traces: the same trace, the same vector. Raises EmbedderDownError."""

    @property
    def id(self) -> str:
        """Of everything that the vectors depend on: another method, model or table of weights has another id."""
        ...

    @property
    def dimensions(self) -> int:
        """Numbers of a vector."""
        ...

    async def embed(self, outlines: Sequence[TraceOutline]) -> Sequence[Vector]:
        """One vector for each, in their order."""
        ...


class Embedders(Protocol):
    """The embedder of now, and the one before it as long as vectors of it may be about."""

    @property
    def current(self) -> Embedder:
        """What new vectors are made with."""
        ...

    @property
    def former(self) -> Embedder | None:
        """Of the same dimensions. None where every vector was made with `current`."""
        ...

    def texts_wanted(self, traces: int) -> int:
        """Of how many traces, the latest, it should be shown the texts, where there are so many traces; 0: of none."""
        ...

    async def learn(self, texts: Sequence[str], traces: int) -> None:
        """Take these texts for how texts are; another embedder is `current` on return, also after a restart."""
        ...

    def forget_former(self) -> None:
        """No vector of it is about any more."""
        ...
