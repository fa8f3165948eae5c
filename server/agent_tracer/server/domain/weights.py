"""How many bytes content takes, near enough to bound a page or a record; without recursion."""

from collections.abc import Mapping
from typing import Final

from agent_tracer.server.domain.telemetry import AttributeValue, Span, Trace

_NUMBER: Final = 9
_FRAME: Final = 4
_RECORD: Final = 256
"""Ids, times, counts and names of one span or trace."""


def weight(value: AttributeValue) -> int:
    """Bytes of keys and values, with a few for what frames each."""
    total = 0
    waiting = [value]
    while waiting:
        item = waiting.pop()
        total += _FRAME
        if isinstance(item, str):
            total += _text(item)
        elif isinstance(item, bytes):
            total += len(item)
        elif isinstance(item, Mapping):
            total += sum(_text(key) for key in item)
            waiting.extend(item.values())
        elif item is None or isinstance(item, int | float):
            total += _NUMBER
        else:
            waiting.extend(item)
    return total


def span_weight(span: Span) -> int:
    """Bytes of a span with all that hangs on it."""
    hanging = [event.attributes for event in span.events] + [link.attributes for link in span.links]
    texts = _text(span.input) + _text(span.output) + _text(span.status_message) + _text(span.name)
    return _RECORD + texts + weight(span.attributes) + sum(_FRAME + weight(item) for item in hanging)


def trace_weight(trace: Trace) -> int:
    """Bytes of a trace's summary, without spans."""
    names = [*trace.agents, *trace.services]
    explained = sum(_RECORD + _text(evaluation.explanation) for evaluation in trace.evaluations)
    return _RECORD + weight(trace.metadata) + sum(map(_text, names)) + explained


def _text(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
