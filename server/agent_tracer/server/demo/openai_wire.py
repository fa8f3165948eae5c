"""OpenAI's wire format: chat completions, responses and embeddings, as the API reference describes them."""

import base64
import json
import struct
from collections.abc import Mapping
from typing import Any, Final

from agent_tracer.server.demo.replies import (
    EMBEDDING_DIMENSIONS,
    REASONING_TOKENS,
    Answer,
    Ask,
    BadRequestError,
    Event,
    Json,
    Reply,
    Tool,
    count_tokens,
    digest,
    embed,
    pieces,
    reply_to,
)

_CREATED: Final = 1_767_225_600
"""Every reply says 2026-01-01, so that the same request has the same answer."""

_SYSTEM_ROLES: Final = ("system", "developer")
_ERRORS: Final[Mapping[int, tuple[str, str | None]]] = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    404: ("invalid_request_error", "unknown_url"),
    429: ("requests", "rate_limit_exceeded"),
}
"""Type and code by HTTP status; every other status is a server error."""


def error(status: int, message: str) -> Json:
    """The body of a refusal."""
    kind, code = _ERRORS.get(status, ("server_error", None))
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def chat(request: Json) -> Answer:
    """`POST /v1/chat/completions`. `prompt_cache_key` makes the system prompt cached input."""
    messages = request["messages"]
    texts = [_message_text(message) for message in messages]
    cached = [text for text, m in zip(texts, messages, strict=True) if m["role"] in _SYSTEM_ROLES]
    functions = [tool["function"] for tool in request.get("tools") or [] if tool.get("type") == "function"]
    answered = messages[-1]["role"] == "tool"
    ask = Ask(
        id=digest(request),
        model=request["model"],
        question=_question(messages, texts),
        input_tokens=sum(map(count_tokens, texts)) + count_tokens(json.dumps(functions) if functions else ""),
        tools=() if answered else _tools(functions, request.get("tool_choice", "auto")),
        schema=_schema(request.get("response_format") or {}),
        cache_read_tokens=sum(map(count_tokens, cached)) if request.get("prompt_cache_key") else 0,
        reasoning_tokens=_reasoning(request.get("reasoning_effort"), "reasoning_effort"),
    )
    reply = reply_to(ask)
    with_usage = bool((request.get("stream_options") or {}).get("include_usage"))
    return Answer(
        body=_completion(reply),
        events=_chunks(reply, with_usage=with_usage) if request.get("stream") else (),
        reasoning_tokens=reply.usage.reasoning_tokens,
        text_tokens=reply.usage.output_tokens - reply.usage.reasoning_tokens,
    )


def responses(request: Json) -> Answer:
    """`POST /v1/responses`, text only and without streaming."""
    if request.get("stream"):
        message = "stream: the stand-in streams chat completions only"
        raise BadRequestError(message)
    items = request["input"]
    messages = [{"role": "user", "content": items}] if isinstance(items, str) else items
    texts = [_content_text(message.get("content") or message.get("output")) for message in messages]
    instructions = request.get("instructions") or ""
    reply = reply_to(
        Ask(
            id=digest(request),
            model=request["model"],
            question=texts[-1],
            input_tokens=sum(map(count_tokens, [instructions, *texts])),
            cache_read_tokens=count_tokens(instructions) if request.get("prompt_cache_key") else 0,
            reasoning_tokens=_reasoning((request.get("reasoning") or {}).get("effort"), "reasoning.effort"),
        )
    )
    usage = reply.usage
    text = {"type": "output_text", "text": reply.text, "annotations": []}
    output = {
        "type": "message",
        "id": f"msg_{reply.id}",
        "role": "assistant",
        "status": "completed",
        "content": [text],
    }
    body = {
        "id": f"resp_{reply.id}",
        "object": "response",
        "created_at": _CREATED,
        "status": "completed",
        "model": reply.model,
        "output": [output],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": usage.input_tokens,
            "input_tokens_details": {"cached_tokens": usage.cache_read_tokens, "cache_write_tokens": 0},
            "output_tokens": usage.output_tokens,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
            "total_tokens": usage.input_tokens + usage.output_tokens,
        },
    }
    return Answer(body, (), usage.reasoning_tokens, usage.output_tokens - usage.reasoning_tokens)


def embeddings(request: Json) -> Answer:
    """`POST /v1/embeddings` of texts, as floats or base64 (little-endian float32, what the SDK asks for)."""
    texts = [request["input"]] if isinstance(request["input"], str) else request["input"]
    if not all(isinstance(text, str) for text in texts):
        message = "input: the stand-in embeds texts, not token ids"
        raise BadRequestError(message)
    vectors = [embed(text, request.get("dimensions") or EMBEDDING_DIMENSIONS) for text in texts]
    encode = _base64 if request.get("encoding_format") == "base64" else list
    data = [{"object": "embedding", "index": i, "embedding": encode(vector)} for i, vector in enumerate(vectors)]
    tokens = sum(map(count_tokens, texts))
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return Answer({"object": "list", "model": request["model"], "data": data, "usage": usage})


def _base64(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _content_text(content: Any) -> str:  # noqa: ANN401 - text, parts or null
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "") for part in content or [])


def _message_text(message: Json) -> str:
    calls = message.get("tool_calls")
    return _content_text(message.get("content")) + (json.dumps(calls) if calls else "")


def _question(messages: list[Json], texts: list[str]) -> str:
    """Everything from the last user message on, the tools' results included."""
    start = max((i for i, message in enumerate(messages) if message["role"] == "user"), default=0)
    return " ".join(texts[start:])


def _tools(functions: list[Json], choice: str | Json) -> tuple[Tool, ...]:
    if choice == "none":
        return ()
    named = choice["function"]["name"] if isinstance(choice, dict) else None
    chosen = [f for f in functions if named in (None, f["name"])]
    if named is not None and not chosen:
        message = f"tool_choice: no tool is called {named!r}"
        raise BadRequestError(message)
    return tuple(Tool(f["name"], f.get("parameters") or {}) for f in chosen)


def _schema(response_format: Json) -> Json | None:
    if response_format.get("type") != "json_schema":
        return None
    schema: Json = response_format["json_schema"]["schema"]
    return schema


def _reasoning(effort: str | None, field: str) -> int:
    if effort is None:
        return 0
    if effort not in REASONING_TOKENS:
        message = f"{field}: {effort!r} is none of {', '.join(REASONING_TOKENS)}"
        raise BadRequestError(message)
    return REASONING_TOKENS[effort]


def _usage(reply: Reply) -> Json:
    usage = reply.usage
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def _tool_calls(reply: Reply) -> list[Json]:
    if reply.tool_call is None:
        return []
    call = reply.tool_call
    function = {"name": call.name, "arguments": json.dumps(call.arguments)}
    return [{"id": call.id, "type": "function", "function": function}]


def _completion(reply: Reply) -> Json:
    message: Json = {"role": "assistant", "content": reply.text or None, "refusal": None}
    if reply.tool_call is not None:
        message["tool_calls"] = _tool_calls(reply)
    choice = {"index": 0, "message": message, "finish_reason": _finish(reply), "logprobs": None}
    head = {
        "id": f"chatcmpl-{reply.id}",
        "object": "chat.completion",
        "created": _CREATED,
        "model": reply.model,
    }
    return {**head, "choices": [choice], "usage": _usage(reply)}


def _finish(reply: Reply) -> str:
    return "stop" if reply.tool_call is None else "tool_calls"


def _chunks(reply: Reply, *, with_usage: bool) -> tuple[Event, ...]:
    head = {
        "id": f"chatcmpl-{reply.id}",
        "object": "chat.completion.chunk",
        "created": _CREATED,
        "model": reply.model,
    }
    deltas: list[Json] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": piece} for piece in pieces(reply.text)]
    for call in _tool_calls(reply):
        arguments = call["function"].pop("arguments")
        deltas.append({"tool_calls": [{"index": 0, **call}]})
        deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in pieces(arguments)]
    choices: list[Json] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": _finish(reply)})
    chunks: list[Json] = [{**head, "choices": [choice]} for choice in choices]
    if with_usage:
        chunks.append({**head, "choices": [], "usage": _usage(reply)})
    return (*(Event(json.dumps(chunk)) for chunk in chunks), Event("[DONE]"))
