"""A model call in OpenInference's attributes, which Phoenix reads.

Source: OpenInference semantic conventions.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from agent_tracer.client.telemetry import contents
from agent_tracer.client.telemetry.model_answers import text_of

__all__ = ["content_attributes", "described", "text_of_asked"]

_PROVIDERS: Final = (
    ("claude", "anthropic"), ("gpt", "openai"), ("o1", "openai"), ("o3", "openai"), ("o4", "openai"),
    ("text-embedding", "openai"), ("gemini", "google"), ("mistral", "mistralai"), ("command", "cohere"),
    ("deepseek", "deepseek"), ("grok", "xai"),
)  # fmt: skip
"""Whose model it is, by the beginning of its name, where the caller does not say."""


def described(model: str, provider: str | None) -> dict[str, Any]:
    """Model and provider; the provider guessed by the model's name where it is not said."""
    whose = provider or next((owner for begin, owner in _PROVIDERS if model.lower().startswith(begin)), None)
    found: dict[str, Any] = {"llm.model_name": model} if model else {}
    return found | ({"llm.provider": whose, "llm.system": whose} if whose else {})


def content_attributes(asked: Any, response: Any) -> dict[str, Any]:  # noqa: ANN401 - messages or a prompt, any answer
    """Prompt and answer, whole and by message."""
    found: dict[str, Any] = {}
    if asked is not None:
        found |= _value("input", asked)
        for index, (role, text) in enumerate(_messages(asked)):
            found[f"llm.input_messages.{index}.message.role"] = role
            found[f"llm.input_messages.{index}.message.content"] = text
    if response is not None:
        text = text_of(response)
        found |= _value("output", text or response)
        if text:
            found["llm.output_messages.0.message.role"] = "assistant"
            found["llm.output_messages.0.message.content"] = contents.text(text)
    return found


def _value(name: str, value: Any) -> dict[str, str]:  # noqa: ANN401 - a text or anything
    kind = "text/plain" if isinstance(value, str) else "application/json"
    return {f"{name}.value": contents.text(value), f"{name}.mime_type": kind}


def _messages(asked: Any) -> list[tuple[str, str]]:  # noqa: ANN401 - messages or a prompt
    if isinstance(asked, str):
        return [("user", contents.text(asked))]
    found = []
    for message in asked if isinstance(asked, Sequence) else [asked]:
        plain = message if isinstance(message, Mapping) else getattr(message, "__dict__", {})
        said = plain.get("content", "")
        found.append((str(plain.get("role", "user")), text_of({"content": said}) or contents.text(said)))
    return found


def text_of_asked(asked: Any) -> str:  # noqa: ANN401 - messages or a prompt
    """The prompt as evaluators read it: the messages' texts."""
    if asked is None:
        return ""
    return "\n".join(text for _, text in _messages(asked))
