"""Copies of spans that have ended: what leaves may differ from what was recorded."""

from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan

__all__ = ["changed"]

_PARTS: Final = (
    "name", "context", "parent", "resource", "attributes", "events", "links", "kind", "status", "start_time",
    "end_time", "instrumentation_scope",
)  # fmt: skip
"""What a span is made of, as its properties and as its constructor call it."""


def changed(span: ReadableSpan, **parts: Any) -> ReadableSpan:  # noqa: ANN401 - each of its own type
    """The span with other `parts`, which are named as ReadableSpan's own."""
    return ReadableSpan(**{part: getattr(span, part) for part in _PARTS} | parts)
