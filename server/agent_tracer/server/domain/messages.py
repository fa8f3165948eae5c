"""What a model was told and what it said, in one shape whatever the convention.

Conventions carry messages differently: GenAI as JSON of roles and parts (gen_ai.input.messages), OpenInference as one
attribute a field (llm.input_messages.0.message.content) beside the provider's raw request. Both become the same text:
JSON of `[{"role": ..., "content": ...}, ...]`, tool calls as `tool_calls: [{"name": ..., "arguments": ...}]`.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from agent_tracer.server.domain.telemetry import Attributes, AttributeValue

_GEN_AI: Final = ("gen_ai.input.messages", "gen_ai.output.messages")
_SYSTEM: Final = "gen_ai.system_instructions"
_OPEN_INFERENCE: Final = ("llm.input_messages.", "llm.output_messages.")
_FIELD: Final = re.compile(r"(\d+)\.message\.(.+)")
_PART: Final = re.compile(r"contents\.(\d+)\.message_content\.text")
_TOOL_CALL: Final = re.compile(r"tool_calls\.(\d+)\.tool_call\.function\.(name|arguments)")

Message = dict[str, Any]


def readable_content(attributes: Attributes) -> tuple[str, str]:
    """Input and output as messages, each empty where the span carries none in a known convention."""
    return _side(attributes, 0), _side(attributes, 1)


def _side(attributes: Attributes, side: int) -> str:
    messages = _gen_ai(attributes, side) or _open_inference(attributes, _OPEN_INFERENCE[side])
    return json.dumps(messages, ensure_ascii=False, separators=(",", ":")) if messages else ""


def _gen_ai(attributes: Attributes, side: int) -> list[Message]:
    found = _parsed(attributes.get(_GEN_AI[side]))
    if not found:
        return []
    messages = [m for m in map(_gen_ai_message, found) if m]
    instructions = _joined_text(_parsed(attributes.get(_SYSTEM))) if side == 0 else ""
    return [{"role": "system", "content": instructions}, *messages] if instructions else messages


def _parsed(value: AttributeValue) -> Sequence[Any]:
    """A list that came structured, or as JSON text; empty where it is neither."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return ()
    return value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else ()


def _gen_ai_message(message: object) -> Message | None:
    if not isinstance(message, Mapping):
        return None
    parts = [p for p in _parsed(message.get("parts")) if isinstance(p, Mapping)]
    content = message.get("content")
    made: Message = {
        "role": str(message.get("role", "")),
        "content": content if isinstance(content, str) else _joined_text(parts),
    }
    calls = [_call(p.get("name"), p.get("arguments")) for p in parts if p.get("type") == "tool_call"]
    return {**made, "tool_calls": calls} if calls else made


def _joined_text(parts: Iterable[object]) -> str:
    """Texts and tool results of a message's parts, one a line."""
    texts = []
    for part in parts:
        if isinstance(part, Mapping) and part.get("type") in (None, "text", "tool_call_response", "tool_result"):
            text = next((part[k] for k in ("content", "text", "response", "result") if part.get(k)), "")
            texts.append(text if isinstance(text, str) else _canonical(text))
    return "\n".join(filter(None, texts))


def _call(name: object, arguments: object) -> Message:
    """Arguments as canonical JSON text, for conventions send them as an object or as the model wrote them."""
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            return {"name": name or "", "arguments": arguments}
    return {"name": name or "", "arguments": _canonical(arguments)}


def _canonical(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str)


def _open_inference(attributes: Attributes, prefix: str) -> list[Message]:
    fields: dict[int, dict[str, AttributeValue]] = {}
    for key, value in attributes.items():
        match = _FIELD.fullmatch(key, len(prefix)) if key.startswith(prefix) else None
        if match:
            fields.setdefault(int(match[1]), {})[match[2]] = value
    return [_open_inference_message(fields[n]) for n in sorted(fields)]


def _open_inference_message(fields: Mapping[str, AttributeValue]) -> Message:
    texts = sorted((int(m[1]), str(v)) for k, v in fields.items() if (m := _PART.fullmatch(k)))
    content = fields.get("content")
    made: Message = {
        "role": str(fields.get("role", "")),
        "content": content if isinstance(content, str) else "\n".join(text for _, text in texts),
    }
    calls: dict[int, dict[str, AttributeValue]] = {}
    for key, value in fields.items():
        if match := _TOOL_CALL.fullmatch(key):
            calls.setdefault(int(match[1]), {})[match[2]] = value
    listed = [_call(calls[n].get("name"), calls[n].get("arguments")) for n in sorted(calls)]
    return {**made, "tool_calls": listed} if listed else made
