"""Export requests to the server: a few under way at once, offered again while the server is full."""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces

from agent_tracer.server.cli.connection import told
from agent_tracer.server.cli.errors import CommandError, RefusedByServerError, ServerNotReachedError
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.limits import (
    CLI_CALL_SECONDS,
    CLI_IMPORT_REQUESTS_IN_FLIGHT,
    CLI_IMPORT_RETRY_SECONDS_MAX,
)

_BACKOFF_FIRST_SECONDS: Final = 0.5
_BACKOFF_LAST_SECONDS: Final = 5.0

# OpenTelemetry protocol specification, OTLP/gRPC response: RESOURCE_EXHAUSTED only with RetryInfo.
_RETRYABLE: Final = frozenset({"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"})
_ABOUT_THE_CONTENT: Final = frozenset({"INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"})


def _count_spans(request: Any) -> int:  # noqa: ANN401 - one of three generated types
    return sum(len(scope.spans) for resource in request.resource_spans for scope in resource.scope_spans)


def _count_records(request: Any) -> int:  # noqa: ANN401
    return sum(len(scope.log_records) for resource in request.resource_logs for scope in resource.scope_logs)


def _count_points(request: Any) -> int:  # noqa: ANN401
    kinds = (
        getattr(metric, metric.WhichOneof("data") or "", None)
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    )
    return sum(len(kind.data_points) for kind in kinds if kind is not None)


@dataclass(frozen=True, slots=True)
class _Road:
    noun: str
    method: str
    request: Any
    response: Any
    count: Callable[[Any], int]
    rejected: str


_ROADS: Final = {
    Signal.TRACES: _Road(
        "span",
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        traces.ExportTraceServiceRequest,
        traces.ExportTraceServiceResponse,
        _count_spans,
        "rejected_spans",
    ),
    Signal.LOGS: _Road(
        "log record",
        "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        logs.ExportLogsServiceRequest,
        logs.ExportLogsServiceResponse,
        _count_records,
        "rejected_log_records",
    ),
    Signal.METRICS: _Road(
        "metric point",
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        metrics.ExportMetricsServiceRequest,
        metrics.ExportMetricsServiceResponse,
        _count_points,
        "rejected_data_points",
    ),
}


@dataclass(slots=True)
class Tally:
    """What became of what was sent: items by noun, and rejections by (noun, reason)."""

    accepted: Counter[str] = field(default_factory=Counter)
    rejected: Counter[tuple[str, str]] = field(default_factory=Counter)
    retries: int = 0


@dataclass(slots=True)
class _Offer:
    road: _Road
    payload: bytes
    items: int
    answer: Any
    first_seconds: float


class Sender:
    """Sends through a channel to `address`; `tally` says what became of it.

    Raises what `told` makes of an error that is neither about one request's content nor passing:
    ServerNotReachedError at once where nothing was ever taken, else after CLI_IMPORT_RETRY_SECONDS_MAX.
    """

    def __init__(self, channel: grpc.Channel, address: str) -> None:
        self.tally = Tally()
        self._address = address
        self._reached = False
        self._calls: dict[Signal, Any] = {
            signal: channel.unary_unary(road.method, response_deserializer=road.response.FromString)
            for signal, road in _ROADS.items()
        }

    def send(self, requests: Iterable[tuple[Signal, bytes]]) -> Iterator[int]:
        """Send them all; yields the number of items that each answered request held, in order."""
        waiting: deque[tuple[Signal, _Offer]] = deque()
        for signal, payload in requests:
            waiting.append((signal, self._offer(signal, payload)))
            if len(waiting) >= CLI_IMPORT_REQUESTS_IN_FLIGHT:
                yield self._settle(*waiting.popleft())
        while waiting:
            yield self._settle(*waiting.popleft())

    def _offer(self, signal: Signal, payload: bytes) -> _Offer:
        road = _ROADS[signal]
        items = road.count(road.request.FromString(payload))
        return _Offer(road, payload, items, self._start(signal, payload), time.monotonic())

    def _start(self, signal: Signal, payload: bytes) -> Any:  # noqa: ANN401 - a grpc future
        return self._calls[signal].future(payload, timeout=CLI_CALL_SECONDS)

    def _settle(self, signal: Signal, offer: _Offer) -> int:
        backoff = _BACKOFF_FIRST_SECONDS
        while True:
            try:
                partial = offer.answer.result().partial_success
            except grpc.RpcError as error:
                problem = told(error, self._address)
                if not self._passing(problem, offer):
                    return self._refused(offer, problem)
                time.sleep(getattr(problem, "retry_seconds", None) or backoff)
                backoff = min(2 * backoff, _BACKOFF_LAST_SECONDS)
                self.tally.retries += 1
                offer.answer = self._start(signal, offer.payload)
                continue
            self._reached = True
            self._count(offer, getattr(partial, offer.road.rejected), partial.error_message)
            return offer.items

    def _passing(self, problem: CommandError, offer: _Offer) -> bool:
        """Whether the same request may be taken later."""
        if time.monotonic() - offer.first_seconds > CLI_IMPORT_RETRY_SECONDS_MAX:
            return False
        if isinstance(problem, RefusedByServerError):
            self._reached = True
            return problem.code in _RETRYABLE or problem.retry_seconds is not None
        return isinstance(problem, ServerNotReachedError) and self._reached

    def _refused(self, offer: _Offer, problem: CommandError) -> int:
        content = isinstance(problem, RefusedByServerError) and problem.code in _ABOUT_THE_CONTENT
        if not content or getattr(problem, "retry_seconds", None) is not None:
            raise problem
        self._count(offer, offer.items, str(problem))
        return offer.items

    def _count(self, offer: _Offer, rejected: int, reason: str) -> None:
        self.tally.accepted[offer.road.noun] += offer.items - rejected
        if rejected:
            self.tally.rejected[offer.road.noun, reason or "the server gave no reason"] += rejected
