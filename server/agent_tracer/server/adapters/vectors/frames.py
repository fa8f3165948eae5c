"""Messages between the server and the process of the embedded index: JSON and a block of bytes, with their lengths."""

import json
from struct import Struct
from typing import Any, Final

from agent_tracer.server.limits import VECTORS_FRAME_BYTES_MAX

HEAD: Final = Struct(">II")


class FrameError(Exception):
    """The bytes are no message."""


def encode(message: dict[str, Any], block: bytes = b"") -> bytes:
    """The message as it travels."""
    text = json.dumps(message, separators=(",", ":")).encode()
    return HEAD.pack(len(text), len(block)) + text + block


def lengths(head: bytes) -> tuple[int, int]:
    """Of the text and the block, which follow. Raises FrameError."""
    text, block = HEAD.unpack(head)
    if text + block > VECTORS_FRAME_BYTES_MAX:
        raise FrameError("a message is longer than any that is sent")
    return text, block


def decode(text: bytes) -> dict[str, Any]:
    """Raises FrameError where it is no JSON object."""
    try:
        message = json.loads(text)
    except ValueError:
        message = None
    if not isinstance(message, dict):
        raise FrameError("a message is no JSON object")
    return message
