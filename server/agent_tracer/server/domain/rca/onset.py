"""When an incident began: its alert fires later. And series cut anew at that time. Pure."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from agent_tracer.server.domain.rca.evidence import ONSET_SCORE, known, robust
from agent_tracer.server.domain.rca.view import EdgeSeries, LogSeries, MetricSeries, Series, ServiceSeries

USUAL_VALUES_MIN: Final = 5
"""With fewer values before nobody can tell what is outside."""

SIZE_SHARE: Final = 0.1
"""Of a signal's size that it has to move at least, so that one which was always nought has a scale."""

SILENT_BUCKETS_MAX: Final = 5
"""Buckets without a value that a departure is followed over: metrics may come every five minutes."""


def onset(
    signals: Iterable[Series], starts_ns: Sequence[int], start_ns: int, silent_max: int = SILENT_BUCKETS_MAX
) -> int:
    """Start of the first bucket from which on a signal stays outside its usual range until the incident's start.

    `starts_ns`: of the buckets of the signals' `during`, those before `start_ns` among them. `start_ns` itself where
    no signal was outside before. `silent_max`: buckets without a value that a departure is followed over.
    """
    return min((_departure(signal, starts_ns, start_ns, silent_max) for signal in signals), default=start_ns)


def _departure(signal: Series, starts_ns: Sequence[int], start_ns: int, silent_max: int) -> int:
    usual = known(signal.before)
    if len(usual) < USUAL_VALUES_MIN:
        return start_ns
    sizes = [abs(value) for value in (*usual, *known(signal.during))]
    middle, scale = robust(usual, SIZE_SHARE * sum(sizes) / len(sizes))
    found, silent = start_ns, 0
    earlier = [(at, value) for at, value in zip(starts_ns, signal.during, strict=True) if at < start_ns]
    for at, value in reversed(earlier):
        if math.isnan(value):
            silent += 1
            if silent > silent_max:
                break
            continue
        if scale <= 0 or abs(value - middle) / scale < ONSET_SCORE:
            break
        found, silent = at, 0
    return found


@dataclass(frozen=True, slots=True)
class Cut:
    """Which positions of a series' `during` become part of `before`, and which stay; the others are left out."""

    usual: Sequence[int]
    during: Sequence[int]

    def values(self, series: Series) -> Series:
        """The series with both."""
        before, during = series.before, series.during
        return Series([*before, *(during[at] for at in self.usual)], [during[at] for at in self.during])

    def metric(self, of: MetricSeries) -> MetricSeries:
        """Cut."""
        return MetricSeries(of.component, of.name, self.values(of.values))

    def log(self, of: LogSeries) -> LogSeries:
        """Cut."""
        return LogSeries(of.component, of.template, of.severity, self.values(of.counts))

    def service(self, of: ServiceSeries) -> ServiceSeries:
        """Cut."""
        series = (self.values(each) for each in (of.calls, of.errors, of.own_errors, of.self_ms))
        return ServiceSeries(of.component, *series)

    def edge(self, of: EdgeSeries) -> EdgeSeries:
        """Cut."""
        return EdgeSeries(of.caller, of.callee, *(self.values(each) for each in (of.calls, of.errors, of.gap_ms)))
