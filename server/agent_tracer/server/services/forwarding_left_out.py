"""What a backend does not take: counted each time, told to the log from time to time."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

import structlog

from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.limits import EXPORT_TELL_SECONDS
from agent_tracer.server.ports.export import ExportMetrics

_log: Final = structlog.get_logger("exporters")
_TOLD_ELSEWHERE: Final = "unsupported"


class LeftOut:
    """Items that one backend is not sent again. Used by one task."""

    def __init__(self, name: str, metrics: ExportMetrics, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: seconds, from anywhere."""
        self._name = name
        self._metrics = metrics
        self._clock = clock
        self._untold: Counter[tuple[Signal, str]] = Counter()
        self._told_at: dict[tuple[Signal, str], float] = {}

    def add(self, signal: Signal, kind: str, items: int, why: str) -> None:
        """`kind` is one of SKIP_REASONS, `why` the backend's own words. The log's number is since its last line."""
        self._metrics.skipped(signal, kind, items)
        if kind == _TOLD_ELSEWHERE:
            return
        key = (signal, kind)
        self._untold[key] += items
        if self._clock() - self._told_at.get(key, float("-inf")) < EXPORT_TELL_SECONDS:
            return
        self._told_at[key] = self._clock()
        _log.warning(
            "a backend does not take items; they are left out",
            exporter=self._name,
            signal=signal.name.lower(),
            kind=kind,
            items=self._untold.pop(key),
            reason=why,
        )
