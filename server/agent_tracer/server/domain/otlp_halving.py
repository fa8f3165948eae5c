"""An export request in two halves: how a request is found that a backend does not take, or made small enough."""

from typing import Any

from google.protobuf.message import DecodeError

from agent_tracer.server.domain.otlp_json import REQUEST_TYPES, Request
from agent_tracer.server.domain.signals import Signal

_GROUPS = {
    Signal.TRACES: ("resource_spans", "scope_spans", "spans"),
    Signal.LOGS: ("resource_logs", "scope_logs", "log_records"),
    Signal.METRICS: ("resource_metrics", "scope_metrics", "metrics"),
}
"""Names of the repeated fields on the way from a request to its items; a metric counts as one."""


def halves(signal: Signal, payload: bytes) -> tuple[bytes, bytes] | None:
    """The first half of the items and the second, resources and scopes with each; None for one item, or garbage."""
    try:
        request: Any = REQUEST_TYPES[signal].FromString(payload)
    except DecodeError:
        return None
    resources, scopes, items = _GROUPS[signal]
    lists = [getattr(scope, items) for group in getattr(request, resources) for scope in getattr(group, scopes)]
    total = sum(map(len, lists))
    if total < 2:  # noqa: PLR2004 - nothing to divide
        return None
    second = type(request).FromString(payload)
    _keep(request, signal, range(total // 2))
    _keep(second, signal, range(total // 2, total))
    return request.SerializeToString(), second.SerializeToString()


def _keep(request: Request, signal: Signal, wanted: range) -> None:
    """Leave only the items of these numbers, and no empty scope or resource."""
    resources, scopes, items = _GROUPS[signal]
    at = 0
    for group in getattr(request, resources):
        for scope in getattr(group, scopes):
            held = getattr(scope, items)
            size = len(held)
            first, end = (min(max(edge - at, 0), size) for edge in (wanted.start, wanted.stop))
            del held[end:]
            del held[:first]
            at += size
        _drop(getattr(group, scopes), items)
    _drop(getattr(request, resources), scopes)


def _drop(holders: Any, field: str) -> None:  # noqa: ANN401 - a repeated field of any message
    for index in reversed(range(len(holders))):
        if not len(getattr(holders[index], field)):
            del holders[index]
