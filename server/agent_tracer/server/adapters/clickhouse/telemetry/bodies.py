"""Bodies of log records as values and as lines of text."""

import json
import re
from collections.abc import Mapping
from typing import Final

from google.protobuf.message import DecodeError

from agent_tracer.server.adapters.clickhouse.values import read_value
from agent_tracer.server.domain.telemetry import AttributeValue

MESSAGE_KEYS: Final = ("message", "msg", "log", "event", "text", "body")
ERROR_KEYS: Final = (
    "error", "err", "error.message", "error_message", "exception", "exception.type", "exception.message",
    "exception.stacktrace", "stack", "stacktrace", "stack_trace", "goroutine_stack", "traceback",
)  # fmt: skip
"""Fields and attributes that say what failed, in the order in which they are told."""

MASK: Final = "<*>"
_VARYING: Final = re.compile(
    r"(?P<named>\b(?:x509|[a-z]*https?\d|h[23]|s3|ec2|k8s|md5|sha\d{1,3}|utf-?\d+|ipv?[46]|oauth2|log4j2?|base64|p\d{2})\b)"
    r"|\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b|\b0x[0-9a-f]+\b"
    r"|\b(?=[0-9a-f]*\d)[0-9a-f]{8,}\b|(?<![A-Za-z]#)(?<!\d)\d+(?:[.:,]\d+)*",
    re.IGNORECASE,
)
"""`named`: words that have a number in their name and always the same one."""
_SPACE: Final = re.compile(r"\s+")


def body_value(type_: int, text: bytes) -> AttributeValue:
    """A body; one that is a JSON object as text is that object."""
    try:
        value = read_value(type_, text)
    except (DecodeError, ValueError, KeyError):
        return text.decode(errors="replace")
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = json.loads(value)
        except ValueError:
            return value
    return value


def line(body: AttributeValue, errors: Mapping[str, str]) -> str:
    """What a record says: its message, and what failed where it or its attributes tell."""
    if isinstance(body, Mapping):
        message = next((body[key] for key in MESSAGE_KEYS if body.get(key)), None)
        parts = [body if message is None else message, *(body[key] for key in ERROR_KEYS if body.get(key))]
    else:
        parts = [body]
    parts += [errors[key] for key in ERROR_KEYS if errors.get(key)]
    return " ".join(part if isinstance(part, str) else json.dumps(part, default=str) for part in parts if part)


def masked(text: str) -> str:
    """The text without what differs from one occurrence to the next: numbers and ids.

    Names of files stay, and the line in `Class#line`: where a line was written tells it from others.
    """
    return _SPACE.sub(" ", _VARYING.sub(lambda found: found["named"] or MASK, text)).strip()
