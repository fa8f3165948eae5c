"""How many items an export request holds, told from its frame: a twentieth of what decoding it costs."""

from collections.abc import Mapping
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

from agent_tracer.server.domain.signals import Signal

_MESSAGE, _BYTES, _REPEATED = 11, 12, 3
_PACKAGE: Final = "agent_tracer.internal.counts"

_POINT_FIELDS: Final = {"gauge": 5, "sum": 7, "histogram": 9, "exponential": 10, "summary": 11}
"""Where a Metric has its points, each kind in a message whose field 1 they are."""


def count_items(signal: Signal, payload: bytes) -> int:
    """Spans, log records or data points in a serialised export request; 0 where it cannot be read."""
    try:
        request: Any = _REQUESTS[signal].FromString(payload)
    except DecodeError:
        return 0
    scopes = (scope for resource in request.resources for scope in resource.scopes)
    if signal is not Signal.METRICS:
        return sum(len(scope.items) for scope in scopes)
    metrics = (metric for scope in scopes for metric in scope.items)
    return sum(len(data.points) for metric in metrics for _, kinds in metric.ListFields() for data in kinds)


def _requests() -> Mapping[Signal, type[Message]]:
    file = descriptor_pb2.FileDescriptorProto(name=f"{_PACKAGE}.proto", package=_PACKAGE, syntax="proto3")
    _add(file, "Points", points=(1, ""))
    _add(file, "Metric", **{kind: (number, "Points") for kind, number in _POINT_FIELDS.items()})
    for prefix, item in (("", ""), ("Metric", "Metric")):
        _add(file, f"{prefix}Scope", items=(2, item))
        _add(file, f"{prefix}Resource", scopes=(2, f"{prefix}Scope"))
        _add(file, f"{prefix}Request", resources=(1, f"{prefix}Resource"))
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    plain, metrics = (
        message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in ("Request", "MetricRequest")
    )
    return {Signal.TRACES: plain, Signal.LOGS: plain, Signal.METRICS: metrics}


def _add(file: descriptor_pb2.FileDescriptorProto, name: str, **fields: tuple[int, str]) -> None:
    """A message of repeated fields: each its number and the message it holds, bytes where there is none."""
    message = file.message_type.add(name=name)
    for field, (number, of) in fields.items():
        kind = _MESSAGE if of else _BYTES
        type_name = f".{_PACKAGE}.{of}" if of else None
        message.field.add(name=field, number=number, type=kind, label=_REPEATED, type_name=type_name)


_REQUESTS: Final = _requests()
