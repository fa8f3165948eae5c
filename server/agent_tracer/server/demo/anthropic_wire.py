"""Anthropic's wire format: messages, as the API reference describes them."""

import json
from collections.abc import Mapping
from typing import Any, Final

from agent_tracer.server.demo.replies import (
    Answer,
    Ask,
    BadRequestError,
    Event,
    Json,
    Reply,
    Tool,
    count_tokens,
    digest,
    pieces,
    reply_to,
)

_ERRORS: Final[Mapping[int, str]] = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}
"""Error type by HTTP status; every other status is an API error."""


def error(status: int, message: str) -> Json:
    """The body of a refusal."""
    return {"type": "error", "error": {"type": _ERRORS.get(status, "api_error"), "message": message}}


def messages(request: Json) -> Answer:
    """`POST /v1/messages`.

    The prompt up to the last block with `cache_control` is cached. What lies before the last turn
    of the assistant was written by the request that turn answered, so it is read; the rest is written.
    """
    turns: list[Json] = request["messages"]
    blocks = _blocks(request.get("system")), *(_blocks(turn["content"]) for turn in turns)
    answered = max((i for i, turn in enumerate(turns, 1) if turn["role"] == "assistant"), default=0)
    read = _cached(blocks[:answered])
    tools = request.get("tools") or []
    last = _blocks(turns[-1]["content"])
    results = any(block.get("type") == "tool_result" for block in last)
    texts = [_text(block) for turn in blocks for block in turn]
    reply = reply_to(
        Ask(
            id=digest(request),
            model=request["model"],
            question=" ".join(_text(block) for block in last),
            input_tokens=sum(map(count_tokens, texts)) + count_tokens(json.dumps(tools) if tools else ""),
            tools=() if results else _tools(tools, request.get("tool_choice") or {"type": "auto"}),
            cache_read_tokens=read,
            cache_write_tokens=_cached(blocks) - read,
        )
    )
    return Answer(
        body=_message(reply),
        events=_events(reply) if request.get("stream") else (),
        text_tokens=reply.usage.output_tokens,
    )


def _blocks(content: Any) -> list[Json]:  # noqa: ANN401 - text, blocks or null
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return list(content or [])


def _text(block: Json) -> str:
    if block.get("type") == "tool_use":
        return f"{block['name']} {json.dumps(block['input'])}"
    if block.get("type") == "tool_result":
        return " ".join(_text(part) for part in _blocks(block.get("content")))
    return str(block.get("text", ""))


def _cached(turns: tuple[list[Json], ...]) -> int:
    """Tokens up to and including the last block that `cache_control` marks."""
    total = cached = 0
    for block in (block for turn in turns for block in turn):
        total += count_tokens(_text(block))
        if block.get("cache_control"):
            cached = total
    return cached


def _tools(tools: list[Json], choice: Json) -> tuple[Tool, ...]:
    if choice["type"] == "none":
        return ()
    named = choice.get("name")
    chosen = [tool for tool in tools if named in (None, tool["name"])]
    if named is not None and not chosen:
        message = f"tool_choice.name: no tool is called {named!r}"
        raise BadRequestError(message)
    return tuple(Tool(tool["name"], tool.get("input_schema") or {}) for tool in chosen)


def _usage(reply: Reply) -> Json:
    """`input_tokens` leaves out what the cache served or took, as the API has it."""
    usage = reply.usage
    return {
        "input_tokens": usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "output_tokens": usage.output_tokens,
    }


def _content(reply: Reply) -> Json:
    call = reply.tool_call
    if call is None:
        return {"type": "text", "text": reply.text, "citations": None}
    return {"type": "tool_use", "id": f"toolu_{reply.id}", "name": call.name, "input": call.arguments}


def _message(reply: Reply) -> Json:
    return {
        "id": f"msg_{reply.id}",
        "type": "message",
        "role": "assistant",
        "model": reply.model,
        "content": [_content(reply)],
        "stop_reason": _stop(reply),
        "stop_sequence": None,
        "usage": _usage(reply),
    }


def _stop(reply: Reply) -> str:
    return "end_turn" if reply.tool_call is None else "tool_use"


def _events(reply: Reply) -> tuple[Event, ...]:
    opening = {
        **_message(reply),
        "content": [],
        "stop_reason": None,
        "usage": {**_usage(reply), "output_tokens": 1},
    }
    if reply.tool_call is None:
        block = {**_content(reply), "text": ""}
        deltas = [{"type": "text_delta", "text": piece} for piece in pieces(reply.text)]
    else:
        block = {**_content(reply), "input": {}}
        arguments = json.dumps(reply.tool_call.arguments)
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces(arguments)]
    closing = {"stop_reason": _stop(reply), "stop_sequence": None}
    bodies: list[Json] = [
        {"type": "message_start", "message": opening},
        {"type": "content_block_start", "index": 0, "content_block": block},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": closing, "usage": _usage(reply)},
        {"type": "message_stop"},
    ]
    return tuple(Event(json.dumps(body), body["type"]) for body in bodies)
