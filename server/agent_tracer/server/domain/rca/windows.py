"""Which times an analysis compares: buckets of the incident, and what is taken for usual. Pure."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Final

from agent_tracer.server import limits
from agent_tracer.server.domain.telemetry import TimeRange

NS: Final = 1_000_000_000

WIDTHS_SECONDS: Final = (60, 120, 300, 600, 1800)
"""Of a bucket: a minute is what metrics are commonly scraped at; longer windows take longer ones."""

WINDOW_BUCKETS_MAX: Final = 360
"""Buckets of a window: an hour's share of a second in arithmetic, whatever the window."""

ALERT_LAG_NS: Final = 15 * 60 * NS
"""How long before its start an incident may have begun: alert rules wait for minutes before they fire."""

ALERT_LAG_SHARE: Final = 4
"""At most that part of the window: the rest is what is usual."""

INCIDENT_BUCKETS: Final = 5
"""Of an incident whose end is not known: causes show first, and later hours tell of operators' work too."""

BUCKETS_FEW: Final = 10
"""Fewer buckets with data of a signal tell little of what is usual."""

BUCKETS_ENOUGH: Final = 30
"""With so many, quartiles are known well enough."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The times of a question: `window` before the incident, from which on it may have begun, its start and end."""

    width_ns: int
    window_ns: int
    earliest_ns: int
    start_ns: int
    end_ns: int

    @property
    def window(self) -> TimeRange:
        """What is usual is looked for here first."""
        return TimeRange(self.start_ns - self.window_ns, self.earliest_ns)

    @property
    def buckets(self) -> list[int]:
        """Starts of the buckets in which the incident may have been going on."""
        return list(range(self.earliest_ns, self.end_ns, self.width_ns))


def frame(start_ns: int, end_ns: int | None, now_ns: int, window_ns: int, spacing_ns: int = 0) -> Frame:
    """Buckets begin at whole widths from the incident's start. `spacing_ns`: between two values of a metric."""
    width = bucket_width(window_ns)
    window = window_ns // width * width
    lag = min(ALERT_LAG_NS, window // ALERT_LAG_SHARE) // width * width
    usual_end = start_ns + INCIDENT_BUCKETS * max(width, spacing_ns)
    known_end = usual_end if end_ns is None or end_ns - start_ns < width else end_ns
    end = min(known_end, start_ns + limits.RCA_INCIDENT_SECONDS_MAX * NS, max(now_ns, start_ns + width))
    count = max(-((start_ns - end) // width), 1)
    return Frame(width, window, start_ns - lag, start_ns, start_ns + count * width)


def bucket_width(window_ns: int) -> int:
    """The shortest of which the window has no more than `WINDOW_BUCKETS_MAX`."""
    fitting = (width * NS for width in WIDTHS_SECONDS if window_ns <= width * NS * WINDOW_BUCKETS_MAX)
    return next(fitting, WIDTHS_SECONDS[-1] * NS)


def spacing(starts_ns: Sequence[int]) -> int:
    """Median time between buckets that hold something; 0 of fewer than three."""
    gaps = [later - former for former, later in pairwise(starts_ns)]
    return int(median(gaps)) if len(gaps) > 1 else 0


def going_on(start_ns: int, end_ns: int | None, width_ns: int) -> TimeRange:
    """The time of another incident: one that was never closed is not taken to go on for ever."""
    assumed = start_ns + INCIDENT_BUCKETS * width_ns
    return TimeRange(start_ns, assumed if end_ns is None else max(end_ns, start_ns + 1))


def free(starts_ns: Sequence[int], width_ns: int, taken: Sequence[TimeRange]) -> list[int]:
    """The buckets in which none of the ranges lies, not even in part."""
    joined = _joined(taken)
    ends = [other.end_ns for other in joined]
    found = []
    for start in starts_ns:
        at = bisect_right(ends, start)
        if at == len(joined) or joined[at].start_ns >= start + width_ns:
            found.append(start)
    return found


def _joined(ranges: Sequence[TimeRange]) -> list[TimeRange]:
    """The same times in order, apart from each other."""
    found: list[TimeRange] = []
    for each in sorted(ranges, key=lambda one: one.start_ns):
        if found and each.start_ns <= found[-1].end_ns:
            found[-1] = TimeRange(found[-1].start_ns, max(found[-1].end_ns, each.end_ns))
        else:
            found.append(each)
    return found


def nearest(starts_ns: Sequence[int], to_ns: int, count: int) -> list[int]:
    """The `count` buckets nearest to a time, in order of time."""
    return sorted(sorted(starts_ns, key=lambda start: abs(start - to_ns))[: max(count, 0)])


def stretches(starts_ns: Sequence[int], width_ns: int) -> int:
    """How many runs of adjoining buckets there are."""
    ordered = sorted(starts_ns)
    return sum(at == 0 or start - ordered[at - 1] > width_ns for at, start in enumerate(ordered))
