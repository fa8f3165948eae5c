"""Recorded incidents as what is sent to a server: telemetry by OTLP, the incident itself, and its answer."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs
from opentelemetry.proto.metrics.v1.metrics_pb2 import ResourceMetrics
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

from agent_tracer.server.cli.formats.batches import Batcher
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.limits import IMPORT_BATCH_BYTES, IMPORT_BATCH_SPANS

NS: Final = 1_000_000_000
MINUTE_NS: Final = 60 * NS

Request = tuple[Signal, bytes]
Points = Sequence[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Asked:
    """An incident as it is created, with its answer. `truth`: a component, or empty where nothing is to be found.

    `change`: the id of the change behind it where the set asks for it; `decoys`: changes that are not.
    """

    name: str
    system: str
    title: str
    service: str
    start_ns: int
    truth: str
    end_ns: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    change: str = ""
    decoys: frozenset[str] = frozenset()


def gauges(series: Mapping[tuple[str, str], Points]) -> Iterator[Request]:
    """Metrics by component and name, as points of time (Unix ns) and value."""
    by_component: dict[str, list[dict[str, Any]]] = {}
    for (component, name), points in series.items():
        data = [{"time_unix_nano": at, "as_double": value} for at, value in points if value == value]  # noqa: PLR0124
        if data:
            by_component.setdefault(component, []).append({"name": name, "gauge": {"data_points": data}})
    blocks = (
        ResourceMetrics(**_block(component, scope_metrics=[{"metrics": metrics}]))
        for component, metrics in by_component.items()
    )
    yield from _batched(Signal.METRICS, blocks)


def spans(by_service: Mapping[str, Sequence[dict[str, Any]]]) -> Iterator[Request]:
    """Fields of Span by service."""
    blocks = (ResourceSpans(**_block(name, scope_spans=[{"spans": list(own)}])) for name, own in by_service.items())
    yield from _batched(Signal.TRACES, blocks)


def logs(by_service: Mapping[str, Sequence[dict[str, Any]]]) -> Iterator[Request]:
    """Fields of LogRecord by service."""
    blocks = (ResourceLogs(**_block(name, scope_logs=[{"log_records": list(own)}])) for name, own in by_service.items())
    yield from _batched(Signal.LOGS, blocks)


def attributes(values: Mapping[str, str | Sequence[str]]) -> list[dict[str, Any]]:
    """Fields of KeyValues."""
    return [
        {
            "key": key,
            "value": {"string_value": value}
            if isinstance(value, str)
            else {"array_value": {"values": [{"string_value": one} for one in value]}},
        }
        for key, value in values.items()
    ]


def _block(service: str, **content: list[dict[str, Any]]) -> dict[str, Any]:
    named = attributes({"service.name": service}) if service else []
    return {"resource": {"attributes": named}, **content}


def _batched(signal: Signal, blocks: Iterable[Any]) -> Iterator[Request]:
    batcher = Batcher(signal, IMPORT_BATCH_SPANS, IMPORT_BATCH_BYTES)
    for block in blocks:
        for request in batcher.add(block):
            yield signal, request
    for request in batcher.flush():
        yield signal, request
