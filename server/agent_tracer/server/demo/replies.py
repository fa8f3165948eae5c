"""What the stand-in model answers: text, tool calls, vectors and usage as pure functions of the request."""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Json = dict[str, Any]

REASONING_TOKENS: Final[Mapping[str, int]] = {
    "none": 0,
    "minimal": 8,
    "low": 32,
    "medium": 128,
    "high": 512,
}
"""Output tokens spent on reasoning, by the effort that the request names."""

EMBEDDING_DIMENSIONS: Final = 64
"""Length of a vector where the request names none."""

_CLOSINGS: Final = (
    "Nothing else in the material contradicts this.",
    "The sources agree on it.",
    "One detail is open and should be checked before it is published.",
    "That covers what was asked.",
)
_KEYWORDS_MAX: Final = 8
_DELIVERY_FIELDS: Final = frozenset({"stream", "stream_options"})


class BadRequestError(ValueError):
    """The request cannot be answered; the message names the field to change. Becomes HTTP 400."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool on offer: its name and the JSON schema of its arguments."""

    name: str
    schema: Json


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model asks for."""

    id: str
    name: str
    arguments: Json


@dataclass(frozen=True, slots=True)
class Ask:
    """A request, whatever provider's wire format it came in."""

    id: str
    """20 hex digits, a digest of the whole request."""
    model: str
    question: str
    """The text of the last user message, tool results included."""
    input_tokens: int
    """All input, cached or not."""
    tools: tuple[Tool, ...] = ()
    """Tools to call now; empty where the answer is text."""
    schema: Json | None = None
    """The JSON schema that the text must satisfy."""
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens: input includes what was read from or written to a cache, output includes reasoning."""

    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer: either text or one tool call."""

    id: str
    model: str
    text: str
    tool_call: ToolCall | None
    usage: Usage


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event; `name` is empty where the provider's stream names none."""

    data: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a route answers: one body, or the events of a stream; and the tokens it takes time to make."""

    body: Json
    events: tuple[Event, ...] = ()
    reasoning_tokens: int = 0
    text_tokens: int = 0


def count_tokens(text: str) -> int:
    """Pieces of up to six word characters, and punctuation: near what real tokenizers make of English."""
    return len(re.findall(r"\w{1,6}|[^\w\s]", text))


def digest(request: Json) -> str:
    """20 hex digits of the request, whatever the order of its fields; streamed or not makes no difference."""
    asked = {name: value for name, value in request.items() if name not in _DELIVERY_FIELDS}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:20]


def reply_to(ask: Ask) -> Reply:
    """The answer to a request: the same for the same request, on every machine."""
    tool = _choose(ask.tools, ask.question)
    call = None
    text = ""
    if tool is not None:
        call = ToolCall(f"call_{ask.id[:16]}", tool.name, _object(tool.schema, ask.question))
    elif ask.schema is not None:
        text = json.dumps(fill(ask.schema, ask.question))
    else:
        text = _prose(ask)
    shown = text if call is None else call.name + json.dumps(call.arguments)
    usage = Usage(
        input_tokens=ask.input_tokens,
        output_tokens=count_tokens(shown) + ask.reasoning_tokens,
        cache_read_tokens=ask.cache_read_tokens,
        cache_write_tokens=ask.cache_write_tokens,
        reasoning_tokens=ask.reasoning_tokens,
    )
    return Reply(ask.id, ask.model, text, call, usage)


def fill(schema: Json, seed: str) -> Any:  # noqa: ANN401 - any JSON value
    """A value that satisfies a JSON schema without references; enums and numbers follow the seed."""
    number = int(hashlib.sha256(seed.encode()).hexdigest(), 16)
    if "enum" in schema:
        return schema["enum"][number % len(schema["enum"])]
    if schema.get("type") == "object" or "properties" in schema:
        return _object(schema, seed)
    if schema.get("type") == "array":
        items = schema.get("items", {})
        return [fill(items, f"{seed} {index}") for index in range(schema.get("minItems", 2))]
    low = schema.get("minimum", 1)
    scalars = {
        "integer": int(low) + number % 5,
        "number": float(low),
        "boolean": number % 2 == 0,
        "null": None,
    }
    return scalars.get(schema.get("type", "string"), " ".join(_keywords(seed)[:4]))


def embed(text: str, dimensions: int = EMBEDDING_DIMENSIONS) -> list[float]:
    """A unit vector of hashed words, so that texts with words in common are near each other."""
    vector = [0.0] * dimensions
    for word in re.findall(r"\w+", text.lower()):
        vector[int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big") % dimensions] += 1.0
    length = math.hypot(*vector) or 1.0
    return [value / length for value in vector]


def pieces(text: str) -> list[str]:
    """The text as a stream brings it: word by word, nothing lost."""
    return re.findall(r"\s*\S+\s*$|\s*\S+", text)


def _object(schema: Json, seed: str) -> Json:
    return {name: fill(part, f"{seed} {name}") for name, part in schema.get("properties", {}).items()}


def _choose(tools: Sequence[Tool], question: str) -> Tool | None:
    """The tool whose name shares most words with the question; the first of several such."""
    asked = set(re.findall(r"[a-z]+", question.lower()))
    return max(tools, key=lambda tool: len(asked & set(tool.name.lower().split("_"))), default=None)


def _keywords(text: str) -> list[str]:
    words = dict.fromkeys(word.lower() for word in re.findall(r"[^\W\d_]{5,}", text))
    return list(words)[:_KEYWORDS_MAX] or ["nothing"]


def _prose(ask: Ask) -> str:
    closing = _CLOSINGS[int(ask.id, 16) % len(_CLOSINGS)]
    return f"In short, on {', '.join(_keywords(ask.question))}: the material supports it. {closing}"
