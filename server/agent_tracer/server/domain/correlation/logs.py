"""Log records of a trace, and lines that were written more often around it than before."""

from collections.abc import Sequence

import numpy as np

from agent_tracer.server.domain.correlation.bursts import bursts
from agent_tracer.server.domain.correlation.cutting import cut_at
from agent_tracer.server.domain.correlation.findings import RelatedLog, Subject
from agent_tracer.server.domain.correlation.windows import Windows
from agent_tracer.server.domain.rca.view import LogSeries
from agent_tracer.server.domain.statistics.multiple import discovery_rates


def own_logs(records: Sequence[RelatedLog]) -> list[RelatedLog]:
    """The trace's own records, those that say the same as one; the most severe first, then by time."""
    together: dict[tuple[int, str, str], RelatedLog] = {}
    for record in records:
        key = record.severity, record.component, record.message
        former = together.get(key)
        together[key] = _joined(former, record) if former else record
    return sorted(together.values(), key=lambda one: (-one.severity, one.time_ns, one.message))


def _joined(former: RelatedLog, record: RelatedLog) -> RelatedLog:
    return RelatedLog(
        former.severity, former.message, former.component, min(former.time_ns, record.time_ns),
        former.count + record.count, former.correlation, former.of_trace,
    )  # fmt: skip


def bursting_logs(subject: Subject, logs: Sequence[LogSeries], windows: Windows, left_out: int = 0) -> list[RelatedLog]:
    """Templates with a burst in the window: the greatest share beyond the expected first, then the more severe."""
    if not logs:
        return []
    before = np.array([one.counts.before for one in logs], dtype=np.float64)
    during = np.array([one.counts.during for one in logs], dtype=np.float64)
    found = bursts(before, during)
    rates = discovery_rates([float(p) for p in found.p_value], len(logs) + left_out)
    limit = cut_at(unusual=subject.is_unusual)
    related = [
        RelatedLog(
            severity=log.severity,
            message=log.template,
            component=log.component,
            time_ns=_first(log, windows),
            count=int(found.count[at]),
            correlation=float(found.excess[at]),
        )
        for at, log in enumerate(logs)
        if rates[at] <= limit
    ]
    return sorted(related, key=lambda one: (-one.correlation, -one.severity, one.time_ns, one.message))


def _first(log: LogSeries, windows: Windows) -> int:
    """Start of the first bucket of the window with more than any bucket before had."""
    known = [count for count in log.counts.before if count == count]  # noqa: PLR0124 - only NaN differs from itself
    most = max(known, default=0.0)
    starts = windows.during.starts_ns
    beyond = (start for start, count in zip(starts, log.counts.during, strict=True) if count > most)
    some = (start for start, count in zip(starts, log.counts.during, strict=True) if count > 0)
    return next(beyond, next(some, starts[0]))
