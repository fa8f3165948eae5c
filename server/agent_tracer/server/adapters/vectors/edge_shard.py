"""The embedded index: a Qdrant Edge shard in a folder, as a process of its own uses it.

Every call of the library holds Python's lock until it is done, for seconds where it tidies, so that none may be made in
the server's process. No graph is built over the vectors (HNSW): comparing with each of a hundred thousand takes 30 ms,
building a graph over them takes minutes of both cores, and filters would have to be built into it.
"""

import shutil
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import qdrant_edge as edge

from agent_tracer.server.adapters.vectors.points import KEYWORDS, NUMBERS

_NEVER_KB: Final = 1_000_000_000
"""Segments of this size and above get a graph."""

_GARBAGE_SHARE_MAX: Final = 0.3
"""Of removed points, past which the rest is written anew: three seconds for each hundred thousand."""

_FLOAT: Final = "f"


class EdgeShard:
    """Answers messages: each public method takes and gives what JSON has, vectors as bytes of 32-bit floats.

    Raises whatever the library raises, which is plain Exception.
    """

    def __init__(self, folder: Path, dimensions: int) -> None:
        """Loads the folder's shard. One that cannot be loaded, or has other dimensions, is made anew."""
        self._dimensions = dimensions
        config = _config(dimensions)
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._shard = edge.EdgeShard.load(str(folder), config)
        except Exception:  # noqa: BLE001 - the library knows no other
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            self._shard = edge.EdgeShard.create(str(folder), config)
        self._index_fields()

    def _index_fields(self) -> None:
        """Again at every load: a crash may have come before the first time."""
        known = self._shard.info().payload_schema
        for name in KEYWORDS:
            if name not in known:
                self._shard.update(edge.UpdateOperation.create_field_index(name, edge.KeywordIndexParams()))
        for name in NUMBERS:
            if name not in known:
                params = edge.IntegerIndexParams(lookup=False, range=True)
                self._shard.update(edge.UpdateOperation.create_field_index(name, params))

    def upsert(self, block: bytes, ids: Sequence[str], payloads: Sequence[Mapping[str, Any]]) -> None:
        """The vectors follow each other in the block."""
        numbers = _numbers(block)
        if len(numbers) != len(ids) * self._dimensions:
            raise ValueError("vectors of another length")
        points = [
            edge.Point(one, numbers[at : at + self._dimensions], dict(fields))
            for one, fields, at in zip(ids, payloads, range(0, len(numbers), self._dimensions), strict=True)
        ]
        self._shard.update(edge.UpdateOperation.upsert_points(points))

    def nearest(
        self, block: bytes, limit: int, values: Mapping[str, Sequence[str]], ranges: Mapping[str, Sequence[float]]
    ) -> list[tuple[float, dict[str, Any]]]:
        """Cosine and payload, best first."""
        found = self._shard.query(
            edge.QueryRequest(
                query=edge.Query.Nearest(_numbers(block)),
                limit=limit,
                filter=_filter(values, ranges),
                with_payload=True,
                params=edge.SearchParams(exact=True),
            )
        )
        return [(point.score, point.payload or {}) for point in found]

    def payloads(self, ids: Sequence[str], fields: Sequence[str]) -> list[dict[str, Any]]:
        """Some fields of those points that are there."""
        found = self._shard.retrieve(list(ids), with_payload=list(fields), with_vector=False)
        return [record.payload or {} for record in found]

    def delete(self, ids: Sequence[str]) -> None:
        """Those that are there."""
        self._shard.update(edge.UpdateOperation.delete_points(list(ids)))

    def count(self, values: Mapping[str, Sequence[str]]) -> int:
        """Points that have these values."""
        return int(self._shard.count(edge.CountRequest(exact=True, filter=_filter(values, {}))))

    def keep_only(self, field: str, value: str) -> None:
        """Removes the points that have another value."""
        other = edge.Filter(must_not=[edge.FieldCondition(key=field, match=edge.MatchValue(value))])
        self._shard.update(edge.UpdateOperation.delete_points_by_filter(other))
        self._shard.optimize()

    def trim(self, field: str, keep: int, least: int) -> int | None:
        """Removes the points with less in the field, then the least until about `keep` are left."""
        self._delete_below(field, least)
        excess = self.count({}) - keep
        cut: int | None = None
        if excess > 0:
            order = edge.OrderBy(field, edge.Direction.Asc)
            request = edge.ScrollRequest(limit=excess + 1, order_by=order, with_payload=[field])
            cut = int((self._shard.scroll(request)[0][-1].payload or {})[field])
            self._delete_below(field, cut)
        self._shard.optimize()
        return cut

    def _delete_below(self, field: str, least: int) -> None:
        below = edge.FieldCondition(key=field, range=edge.RangeFloat(lt=float(least)))
        self._shard.update(edge.UpdateOperation.delete_points_by_filter(edge.Filter(must=[below])))

    def flush(self) -> None:
        """To the disk."""
        self._shard.flush()

    def close(self) -> None:
        """The shard takes no calls any more."""
        self._shard.close()


def _config(dimensions: int) -> edge.EdgeConfig:
    cold = edge.Memory.Cold  # what is not read is not kept in memory
    return edge.EdgeConfig(
        vectors=edge.EdgeVectorParams(size=dimensions, distance=edge.Distance.Cosine, memory=cold),
        payload_memory=cold,
        max_search_threads=1,
        optimizers=edge.EdgeOptimizersConfig(
            indexing_threshold=_NEVER_KB, default_segment_number=1, deleted_threshold=_GARBAGE_SHARE_MAX
        ),
    )


def _filter(values: Mapping[str, Sequence[str]], ranges: Mapping[str, Sequence[float]]) -> edge.Filter | None:
    conditions: list[Any] = [
        edge.FieldCondition(key=key, match=edge.MatchAny(list(any_of))) for key, any_of in values.items()
    ]
    conditions += [
        edge.FieldCondition(key=key, range=edge.RangeFloat(gte=first, lt=end)) for key, (first, end) in ranges.items()
    ]
    return edge.Filter(must=conditions) if conditions else None


def _numbers(block: bytes) -> list[float]:
    numbers = array(_FLOAT)
    numbers.frombytes(block)
    return numbers.tolist()
