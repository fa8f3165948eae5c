"""The embedder that needs no model: hashed words and the shape of the span tree (domain/atlas/embedding).

How rare a word is comes from a table that is frozen: vectors of one table can be compared, those of two cannot. The
table is kept in a file. There is none at first, and every word counts the same. It is made from the latest texts when
there are IDF_TEXTS_MIN traces, and anew whenever there are IDF_GROWTH times as many as at the last time. Each time
makes a new embedder with an id of its own, and the traces are embedded again, latest first; until that is done the
former one serves those that still wait. To have it made anew earlier, remove the file while the server is stopped.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from struct import Struct
from struct import error as StructError  # noqa: N812 - it is an exception
from typing import Final

import structlog

from agent_tracer.server.adapters.journal.files import write_new
from agent_tracer.server.domain.atlas.embedding import DIMENSIONS, Idf, IdfError, TraceOutline, embed, embedder_id
from agent_tracer.server.limits import EMBEDDED_AT_ONCE, IDF_GROWTH, IDF_TEXTS_MAX, IDF_TEXTS_MIN
from agent_tracer.server.ports.vectors import Embedder, Vector

_log: Final = structlog.get_logger("vectors")
_TRACES: Final = Struct("<Q")


class HashedEmbedder:
    """ports.vectors.Embedder with one frozen table."""

    def __init__(self, idf: Idf) -> None:
        self._idf = idf
        self._id = embedder_id(idf)

    @property
    def id(self) -> str:
        """See the port: the method, its dimensions and the table's name."""
        return self._id

    @property
    def dimensions(self) -> int:
        """See the port."""
        return DIMENSIONS

    async def embed(self, outlines: Sequence[TraceOutline]) -> Sequence[Vector]:
        """See the port. On a worker thread, some at a time, so that other threads have their turn."""
        vectors: list[Vector] = []
        for first in range(0, len(outlines), EMBEDDED_AT_ONCE):
            some = outlines[first : first + EMBEDDED_AT_ONCE]
            vectors += await asyncio.to_thread(self._embed, some)
        return vectors

    def _embed(self, outlines: Sequence[TraceOutline]) -> Sequence[Vector]:
        return [embed(outline, self._idf) for outline in outlines]


class HashedEmbedders:
    """ports.vectors.Embedders with the table in a file, which says too how many traces there were when it was made."""

    def __init__(self, path: Path) -> None:
        """Raises OSError where the file is there and cannot be read. One that is damaged is made anew in time."""
        self._path = path
        self._traces, idf = _load(path)
        self._current = HashedEmbedder(idf)
        self._former: HashedEmbedder | None = None

    @property
    def current(self) -> Embedder:
        """See the port."""
        return self._current

    @property
    def former(self) -> Embedder | None:
        """See the port."""
        return self._former

    def texts_wanted(self, traces: int) -> int:
        """See the port."""
        due = traces >= max(IDF_TEXTS_MIN, self._traces * IDF_GROWTH)
        return min(traces, IDF_TEXTS_MAX) if due else 0

    async def learn(self, texts: Sequence[str], traces: int) -> None:
        """See the port. Raises OSError where the file cannot be written."""
        idf = await asyncio.to_thread(Idf.of, texts)
        await asyncio.to_thread(self._save, traces, idf)
        self._former, self._current, self._traces = self._current, HashedEmbedder(idf), traces

    def forget_former(self) -> None:
        """See the port."""
        self._former = None

    def _save(self, traces: int, idf: Idf) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_new(self._path, _TRACES.pack(traces) + idf.to_bytes())


def _load(path: Path) -> tuple[int, Idf]:
    try:
        data = path.read_bytes()
        return _TRACES.unpack_from(data)[0], Idf.from_bytes(data[_TRACES.size :])
    except FileNotFoundError:
        pass
    except (IdfError, StructError):
        _log.warning("the table of rare words is damaged; it is made anew when there are traces enough")
    return 0, Idf.of(())
