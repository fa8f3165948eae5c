"""ports.vectors.VectorIndex in a Qdrant server: a collection of its own, made at the first call."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import structlog

from agent_tracer.server.adapters.vectors.points import KEYWORDS, NUMBERS, payload, point_id, read_payload
from agent_tracer.server.domain.ids import OtelTraceId, TenantId
from agent_tracer.server.limits import VECTORS_ANSWER_SECONDS_MAX, VECTORS_CALL_SECONDS_MAX
from agent_tracer.server.ports.vectors import (
    Neighbour,
    Vector,
    VectorConditions,
    VectorPoint,
    VectorsDownError,
    VectorsMismatchError,
)

if TYPE_CHECKING:
    from qdrant_client import AsyncQdrantClient, models

_log: Final = structlog.get_logger("vectors")
_DOWN: Final = "the Qdrant server that analytics.qdrant.url names does not answer; the server's log has the reason"
_NOT_FOUND: Final = 404
_TRANSPORT: Final = ("httpx", "httpcore")
"""Modules of errors that the client lets through."""


class QdrantVectors:
    """See the port. Nothing is imported or connected before the first call: the client takes two seconds and 60 MB."""

    def __init__(self, url: str, collection: str, dimensions: int, *, api_key: str = "") -> None:
        """`:memory:` as URL is the client's own index, for tests."""
        self._url = url
        self._collection = collection
        self._dimensions = dimensions
        self._api_key = api_key
        self._client: AsyncQdrantClient | None = None
        self._starting = asyncio.Lock()

    async def upsert(self, points: Sequence[VectorPoint], vectors: Sequence[Vector]) -> None:
        """See the port."""
        if not points:
            return
        async with self._connected() as client:
            await client.upsert(self._collection, _structs(points, vectors))

    async def nearest(self, vector: Vector, where: VectorConditions, *, limit: int) -> Sequence[Neighbour]:
        """See the port."""
        async with self._connected() as client:
            found = await client.query_points(
                self._collection, query=vector.tolist(), query_filter=_conditions(where), limit=limit, with_payload=True
            )
        return [Neighbour(read_payload(point.payload or {}), point.score) for point in found.points]

    async def received(
        self, tenant: TenantId, embedder: str, trace_ids: Sequence[OtelTraceId]
    ) -> Mapping[OtelTraceId, int]:
        """See the port."""
        ids = [point_id(tenant, trace_id) for trace_id in trace_ids]
        async with self._connected() as client:
            found = await client.retrieve(self._collection, ids, with_payload=True) if ids else []
        points = [read_payload(record.payload or {}) for record in found]
        return {point.trace_id: point.received_ns for point in points if point.embedder == embedder}

    async def delete(self, tenant: TenantId, trace_ids: Sequence[OtelTraceId]) -> None:
        """See the port."""
        ids = [point_id(tenant, trace_id) for trace_id in trace_ids]
        async with self._connected() as client:
            if ids:
                await client.delete(self._collection, _ids(ids))

    async def count(self, embedder: str = "") -> int:
        """See the port."""
        async with self._connected() as client:
            found = await client.count(self._collection, _having("embedder", [embedder]) if embedder else None)
        return found.count

    async def keep_only(self, embedder: str) -> None:
        """See the port."""
        async with self._connected() as client:
            await client.delete(self._collection, _without("embedder", embedder))

    async def trim(self, *, keep: int, received_from_ns: int) -> int | None:
        """See the port."""
        async with self._connected() as client:
            await client.delete(self._collection, _below("received_ns", received_from_ns))
            excess = (await client.count(self._collection)).count - keep
            if excess <= 0:
                return None
            records, _ = await client.scroll(
                self._collection, limit=excess + 1, order_by="received_ns", with_payload=["received_ns"]
            )
            cut = int((records[-1].payload or {})["received_ns"])
            await client.delete(self._collection, _below("received_ns", cut))
        return cut

    async def flush(self) -> None:
        """What was answered is in the server's log already."""

    async def aclose(self) -> None:
        """See the port."""
        client, self._client = self._client, None
        if client is not None:
            with suppress(Exception):  # nobody can do anything about it any more
                await client.close()

    @asynccontextmanager
    async def _connected(self) -> AsyncGenerator["AsyncQdrantClient", None]:
        """The client, the collection made; the driver's errors as the port's."""
        try:
            async with asyncio.timeout(VECTORS_CALL_SECONDS_MAX):
                yield await self._ready()
        except TimeoutError:
            raise VectorsDownError(_DOWN) from None
        except Exception as error:
            if not _is_of_driver(error):
                raise
            status = getattr(error, "status_code", None)
            _log.error("the Qdrant server failed", error=type(error).__name__, status=status)
            if status == _NOT_FOUND:
                self._client = None  # somebody removed the collection; the next call makes it
            raise VectorsDownError(_DOWN) from None

    async def _ready(self) -> "AsyncQdrantClient":
        async with self._starting:
            if self._client is None:
                # In a thread, for it takes two seconds.
                client = await asyncio.to_thread(_client, self._url, self._api_key)
                await self._make(client)
                self._client = client
        return self._client

    async def _make(self, client: "AsyncQdrantClient") -> None:
        from qdrant_client import models  # noqa: PLC0415 - two seconds

        if not await client.collection_exists(self._collection):
            size = models.VectorParams(size=self._dimensions, distance=models.Distance.COSINE, on_disk=True)
            await client.create_collection(self._collection, size, on_disk_payload=True)
        held = (await client.get_collection(self._collection)).config.params.vectors
        if not isinstance(held, models.VectorParams) or held.size != self._dimensions:
            raise VectorsMismatchError(
                f"the Qdrant collection {self._collection!r} holds no vectors of {self._dimensions} numbers: choose "
                "another name by analytics.qdrant.collection, or delete the collection"
            )
        kinds = {
            **dict.fromkeys(KEYWORDS, models.PayloadSchemaType.KEYWORD),
            **dict.fromkeys(NUMBERS, models.PayloadSchemaType.INTEGER),
        }
        for name, kind in kinds.items():
            await client.create_payload_index(self._collection, name, kind)


def _client(url: str, api_key: str) -> "AsyncQdrantClient":
    from qdrant_client import AsyncQdrantClient  # noqa: PLC0415 - two seconds

    seconds = int(VECTORS_ANSWER_SECONDS_MAX)
    # A check of versions at the start would be a request that nobody waits for.
    return AsyncQdrantClient(location=url, api_key=api_key or None, timeout=seconds, check_compatibility=False)


def _is_of_driver(error: Exception) -> bool:
    from qdrant_client.http.exceptions import ApiException  # noqa: PLC0415 - two seconds

    return isinstance(error, ApiException | OSError) or type(error).__module__.startswith(_TRANSPORT)


def _structs(points: Sequence[VectorPoint], vectors: Sequence[Vector]) -> "list[models.PointStruct]":
    from qdrant_client import models  # noqa: PLC0415 - two seconds

    return [
        models.PointStruct(id=point_id(point.tenant, point.trace_id), vector=vector.tolist(), payload=payload(point))
        for point, vector in zip(points, vectors, strict=True)
    ]


def _ids(ids: Sequence[str]) -> "models.PointIdsList":
    from qdrant_client import models  # noqa: PLC0415 - two seconds

    return models.PointIdsList(points=list(ids))


def _conditions(where: VectorConditions) -> "models.Filter":
    from qdrant_client import models  # noqa: PLC0415 - two seconds

    must: list[Any] = [*_matches("tenant", [where.tenant]), *_matches("embedder", [where.embedder])]
    if where.statuses:
        must += _matches("status", where.statuses)
    if where.time_range is not None:
        between = models.Range(gte=where.time_range.start_ns, lt=where.time_range.end_ns)
        must.append(models.FieldCondition(key="start_ns", range=between))
    return models.Filter(must=must)


def _having(field: str, values: Sequence[str]) -> "models.Filter":
    from qdrant_client import models  # noqa: PLC0415 - two seconds

    must: list[Any] = _matches(field, values)
    return models.Filter(must=must)


def _without(field: str, value: str) -> "models.Filter":
    from qdrant_client import models  # noqa: PLC0415 - two seconds

    must_not: list[Any] = _matches(field, [value])
    return models.Filter(must_not=must_not)


def _below(field: str, least: int) -> "models.Filter":
    from qdrant_client import models  # noqa: PLC0415 - two seconds

    return models.Filter(must=[models.FieldCondition(key=field, range=models.Range(lt=least))])


def _matches(field: str, values: Sequence[str]) -> list[Any]:
    from qdrant_client import models  # noqa: PLC0415 - two seconds

    return [models.FieldCondition(key=field, match=models.MatchAny(any=list(values)))]
