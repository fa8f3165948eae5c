"""Which time is looked at: the window around a trace, and the time before it that says what is usual."""

from dataclasses import dataclass
from typing import Final

from agent_tracer.server.domain.checks import NS
from agent_tracer.server.domain.rca.view import Window
from agent_tracer.server.domain.telemetry import TimeRange
from agent_tracer.server.limits import CORRELATION_BUCKETS_MAX, CORRELATION_TRACE_SECONDS_MAX

MINUTE_NS: Final = 60 * NS

PAST_PER_WINDOW: Final = 12
"""Lengths of the window before it, which tell how much anything varies from window to window."""

PAST_MIN_NS: Final = 2 * 3600 * NS
PAST_MAX_NS: Final = 24 * 3600 * NS
PAST_WINDOWS_MIN: Final = 7
"""Lengths of the window that the past has at least, however long the window is."""

EVENTS_PAST_NS: Final = 24 * 3600 * NS
"""Deploys are rare: their rate is that of a day."""


@dataclass(frozen=True, slots=True)
class Windows:
    """`before` and `during`: contiguous buckets of one width, whole minutes."""

    before: Window
    during: Window

    @property
    def width_ns(self) -> int:
        """Of a bucket."""
        return self.during.width_ns

    @property
    def window(self) -> TimeRange:
        """Around the trace."""
        return TimeRange(self.during.starts_ns[0], self.during.starts_ns[-1] + self.width_ns)

    @property
    def past(self) -> TimeRange:
        """Before the window."""
        return TimeRange(self.before.starts_ns[0], self.window.start_ns)

    @property
    def all(self) -> TimeRange:
        """Both."""
        return TimeRange(self.past.start_ns, self.window.end_ns)

    @property
    def events(self) -> TimeRange:
        """The window, and the time before it that tells how rare events are."""
        return TimeRange(max(0, self.window.start_ns - EVENTS_PAST_NS), self.window.end_ns)

    def place_of(self, time_ns: int) -> int:
        """Of the bucket of the window that holds the time, or is nearest to it."""
        place = (time_ns - self.window.start_ns) // self.width_ns
        return min(max(0, place), len(self.during.starts_ns) - 1)


def windows(start_ns: int, end_ns: int, margin_ns: int, now_ns: int) -> Windows:
    """From `margin_ns` before the trace to as long after it, not beyond now; and the past that goes with it.

    Of a trace longer than CORRELATION_TRACE_SECONDS_MAX the end is looked at, where it failed if it did.
    """
    start_ns = max(start_ns, end_ns - CORRELATION_TRACE_SECONDS_MAX * NS)
    end = max(min(end_ns + margin_ns, now_ns), end_ns, start_ns + 1)
    length = end - (start_ns - margin_ns)
    past = max(min(max(PAST_PER_WINDOW * length, PAST_MIN_NS), PAST_MAX_NS), PAST_WINDOWS_MIN * length)
    width = _width(past + length)
    last = -(-end // width)
    first = (start_ns - margin_ns) // width
    during = [at * width for at in range(first, last)]
    before = [at * width for at in range(max(0, first - -(-past // width)), first)]
    return Windows(Window(before, width), Window(during, width))


def _width(length_ns: int) -> int:
    """Whole minutes, so many that there are few enough buckets."""
    minutes = -(-length_ns // (CORRELATION_BUCKETS_MAX * MINUTE_NS))
    return max(1, minutes) * MINUTE_NS
