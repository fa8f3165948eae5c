"""Batches by size: the SDK counts items, and a server refuses a request by its bytes, all that is in it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from agent_tracer.client.telemetry.limits import REQUEST_BYTES_MAX

__all__ = ["parts"]

_Item = TypeVar("_Item")

_NUMBER_BYTES: Final = 16
"""A number with what stands around it, rounded up; also what stands around a text."""


def parts(items: Sequence[_Item]) -> list[Sequence[_Item]]:
    """Spans or log records in runs of REQUEST_BYTES_MAX at most. What is larger alone comes last, each by itself."""
    sizes = [_item_bytes(item) for item in items]
    if sum(sizes) <= REQUEST_BYTES_MAX:
        return [items]
    runs: list[list[_Item]] = []
    alone: list[list[_Item]] = []
    held = REQUEST_BYTES_MAX
    for item, size in zip(items, sizes, strict=True):
        if size > REQUEST_BYTES_MAX:
            alone.append([item])
            continue
        if held + size > REQUEST_BYTES_MAX:
            runs.append([])
            held = 0
        runs[-1].append(item)
        held += size
    return [*runs, *alone]


def _item_bytes(item: Any) -> int:  # noqa: ANN401 - a span or a log record, whose classes differ between SDKs
    carrier = getattr(item, "log_record", item)
    linked = [*getattr(carrier, "events", ()), *getattr(carrier, "links", ())]
    texts = [getattr(getattr(carrier, "status", None), "description", None), getattr(carrier, "body", None)]
    return _bytes(texts) + sum(_bytes(one.attributes) for one in [carrier, *linked])


def _bytes(value: object) -> int:
    if isinstance(value, str):
        # An ASCII text knows its length in UTF-8; others are encoded to be measured.
        return _NUMBER_BYTES + (len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass")))
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, Mapping):
        return sum(_bytes(key) + _bytes(held) for key, held in value.items())
    return sum(map(_bytes, value)) if isinstance(value, Sequence) else _NUMBER_BYTES
