"""What a step said, as plain text, wherever its span carries it."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

ATTRIBUTE_PATTERN: Final = (
    r"(?i)(^|[._])(role|content|text|message|messages|completion|response|answer|output|result|step|turn|index|number"
    r"|sequence)$"
)
"""Names of attributes that are looked at where a span has no output in a known convention. RE2 and Python alike."""

_ASKED: Final = re.compile(r"(?i)prompt|input|instruction|request")
_SAID: Final = re.compile(r"(?i)(?:^|[._])(?:content|text|message|messages|completion|response|answer|output|result)$")
_ANSWERED: Final = re.compile(r"(?i)output|completion|response|answer|result")
_ROLE: Final = re.compile(r"(?i)(?:^|[._])role$")
_ORDER: Final = re.compile(r"(?i)(?:^|[._])(?:(?:step|turn|message|sequence)(?:[._](?:index|number))?|index|number)$")

_CONTENT_KEYS: Final = ("content", "text", "parts", "response", "result", "output")
_LIST_KEYS: Final = ("messages", "choices", "generations")
_CALL_KEYS: Final = ("tool_calls", "toolCalls")
_DEPTH_MAX: Final = 12
"""Messages nest parts in messages in lists; deeper ones are data."""


def output_of(attributes: Mapping[str, str]) -> str:
    """The text of an attribute that by its name holds what was said; "" where there is none. Answers come first."""
    said = [key for key in attributes if _SAID.search(key) and not _ASKED.search(key) and attributes[key]]
    return attributes[min(said, key=lambda key: (_ANSWERED.search(key) is None, key))] if said else ""


def role_of(attributes: Mapping[str, str]) -> str:
    """Whose message it is, as a chat has it ("user", "tool"); "" where that is not said or not the same everywhere."""
    found = {attributes[key].strip().lower() for key in attributes if _ROLE.search(key) and not _ASKED.search(key)}
    return found.pop() if len(found) == 1 else ""


def order_of(attributes: Mapping[str, str]) -> int | None:
    """The number of the step that its span gives; None where none or more than one different is given."""
    found = {value for key, value in attributes.items() if _ORDER.search(key) and value.isascii() and value.isdigit()}
    return int(found.pop()) if len(found) == 1 else None


def plain(text: str) -> tuple[str, str]:
    """Text and role of a message in any chat's JSON; other text as it is, with no role."""
    if text.lstrip()[:1] not in {"[", "{"}:
        return text, ""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text, ""
    if not _is_message(value):
        return text, ""
    roles = {str(one["role"]).lower() for one in _messages(value) if one.get("role")}
    said = "\n".join(part for part in _texts(value, 0) if part)
    return said or ("" if _messages(value) else text), roles.pop() if len(roles) == 1 else ""


def _is_message(value: object) -> bool:
    if isinstance(value, Mapping):
        if any(isinstance(value.get(key), Sequence) and not isinstance(value.get(key), str) for key in _LIST_KEYS):
            return True
        return "parts" in value or ("content" in value and ("role" in value or len(value) == 1))
    return isinstance(value, list) and bool(value) and all(isinstance(one, Mapping) and _is_part(one) for one in value)


def _is_part(value: Mapping[str, object]) -> bool:
    return _is_message(value) or "role" in value or ("type" in value and ("text" in value or "content" in value))


def _messages(value: object) -> list[Mapping[str, object]]:
    if isinstance(value, Mapping):
        inner = [one for key in _LIST_KEYS for one in _listed(value.get(key))]
        return inner or [value]
    return _listed(value)


def _listed(value: object) -> list[Mapping[str, object]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _texts(value: object, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif depth > _DEPTH_MAX:
        return
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one, depth + 1)
    elif isinstance(value, Mapping):
        yield from _of_message(value, depth)


def _of_message(value: Mapping[str, object], depth: int) -> Iterator[str]:
    if value.get("type") in {"tool_call", "tool_use", "function"} or "function" in value:
        yield _call(value)
        return
    inner = next((value[key] for key in (*_LIST_KEYS, "message", *_CONTENT_KEYS) if value.get(key)), None)
    if isinstance(inner, Mapping) and not _is_part(inner):
        yield json.dumps(inner, ensure_ascii=False)
    else:
        yield from _texts(inner, depth + 1)
    for key in _CALL_KEYS:
        for call in _listed(value.get(key)):
            yield _call(call)


def _call(value: Mapping[str, object]) -> str:
    given = value.get("function")
    function = given if isinstance(given, Mapping) else value
    arguments = function.get("arguments", function.get("input", ""))
    written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return f"{function.get('name') or ''}({written})"
