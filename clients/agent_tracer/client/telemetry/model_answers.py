"""What a model's answer says, whichever SDK's object or dict it is: text, model, tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

__all__ = ["Usage", "model_of", "text_of", "token_attributes", "usage_of"]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call. Input includes cached ones, output reasoning; also read by key: `usage["total_tokens"]`."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Input and output."""
        return self.input_tokens + self.output_tokens

    @property
    def prompt_tokens(self) -> int:
        """`input_tokens` by OpenAI's older name."""
        return self.input_tokens

    @property
    def completion_tokens(self) -> int:
        """`output_tokens` by OpenAI's older name."""
        return self.output_tokens

    def __getitem__(self, name: str) -> int:
        """By name; `prompt`, `completion`, `total` are short for the names with `_tokens`."""
        found = getattr(self, name, None) if name.endswith("_tokens") else getattr(self, f"{name}_tokens", None)
        if not isinstance(found, int):
            raise KeyError(name)
        return found


_INPUT: Final = ("prompt_tokens", "input_tokens", "prompt_token_count", "prompt", "input")
_OUTPUT: Final = ("completion_tokens", "output_tokens", "candidates_token_count", "completion", "output")
_READ: Final = (
    "prompt_tokens_details.cached_tokens", "input_tokens_details.cached_tokens", "cache_read_tokens",
    "cached_content_token_count",
)  # fmt: skip
_REASONING: Final = (
    "completion_tokens_details.reasoning_tokens", "output_tokens_details.reasoning_tokens", "reasoning_tokens",
    "thoughts_token_count",
)  # fmt: skip
_ANTHROPIC_READ: Final = "cache_read_input_tokens"
_ANTHROPIC_WRITE: Final = "cache_creation_input_tokens"
"""Anthropic's input_tokens leave both of them out."""


def usage_of(answer: object) -> Usage | None:
    """The usage of an answer, or what is a usage itself; None where it tells none."""
    if isinstance(answer, Usage):
        return answer
    told = _first(answer, ("usage", "usage_metadata", "response_metadata.token_usage"))
    told = answer if told is None else told
    counts = [_count(told, names) for names in (_INPUT, _OUTPUT, _READ, _REASONING)]
    if counts[0] is None and counts[1] is None:
        total = _count(told, ("total_tokens", "total"))
        return None if total is None else Usage(input_tokens=total)
    read, write = _count(told, (_ANTHROPIC_READ,)), _count(told, (_ANTHROPIC_WRITE, "cache_write_tokens"))
    beside = (read or 0) + ((_count(told, (_ANTHROPIC_WRITE,))) or 0)
    return Usage(
        input_tokens=(counts[0] or 0) + beside,
        output_tokens=counts[1] or 0,
        cache_read_tokens=counts[2] or read or 0,
        cache_write_tokens=write or 0,
        reasoning_tokens=counts[3] or 0,
    )


def model_of(answer: object) -> str:
    """The model that answered; empty where the answer does not say."""
    found = _first(answer, ("model", "model_version", "response_metadata.model_name"))
    return found if isinstance(found, str) else ""


def text_of(answer: object) -> str:
    """The text of an answer; empty where it has none, as with tool calls."""
    if answer is None or isinstance(answer, str):
        return answer or ""
    for path in ("output_text", "choices.0.message.content", "message.content", "content", "text", "response"):
        found = _first(answer, (path,))
        if text := _joined(found):
            return text
    return ""


def _joined(found: object) -> str:
    if isinstance(found, str):
        return found
    if isinstance(found, Sequence):
        return "".join(part if isinstance(part, str) else str(_first(part, ("text",)) or "") for part in found)
    return ""


def _count(told: object, paths: Sequence[str]) -> int | None:
    for path in paths:
        found = _first(told, (path,))
        if isinstance(found, int | float) and not isinstance(found, bool) and found >= 0:
            return int(found)
    return None


def _first(value: object, paths: Sequence[str]) -> Any:  # noqa: ANN401 - of any object
    """The first of the dotted paths that leads to something."""
    for path in paths:
        found: Any = value
        for step in path.split("."):
            found = _step(found, step)
            if found is None:
                break
        if found is not None:
            return found
    return None


def _step(value: object, step: str) -> Any:  # noqa: ANN401 - of any object
    try:
        if step.isdecimal():
            return value[int(step)] if isinstance(value, Sequence) and not isinstance(value, str) else None
        found = value.get(step) if isinstance(value, Mapping) else getattr(value, step, None)
    except Exception:  # noqa: BLE001 - a property of somebody's object may raise anything
        return None
    return None if callable(found) and not isinstance(found, type) else found


def token_attributes(usage: Usage) -> dict[str, int]:
    """A usage in OpenInference's attributes; what is zero beside prompt and completion is left out."""
    named = {field.name: getattr(usage, field.name) for field in fields(usage)}
    optional = {_NAMES[name]: count for name, count in named.items() if name in _NAMES and count}
    return {
        "llm.token_count.prompt": usage.input_tokens,
        "llm.token_count.completion": usage.output_tokens,
        "llm.token_count.total": usage.total_tokens,
        **optional,
    }


_NAMES: Final = {
    "cache_read_tokens": "llm.token_count.prompt_details.cache_read",
    "cache_write_tokens": "llm.token_count.prompt_details.cache_write",
    "reasoning_tokens": "llm.token_count.completion_details.reasoning",
}
