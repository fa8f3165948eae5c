"""Cuts ResourceSpans, ResourceLogs and ResourceMetrics ("blocks") into export requests of bounded size."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from agent_tracer.server.domain.otlp_json import REQUEST_TYPES
from agent_tracer.server.domain.signals import Signal

_LENGTH_BYTES: Final = 6  # tag and length around a message of up to 4 GiB


@dataclass(frozen=True, slots=True)
class Layout:
    """The names of the three levels of an export request."""

    resources: str
    scopes: str
    items: str


LAYOUTS: Final[Mapping[Signal, Layout]] = {
    Signal.TRACES: Layout("resource_spans", "scope_spans", "spans"),
    Signal.LOGS: Layout("resource_logs", "scope_logs", "log_records"),
    Signal.METRICS: Layout("resource_metrics", "scope_metrics", "metrics"),
}


class Batcher:
    """Collects blocks of one signal. An item larger than `max_bytes` travels in a request of its own.

    Messages are typed Any: the three signals have the same shape under other names.
    """

    def __init__(self, signal: Signal, max_items: int, max_bytes: int) -> None:
        self._layout = LAYOUTS[signal]
        self._request_type: Any = REQUEST_TYPES[signal]
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._request: Any = self._request_type()
        self._items = 0
        self._bytes = 0

    def add(self, block: Any) -> Iterator[bytes]:  # noqa: ANN401
        """Take a block; gives the requests that are full, serialised."""
        scopes = getattr(block, self._layout.scopes)
        items = sum(len(getattr(scope, self._layout.items)) for scope in scopes)
        if items == 0:
            return
        size = block.ByteSize() + _LENGTH_BYTES
        if not self._fits(items, size):
            yield from self.flush()
        if self._fits(items, size):
            getattr(self._request, self._layout.resources).append(block)
            self._items += items
            self._bytes += size
            return
        for scope in scopes:
            yield from self._split(block, scope)

    def flush(self) -> Iterator[bytes]:
        """The request begun, if there is anything in it."""
        if self._items:
            yield self._request.SerializeToString()
            self._request = self._request_type()
            self._items = self._bytes = 0

    def _fits(self, items: int, size: int) -> bool:
        return self._items + items <= self._max_items and self._bytes + size <= self._max_bytes

    def _split(self, block: Any, scope: Any) -> Iterator[bytes]:  # noqa: ANN401
        target: Any = None
        for item in getattr(scope, self._layout.items):
            size = item.ByteSize() + _LENGTH_BYTES
            if not self._fits(1, size):
                yield from self.flush()
                target = None
            if target is None:
                target = self._open(block, scope)
            target.append(item)
            self._items += 1
            self._bytes += size

    def _open(self, block: Any, scope: Any) -> Any:  # noqa: ANN401
        """The empty list of items of a copy of the block's and the scope's head."""
        head = getattr(self._request, self._layout.resources).add(schema_url=block.schema_url)
        if block.HasField("resource"):
            head.resource.CopyFrom(block.resource)
        inner = getattr(head, self._layout.scopes).add(schema_url=scope.schema_url)
        if scope.HasField("scope"):
            inner.scope.CopyFrom(scope.scope)
        self._bytes += head.ByteSize() + 2 * _LENGTH_BYTES
        return getattr(inner, self._layout.items)
