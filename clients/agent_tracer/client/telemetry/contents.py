"""Inputs and outputs as the text of an attribute: bounded, and never an error."""

import functools
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import Final

from agent_tracer.client.telemetry.limits import CONTENT_CHARACTERS_MAX

__all__ = ["parameter_names", "text", "text_of_call"]

_CUT: Final = "... [cut]"
_SELF: Final = frozenset({"self", "cls", "mcs"})


def text(value: object) -> str:
    """A str as it is, anything else as JSON; cut at CONTENT_CHARACTERS_MAX."""
    try:
        written = value if isinstance(value, str) else _encoder().encode(value)
    except Exception:  # noqa: BLE001 - what an agent passes around may refuse anything
        written = f"<{type(value).__name__}>"
    return written if len(written) <= CONTENT_CHARACTERS_MAX else written[: CONTENT_CHARACTERS_MAX - len(_CUT)] + _CUT


def text_of_call(names: Sequence[str], arguments: Sequence[object], keywords: Mapping[str, object]) -> str:
    """A call's arguments by name, as a JSON object; without `self`."""
    named = dict(zip(names, arguments, strict=False))
    if len(arguments) > len(names):
        named["*"] = list(arguments[len(names) :])
    if names and names[0] in _SELF:
        named.pop(names[0], None)
    return text({**named, **keywords})


def parameter_names(function: Callable[..., object]) -> tuple[str, ...]:
    """The names of positional parameters, in order; none where the function does not tell them."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return ()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(parameter.name for parameter in parameters if parameter.kind in positional)


@functools.cache
def _encoder() -> json.JSONEncoder:
    """One for all: making an encoder costs more than most texts."""
    return json.JSONEncoder(default=_plain, ensure_ascii=False)


def _plain(value: object) -> object:
    """What json cannot write itself: pydantic models, dataclasses, sets; of others only their type is told."""
    if callable(dump := getattr(value, "model_dump", None)):
        return dump(mode="json")
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    return f"<{type(value).__name__}>"
