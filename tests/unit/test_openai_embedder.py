"""Embeddings by HTTP: what is sent, and what each way of failing is told as. The service is a small stand-in."""

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from agent_tracer.server.adapters.embedders import openai_compatible
from agent_tracer.server.adapters.embedders.openai_compatible import OpenAiEmbedder, as_text
from agent_tracer.server.domain.atlas.embedding import OutlineSpan, TraceOutline
from agent_tracer.server.limits import EMBEDDING_CHARACTERS_MAX, EMBEDDING_TEXTS_MAX
from agent_tracer.server.ports.vectors import EmbedderDownError, EmbedderRefusedError
from tests.fixtures.ports import closed_port

KEY = "sk-secret"


@dataclass
class Service:
    """Answers the vector [length of the text, 1, 0], in reverse order, unless `status` or `body` says otherwise."""

    status: int = 200
    body: bytes | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    path: str = ""
    url: str = ""

    def answer(self, request: dict[str, Any]) -> bytes:
        self.asked.append(request)
        if self.body is not None:
            return self.body
        data = [{"index": n, "embedding": [float(len(text)), 1, 0]} for n, text in enumerate(request["input"])]
        return json.dumps({"object": "list", "data": data[::-1]}).encode()


@pytest.fixture
def service() -> Iterator[Service]:
    state = Service()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            state.path, state.headers = self.path, dict(self.headers)
            body = state.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(state.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(ConnectionError):  # one who has had enough
                self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


def outlines(count: int) -> list[TraceOutline]:
    return [TraceOutline("x" * n, []) for n in range(1, count + 1)]


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
async def test_vectors_come_back_in_the_order_of_the_traces_in_batches(service: Service, suffix: str) -> None:
    async with OpenAiEmbedder(service.url + suffix, "small", 3, api_key=KEY) as embedder:
        vectors = await embedder.embed(outlines(EMBEDDING_TEXTS_MAX + 3))
    assert [len(asked["input"]) for asked in service.asked] == [EMBEDDING_TEXTS_MAX, 3]
    assert [vector[0] for vector in vectors] == list(range(1, EMBEDDING_TEXTS_MAX + 4))
    assert vectors[0].dtype == np.float32
    assert service.asked[0]["model"] == "small"
    assert service.path == "/v1/embeddings"
    assert service.headers["Authorization"] == f"Bearer {KEY}"


def test_another_model_or_length_is_another_embedder() -> None:
    ids = {OpenAiEmbedder("http://x", model, size).id for model in ("a", "b") for size in (3, 4)}
    assert len(ids) == 4
    assert OpenAiEmbedder("http://x", "a", 3).id == OpenAiEmbedder("http://y", "a", 3).id


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_a_service_that_may_come_back_is_down(service: Service, status: int) -> None:
    service.status = status
    async with OpenAiEmbedder(service.url, "m", 3) as embedder:
        with pytest.raises(EmbedderDownError, match=r"analytics\.embeddings\.url") as told:
            await embedder.embed(outlines(1))
    assert not isinstance(told.value, EmbedderRefusedError)


@pytest.mark.parametrize("status", [301, 400, 401, 404])
async def test_a_refusal_names_the_settings(service: Service, status: int) -> None:
    service.status, service.body = status, b"the prompt was: secret"
    with capture_logs() as logs:
        async with OpenAiEmbedder(service.url, "m", 3, api_key=KEY) as embedder:
            with pytest.raises(EmbedderRefusedError, match=rf"{status}.*\.model and \.api_key") as told:
                await embedder.embed(outlines(1))
    assert "secret" not in f"{told.value}{logs}"


@pytest.mark.parametrize(
    "body",
    [
        b"no json",
        b"[]",
        b"{}",
        b'{"data": 3}',
        b'{"data": [{"index": 0}]}',
        b'{"data": [{"index": 0, "embedding": [1, 2]}]}',
        b'{"data": [{"index": 0, "embedding": [0, 0, 0]}]}',
        b'{"data": [{"index": 0, "embedding": [1, 2, NaN]}]}',
        b'{"data": [{"index": 0, "embedding": ["a", 2, 3]}]}',
        b'{"data": [{"index": 0, "embedding": [1, 2, 3]}, {"index": 1, "embedding": [1, 2, 3]}]}',
    ],
)
async def test_an_answer_that_is_no_vectors_names_the_dimensions(service: Service, body: bytes) -> None:
    service.body = body
    async with OpenAiEmbedder(service.url, "m", 3) as embedder:
        with pytest.raises(EmbedderRefusedError, match="vectors of 3 numbers"):
            await embedder.embed(outlines(1))


async def test_an_endless_answer_is_cut_off(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_compatible, "EMBEDDING_ANSWER_BYTES_MAX", 1000)
    service.body = b'{"data": [' + b" " * 5_000_000
    async with OpenAiEmbedder(service.url, "m", 3) as embedder:
        with pytest.raises(EmbedderRefusedError):
            await embedder.embed(outlines(1))


async def test_a_service_that_is_not_there_is_down() -> None:
    with closed_port() as port:
        async with OpenAiEmbedder(f"http://127.0.0.1:{port}", "m", 3) as embedder:
            for _ in range(2):
                with pytest.raises(EmbedderDownError):
                    await embedder.embed(outlines(1))


def test_the_text_holds_what_was_said_and_what_was_done() -> None:
    spans = [
        OutlineSpan(-1, "agent", "plan", "ok", 9),
        OutlineSpan(0, "tool", "search", "ok", 1),
        OutlineSpan(0, "tool", "search", "ok", 1),
        OutlineSpan(0, "tool", "search", "error", 1),
    ]
    assert as_text(TraceOutline("find it", spans)) == "find it\nagent plan\ntool search x2\ntool search failed"
    assert len(as_text(TraceOutline("y" * 100_000, spans))) == EMBEDDING_CHARACTERS_MAX
    assert as_text(TraceOutline("", [])) == "-", "services refuse an empty text"
