"""A model server on this machine that speaks OpenAI's and Anthropic's APIs and knows every answer beforehand.

For demonstrations and tests: real SDK clients work against it without a key or a network.
"""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from agent_tracer.server.demo import anthropic_wire, openai_wire
from agent_tracer.server.demo.replies import Answer, BadRequestError, Json
from agent_tracer.server.limits import MESSAGE_BYTES_MAX, STAND_IN_STOP_SECONDS_MAX

STATUS_HEADER: Final = "x-stand-in-status"
"""A request with this header fails with the HTTP status it names, in the provider's error shape."""

_HTTP_ERROR_STATUSES: Final = range(400, 600)
_KEY_HEADERS: Final = ("authorization", "x-api-key")
"""Where clients put their key; Anthropic's use either, by version."""


@dataclass(frozen=True, slots=True)
class Latency:
    """How long the stand-in thinks: before its first token, and for each token of reasoning and text."""

    first_token_seconds: float = 0.0
    per_token_seconds: float = 0.0


NO_LATENCY: Final = Latency()


@dataclass(frozen=True, slots=True)
class _Endpoint:
    answer: Callable[[Json], Answer]
    error: Callable[[int, str], Json]


_ENDPOINTS: Final[Mapping[str, _Endpoint]] = {
    "/v1/chat/completions": _Endpoint(openai_wire.chat, openai_wire.error),
    "/v1/responses": _Endpoint(openai_wire.responses, openai_wire.error),
    "/v1/embeddings": _Endpoint(openai_wire.embeddings, openai_wire.error),
    "/v1/messages": _Endpoint(anthropic_wire.messages, anthropic_wire.error),
}


class _RefusedError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@contextmanager
def stand_in(latency: Latency = NO_LATENCY) -> Iterator[str]:
    """Serves from a thread of its own on a free port of 127.0.0.1; gives `http://127.0.0.1:PORT`.

    An OpenAI client takes that address with `/v1` appended, an Anthropic client as it is. Any key will do.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        # Listening before the server runs: whoever connects first waits in the backlog, and is not refused.
        listener.listen()
        server = uvicorn.Server(_server_config(latency))
        thread = threading.Thread(target=server.run, args=([listener],), name="model stand-in", daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@asynccontextmanager
async def serve_stand_in(latency: Latency = NO_LATENCY) -> AsyncIterator[str]:
    """`stand_in` for async code: stopping it does not hold up the event loop."""
    context = stand_in(latency)
    base_url = context.__enter__()
    try:
        yield base_url
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)


def build_app(latency: Latency = NO_LATENCY) -> Starlette:
    """The ASGI application that `stand_in` serves."""
    return Starlette(
        routes=[Route(path, _handler(endpoint, latency), methods=["POST"]) for path, endpoint in _ENDPOINTS.items()]
    )


def _server_config(latency: Latency) -> uvicorn.Config:
    return uvicorn.Config(
        build_app(latency),
        loop="asyncio",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        timeout_graceful_shutdown=STAND_IN_STOP_SECONDS_MAX,
    )


def _handler(endpoint: _Endpoint, latency: Latency) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        try:
            answer = endpoint.answer(await _read(request))
        except _RefusedError as refused:
            return JSONResponse(endpoint.error(refused.status, str(refused)), refused.status)
        except BadRequestError as bad:
            return JSONResponse(endpoint.error(400, str(bad)), 400)
        except (KeyError, TypeError, AttributeError, IndexError, ValueError) as bad:
            # Wire functions read what a valid request has; where that fails, the request was not valid.
            return JSONResponse(endpoint.error(400, f"the request lacks or malforms a field: {bad}"), 400)
        return await _send(answer, latency)

    return handle


async def _read(request: Request) -> Json:
    if not any(request.headers.get(header) for header in _KEY_HEADERS):
        raise _RefusedError(401, f"no API key in any of the headers {', '.join(_KEY_HEADERS)}")
    wanted = request.headers.get(STATUS_HEADER)
    if wanted is not None:
        status = int(wanted) if wanted.isdecimal() else 0
        if status not in _HTTP_ERROR_STATUSES:
            raise _RefusedError(400, f"{STATUS_HEADER}: {wanted!r} is no HTTP error status")
        raise _RefusedError(status, f"asked for by {STATUS_HEADER}")
    if int(request.headers.get("content-length", "0")) > MESSAGE_BYTES_MAX:
        raise _RefusedError(413, f"the body is larger than {MESSAGE_BYTES_MAX} bytes")
    body = json.loads(await request.body())
    if not isinstance(body, dict):
        raise _RefusedError(400, "the body is no JSON object")
    return body


async def _send(answer: Answer, latency: Latency) -> Response:
    await asyncio.sleep(latency.first_token_seconds + latency.per_token_seconds * answer.reasoning_tokens)
    if answer.events:
        return StreamingResponse(_stream(answer, latency), media_type="text/event-stream")
    await asyncio.sleep(latency.per_token_seconds * answer.text_tokens)
    return JSONResponse(answer.body)


async def _stream(answer: Answer, latency: Latency) -> AsyncIterator[str]:
    for event in answer.events:
        yield (f"event: {event.name}\n" if event.name else "") + f"data: {event.data}\n\n"
        await asyncio.sleep(latency.per_token_seconds)
