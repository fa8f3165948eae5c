"""Moves all times of export requests by the same amount: recorded data as if it were of another day."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from agent_tracer.server.cli.formats.batches import LAYOUTS
from agent_tracer.server.domain.otlp_json import REQUEST_TYPES
from agent_tracer.server.domain.signals import Signal

_TIME_MAX: Final = 2**63 - 1
"""Nanoseconds since 1970 that the store's times hold: up to the year 2262."""

Place = tuple[Any, str]
"""A message and the name of its field that holds a time."""


class ShiftError(ValueError):
    """A time would lie before 1970 or after 2262."""


def latest_ns(requests: Iterable[tuple[Signal, bytes]]) -> int | None:
    """The latest time of requests, in nanoseconds since 1970; None where they hold none."""
    return max((_latest(signal, payload) for signal, payload in requests), default=0) or None


def shifted(requests: Iterable[tuple[Signal, bytes]], by_ns: int) -> Iterator[tuple[Signal, bytes]]:
    """The requests with every time moved by `by_ns`, whatever else they hold left as it is.

    A time of 0 stands for none in OTLP and stays, but for a span's own, which must have both: there it is 1970.
    Raises ShiftError.
    """
    for signal, payload in requests:
        request: Any = REQUEST_TYPES[signal].FromString(payload)
        for message, name in _places(signal, request):
            moved = getattr(message, name) + by_ns
            if not 0 < moved <= _TIME_MAX:
                raise ShiftError("the times cannot be moved there: some would lie before 1970 or after 2262")
            setattr(message, name, moved)
        yield signal, request.SerializeToString()


def _latest(signal: Signal, payload: bytes) -> int:
    request: Any = REQUEST_TYPES[signal].FromString(payload)
    return max((getattr(message, name) for message, name in _places(signal, request)), default=0)


def _places(signal: Signal, request: Any) -> Iterator[Place]:  # noqa: ANN401 - one of three generated types
    layout = LAYOUTS[signal]
    for block in getattr(request, layout.resources):
        for scope in getattr(block, layout.scopes):
            for item in getattr(scope, layout.items):
                yield from _PLACES_OF_ITEM[signal](item)


def _of_span(span: Any) -> Iterator[Place]:  # noqa: ANN401
    yield span, "start_time_unix_nano"
    yield span, "end_time_unix_nano"
    for event in span.events:
        yield event, "time_unix_nano"


def _of_log_record(record: Any) -> Iterator[Place]:  # noqa: ANN401
    yield from _given(record, "time_unix_nano", "observed_time_unix_nano")


def _of_metric(metric: Any) -> Iterator[Place]:  # noqa: ANN401
    kind = metric.WhichOneof("data")
    for point in getattr(metric, kind).data_points if kind else ():
        yield from _given(point, "time_unix_nano", "start_time_unix_nano")
        # A summary's points have none.
        for exemplar in getattr(point, "exemplars", ()):
            yield from _given(exemplar, "time_unix_nano")


def _given(message: Any, *names: str) -> Iterator[Place]:  # noqa: ANN401
    return ((message, name) for name in names if getattr(message, name))


_PLACES_OF_ITEM: Final[Mapping[Signal, Callable[[Any], Iterator[Place]]]] = {
    Signal.TRACES: _of_span,
    Signal.LOGS: _of_log_record,
    Signal.METRICS: _of_metric,
}
