"""Embeddings of a model behind an OpenAI-compatible endpoint (POST /v1/embeddings, OpenAI API reference)."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import structlog

from agent_tracer.server.domain.atlas.embedding import OutlineSpan, TraceOutline
from agent_tracer.server.limits import (
    EMBEDDING_ANSWER_BYTES_MAX,
    EMBEDDING_CHARACTERS_MAX,
    EMBEDDING_SECONDS_MAX,
    EMBEDDING_TEXTS_MAX,
)
from agent_tracer.server.ports.vectors import EmbedderDownError, EmbedderRefusedError, Vector

if TYPE_CHECKING:
    import httpx

_log: Final = structlog.get_logger("vectors")
_PATH: Final = "/v1/embeddings"
_DOWN: Final = "the embedding service that analytics.embeddings.url names does not answer; try again later"
_REFUSED: Final = (
    "the embedding service refuses the request (HTTP {status}): see to analytics.embeddings.url, .model and .api_key"
)
_MALFORMED: Final = (
    "the embedding service does not answer with vectors of {dimensions} numbers: see to analytics.embeddings.url, "
    ".model and .dimensions"
)
_RETRYABLE: Final = frozenset({408, 425, 429})
_OK, _SERVER_ERROR = 200, 500


class OpenAiEmbedder:
    """ports.vectors.Embedder. Leaving its context, or `aclose`, lets go of the connections."""

    def __init__(self, url: str, model: str, dimensions: int, *, api_key: str = "") -> None:
        """`url`: before `/v1/embeddings`. The model must answer with `dimensions` numbers."""
        self._url = url.rstrip("/").removesuffix("/v1") + _PATH
        self._model = model
        self._dimensions = dimensions
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._client: httpx.AsyncClient | None = None

    @property
    def id(self) -> str:
        """See the port: the model stands for everything, for two services of one model name are taken for one."""
        return f"openai:{self._model}:{self._dimensions}"

    @property
    def dimensions(self) -> int:
        """See the port."""
        return self._dimensions

    async def embed(self, outlines: Sequence[TraceOutline]) -> Sequence[Vector]:
        """See the port. Raises EmbedderDownError, EmbedderRefusedError."""
        vectors: list[Vector] = []
        for first in range(0, len(outlines), EMBEDDING_TEXTS_MAX):
            texts = [as_text(outline) for outline in outlines[first : first + EMBEDDING_TEXTS_MAX]]
            vectors += self._vectors(await self._post(texts), len(texts))
        return vectors

    async def aclose(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _post(self, texts: Sequence[str]) -> object:
        import httpx  # noqa: PLC0415 - start-up time

        if self._client is None:
            self._client = httpx.AsyncClient(timeout=EMBEDDING_SECONDS_MAX, headers=self._headers)
        body = {"model": self._model, "input": list(texts), "encoding_format": "float"}
        try:
            async with self._client.stream("POST", self._url, json=body) as response:
                self._check(response.status_code)
                return _json(await _bounded(response))
        except httpx.HTTPError as error:
            _log.warning("the embedding service does not answer", reason=type(error).__name__)
            raise EmbedderDownError(_DOWN) from None

    def _check(self, status: int) -> None:
        if status == _OK:
            return
        _log.warning("the embedding service refuses", status=status)
        if status in _RETRYABLE or status >= _SERVER_ERROR:
            raise EmbedderDownError(_DOWN)
        raise EmbedderRefusedError(_REFUSED.format(status=status))

    def _vectors(self, answer: object, count: int) -> list[Vector]:
        import numpy as np  # noqa: PLC0415 - start-up time

        try:
            rows = [row["embedding"] for row in sorted(_data(answer), key=lambda row: row["index"])]
            vectors = np.asarray(rows, np.float32)
        except (KeyError, TypeError, ValueError):
            vectors = np.empty(0, np.float32)
        good = vectors.shape == (count, self._dimensions) and bool(np.isfinite(vectors).all())
        if not good or not vectors.any(axis=1).all():
            raise EmbedderRefusedError(_MALFORMED.format(dimensions=self._dimensions))
        return list(vectors)


def as_text(outline: TraceOutline) -> str:
    """The trace as a model reads it: its texts, then each step with how often it came and how it ended."""
    steps = Counter(map(_step, outline.spans))
    listed = "\n".join(step if count == 1 else f"{step} x{count}" for step, count in steps.items())
    return f"{outline.text}\n{listed}".strip()[:EMBEDDING_CHARACTERS_MAX] or "-"


def _step(span: OutlineSpan) -> str:
    return " ".join(part for part in (span.kind, span.name, "failed" if span.status == "error" else "") if part)


async def _bounded(response: "httpx.Response") -> bytes:
    body = bytearray()
    async for part in response.aiter_bytes():
        body += part
        if len(body) > EMBEDDING_ANSWER_BYTES_MAX:
            break
    return bytes(body)


def _json(body: bytes) -> object:
    try:
        found: object = json.loads(body)
    except ValueError:
        return None
    return found


def _data(answer: object) -> Sequence[Mapping[str, Any]]:
    if not isinstance(answer, dict):
        raise TypeError
    data: Sequence[Mapping[str, Any]] = answer["data"]
    return data
