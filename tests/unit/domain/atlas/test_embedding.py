"""Trace embeddings: near where traces are alike, the same on every machine."""

import random
import subprocess
import sys
import time
from typing import Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_tracer.server.domain.atlas.embedding import (
    DIMENSIONS,
    Idf,
    IdfError,
    OutlineSpan,
    TraceOutline,
    embed,
    embedder_id,
)

FAILURES: Final = {
    # What the class is called: what its traces say, the steps they take, and the kind of step that fails.
    "timeout": (["call took longer than {n} ms and was given up", "deadline of {n} s passed for search_api", "no answer from {h} in time", "waited too long for upstream"], "llm:plan tool:search_api tool:search_api llm:answer", "tool"),
    "ratelimit": (["provider says 429, too many requests", "limit reached, try again in {n} s", "token quota of this minute used up", "upstream throttles us, pause {n} ms"], "llm:plan llm:plan llm:plan llm:answer", "llm"),
    "loop": (["same action taken {n} times", "stopped at the iteration limit without an answer", "cycle found: the tool was asked the same again", "no steps left in the budget"], " ".join(["llm:plan tool:calc"] * 6), "agent"),
    "badjson": (["model output is no JSON", "function arguments invalid, expected a property name", "arguments do not fit the schema", "tool call broken off at char {n}"], "llm:plan tool:db_query llm:answer", "llm"),
    "auth": (["401, the api key is not valid", "account {h} has no access", "token ran out at {n}", "not permitted to call crm"], "llm:plan tool:crm llm:answer", "tool"),
    "context": (["{n} tokens exceed the context length", "prompt does not fit the model window", "input cut by {n} tokens", "context window overflows"], "retrieval:vec retrieval:vec llm:answer", "llm"),
    "nothing": (["no documents came back", "0 hits in the index", "no passage fits the question", "empty result of the vector search"], "retrieval:vec llm:answer", "retrieval"),
    "database": (["postgres at {h}:5432 refuses connections", "database cannot be reached", "pool is empty, {n} wait", "server closed the connection, OperationalError"], "llm:plan tool:db_query tool:db_query llm:answer", "tool"),
}  # fmt: skip
CHATTER: Final = [
    "customer asks for order {n}",
    "session {h} begins",
    "write the report",
    "what comes next",
    "back to client {n}",
]


def trace(failure: str, draw: random.Random) -> TraceOutline:
    said, steps, failing = FAILURES[failure]
    spans = [OutlineSpan(-1, "agent", "root", "ok", draw.random() * 4_000)]
    for kind, name in (step.split(":") for step in steps.split()):
        if draw.random() < 0.15:
            continue
        parent = 0 if draw.random() < 0.7 else len(spans) - 1
        status = "error" if kind == failing and draw.random() < 0.6 else "ok"
        spans.append(OutlineSpan(parent, kind, name, status, draw.random() * 900))
    if draw.random() < 0.3:
        spans.append(OutlineSpan(0, "tool", "logger", "ok", 5))
    texts = [*draw.sample(CHATTER, 2), draw.choice(said)]
    filled = [text.format(n=draw.randrange(9_999), h=f"h{draw.randrange(1 << 30):x}") for text in texts]
    return TraceOutline(" ; ".join(filled), spans)


def test_nine_in_ten_of_the_nearest_traces_failed_in_the_same_way() -> None:
    draw = random.Random(1)
    labels = np.array([failure for failure in FAILURES for _ in range(60)])
    traces = [trace(failure, draw) for failure in labels]
    idf = Idf.of(one.text for one in traces)
    started = time.process_time()
    vectors = np.array([embed(one, idf) for one in traces])
    each_us = (time.process_time() - started) / len(traces) * 1e6
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -2)
    nearest = np.argsort(-cosines, axis=1)[:, :10]
    precision = float(np.mean(labels[nearest] == labels[:, None]))
    print(f"P@10 {precision:.3f}, {each_us:.0f} us a trace")
    assert precision >= 0.95


spans = st.builds(
    OutlineSpan,
    st.just(-1),
    st.text(max_size=5),
    st.text(max_size=5),
    st.sampled_from(["ok", "error"]),
    st.floats(-1, 1e15),
)


@given(st.builds(TraceOutline, st.text(), st.lists(spans, max_size=5)))
def test_every_trace_is_a_vector_of_length_one(one: TraceOutline) -> None:
    vector = embed(one, Idf.of(["some text"]))
    assert vector.shape == (DIMENSIONS,)
    assert vector.dtype == np.float32
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_another_process_makes_the_same_vector_whatever_its_hash_seed() -> None:
    program = (
        "from agent_tracer.server.domain.atlas.embedding import *;"
        "idf = Idf.of(['a b', 'b c']);"
        "print(embed(TraceOutline('a b 12 c', [OutlineSpan(-1, 'llm', 'chat 3', 'error', 7)]), idf).tobytes().hex(), idf.epoch)"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_a_table_read_back_makes_the_same_vectors_under_the_same_id() -> None:
    idf = Idf.of(["rate limit reached", "rate of return"])
    again = Idf.from_bytes(idf.to_bytes())
    outline = TraceOutline("rate limit", [])
    assert embedder_id(again) == embedder_id(idf)
    assert np.array_equal(embed(outline, again), embed(outline, idf))


def test_vectors_made_with_other_counts_have_another_id() -> None:
    assert embedder_id(Idf.of(["a"])) != embedder_id(Idf.of(["a", "b"]))


@pytest.mark.parametrize(
    "data", [b"", b"IDF1", b"IDF1\0\0\0\0no zlib", Idf.of([]).to_bytes().replace(b"IDF1", b"IDF0")]
)
def test_bytes_that_are_no_table_are_refused(data: bytes) -> None:
    with pytest.raises(IdfError):
        Idf.from_bytes(data)


def test_numbers_and_ids_do_not_tell_traces_apart() -> None:
    idf = Idf.of([])
    one, other = (
        TraceOutline(f"order {n} at 0x{n:x}", [OutlineSpan(-1, "tool", f"page {n}", "ok", 5)]) for n in (7, 81)
    )
    assert np.array_equal(embed(one, idf), embed(other, idf))
