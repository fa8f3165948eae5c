"""The parts behind similar traces, as the settings have them. Part of the composition root (app.py)."""

import time
from contextlib import AsyncExitStack
from dataclasses import dataclass

from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.adapters.clickhouse.outlines import ClickHouseOutlines
from agent_tracer.server.adapters.data_directory import DataDirectory
from agent_tracer.server.adapters.embedders.fixed import FixedEmbedder
from agent_tracer.server.adapters.embedders.hashed import HashedEmbedders
from agent_tracer.server.adapters.embedders.openai_compatible import OpenAiEmbedder
from agent_tracer.server.adapters.vectors.edge import EdgeVectors
from agent_tracer.server.adapters.vectors.progress import FileProgress
from agent_tracer.server.adapters.vectors.qdrant import QdrantVectors
from agent_tracer.server.config import Settings
from agent_tracer.server.domain.atlas.embedding import DIMENSIONS
from agent_tracer.server.ports.vectors import Embedders, VectorIndex
from agent_tracer.server.services.trace_indexer import TraceIndexer


@dataclass(frozen=True, slots=True)
class Similarity:
    """The index, and what fills it."""

    index: VectorIndex
    indexer: TraceIndexer


def similarity_of(stack: AsyncExitStack, settings: Settings, directory: DataDirectory, engine: Engine) -> Similarity:
    """Nothing of it is connected or loaded before the first trace is indexed."""
    folder = directory.root / "similar"
    folder.mkdir(exist_ok=True)
    embedders, dimensions = _embedders(stack, settings, directory)
    index = _index(settings, directory, dimensions)
    stack.push_async_callback(index.aclose)
    indexer = TraceIndexer(
        reader=ClickHouseOutlines(engine),
        index=index,
        embedders=embedders,
        progress=FileProgress(folder / "progress"),
        clock_ns=time.time_ns,
        retention_days=settings.store.retention_days,
    )
    return Similarity(index, indexer)


def _embedders(stack: AsyncExitStack, settings: Settings, directory: DataDirectory) -> tuple[Embedders, int]:
    given = settings.analytics.embeddings
    if given is None:
        return HashedEmbedders(directory.root / "similar" / "words"), DIMENSIONS
    api_key = given.api_key.get_secret_value() if given.api_key else ""
    embedder = OpenAiEmbedder(given.url, given.model, given.dimensions, api_key=api_key)
    stack.push_async_callback(embedder.aclose)
    return FixedEmbedder(embedder), given.dimensions


def _index(settings: Settings, directory: DataDirectory, dimensions: int) -> EdgeVectors | QdrantVectors:
    given = settings.analytics.qdrant
    if given is None:
        return EdgeVectors(directory.root / "similar" / "vectors", dimensions)
    api_key = given.api_key.get_secret_value() if given.api_key else ""
    return QdrantVectors(given.url, given.collection, dimensions, api_key=api_key)
