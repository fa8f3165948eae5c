"""When the table of rare words is made, and that it is the same after a restart."""

from pathlib import Path

import numpy as np
import pytest

from agent_tracer.server.adapters.embedders.fixed import FixedEmbedder
from agent_tracer.server.adapters.embedders.hashed import HashedEmbedders
from agent_tracer.server.domain.atlas.embedding import DIMENSIONS, OutlineSpan, TraceOutline
from agent_tracer.server.limits import EMBEDDED_AT_ONCE, IDF_GROWTH, IDF_TEXTS_MAX, IDF_TEXTS_MIN

OUTLINE = TraceOutline("rate limit reached", [OutlineSpan(-1, "agent", "root", "ok", 3)])
TEXTS = [f"order of customer {word}" for word in ("limit", "rate", "refund")]


async def test_words_are_not_weighted_before_there_are_traces_enough(tmp_path: Path) -> None:
    embedders = HashedEmbedders(tmp_path / "words")
    assert embedders.texts_wanted(IDF_TEXTS_MIN - 1) == 0
    assert embedders.texts_wanted(IDF_TEXTS_MIN) == IDF_TEXTS_MIN
    assert embedders.former is None
    assert embedders.current.dimensions == DIMENSIONS


async def test_the_table_stays_frozen_until_there_are_ten_times_as_many(tmp_path: Path) -> None:
    embedders = HashedEmbedders(tmp_path / "words")
    first = embedders.current
    await embedders.learn(TEXTS, 600)
    assert embedders.former is first
    assert embedders.current.id != first.id
    assert embedders.texts_wanted(600 * IDF_GROWTH - 1) == 0
    assert embedders.texts_wanted(600 * IDF_GROWTH) == IDF_TEXTS_MAX
    embedders.forget_former()
    assert embedders.former is None


async def test_a_restart_makes_the_same_vectors_under_the_same_id(tmp_path: Path) -> None:
    embedders = HashedEmbedders(tmp_path / "folder" / "words")
    await embedders.learn(TEXTS, 600)
    again = HashedEmbedders(tmp_path / "folder" / "words")
    assert again.current.id == embedders.current.id
    assert again.texts_wanted(600 * IDF_GROWTH - 1) == 0
    (one,), (other,) = await again.current.embed([OUTLINE]), await embedders.current.embed([OUTLINE])
    assert np.array_equal(one, other)


@pytest.mark.parametrize("data", [b"", b"short", bytes(8) + b"IDF1 rubbish"])
async def test_a_damaged_table_is_one_that_is_not_made_yet(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "words").write_bytes(data)
    embedders = HashedEmbedders(tmp_path / "words")
    assert embedders.current.id == HashedEmbedders(tmp_path / "none").current.id
    assert embedders.texts_wanted(IDF_TEXTS_MIN) == IDF_TEXTS_MIN


async def test_every_outline_gets_its_vector_in_its_place(tmp_path: Path) -> None:
    embedder = HashedEmbedders(tmp_path / "words").current
    outlines = [TraceOutline("word " * n, []) for n in range(1, 2 * EMBEDDED_AT_ONCE + 2)]
    together = await embedder.embed(outlines)
    alone = [(await embedder.embed([outline]))[0] for outline in outlines]
    assert np.array_equal(together, alone)
    assert await embedder.embed([]) == []


async def test_a_model_wants_no_texts(tmp_path: Path) -> None:
    model = HashedEmbedders(tmp_path / "words").current
    fixed = FixedEmbedder(model)
    assert (fixed.current, fixed.former, fixed.texts_wanted(10**9)) == (model, None, 0)
