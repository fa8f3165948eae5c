"""What a span says of the messages of a call: kinds and sizes always, contents only when asked for."""

# ruff: noqa: ANN401  # messages are whatever the agents send

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

CAPTURED_CHARACTERS: Final = 4096
"""Of each direction of a call: enough to see what was asked, not enough to copy a data set into the traces."""


@dataclass(frozen=True, slots=True)
class Capture:
    """How contents are taken over: through `redact`, when given, then cut to `limit` characters."""

    redact: Callable[[str], str] | None = None
    limit: int = CAPTURED_CHARACTERS

    def text(self, message: Any) -> str:
        """The message as a span shows it. Raises what `redact` raises."""
        whole = as_text(message)
        return (self.redact(whole) if self.redact else whole)[: self.limit]


class Direction:
    """The messages of one direction of a call; each call has two of these, so that they begin as nothing."""

    count: int = 0
    size: int = 0
    kind: str = ""
    texts: list[str] | None = None
    room: int = -1

    def add(self, message: Any, capture: Capture | None) -> None:
        """Note a message."""
        self.count += 1
        if isinstance(message, bytes):
            self.size += len(message)
        else:
            self.size += size_of(message)
            self.kind = self.kind or kind_of(message)
        if capture is not None and self.room:
            text = capture.text(message)
            self.room = max(0, (capture.limit if self.room < 0 else self.room) - len(text))
            if self.texts is None:
                self.texts = []
            self.texts.append(text)


def kind_of(message: Any) -> str:
    """The message's type: its full protobuf name, else its class; "" for bytes, which say nothing."""
    if isinstance(message, bytes):
        return ""
    descriptor = getattr(message, "DESCRIPTOR", None)
    return str(descriptor.full_name) if descriptor is not None else type(message).__name__


def size_of(message: Any) -> int:
    """Bytes on the wire where that is cheap to know (protobuf, bytes), else 0."""
    if isinstance(message, bytes):
        return len(message)
    measure = getattr(message, "ByteSize", None)
    return int(measure()) if measure is not None else 0


def as_text(message: Any) -> str:
    """A message for people: JSON where it has one."""
    if isinstance(message, str):
        return message
    if isinstance(message, bytes):
        return message.decode(errors="replace")
    if hasattr(message, "DESCRIPTOR"):
        from google.protobuf import json_format  # noqa: PLC0415  # only where protobuf messages are captured

        return str(json_format.MessageToJson(message, indent=None, preserving_proto_field_name=True))
    for method in ("model_dump_json", "to_json"):
        if hasattr(message, method):
            return str(getattr(message, method)())
    try:
        return json.dumps(message, default=str)
    except (TypeError, ValueError):
        return str(message)
