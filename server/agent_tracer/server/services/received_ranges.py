"""Gaps in time: what was received then waits for something to be done with it."""

from collections.abc import Iterable, Sequence
from typing import Final

from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.limits import INDEX_RANGES_MAX
from agent_tracer.server.ports.journal import Record
from agent_tracer.server.ports.settling import ReceivedRange

_END_OF_TIME_NS: Final = 2**62
"""A time in the year 2116, since records may carry the time of a clock that was ahead."""
EVER: Final = ReceivedRange(0, _END_OF_TIME_NS)
_GAP_NS: Final = 3600 * 1_000_000_000
"""Commits further apart stay two ranges: a clock may have been set, and a range is read whole."""


def received_from(start_ns: int) -> ReceivedRange:
    """From then on, whatever is still to come included."""
    return ReceivedRange(start_ns, _END_OF_TIME_NS)


def range_of_commit(records: Sequence[Record], before_ns: int | None = None) -> ReceivedRange | None:
    """When the traces of a commit were received; None where it has none. `before_ns`: the end of the one before.

    Nothing was received between two commits, so that both are one range while they wait: else a commit a second is a
    range a second, and whoever works off a range a pass falls behind.
    """
    times = [record.received_ns for record in records if record.signal is Signal.TRACES]
    if not times:
        return None
    first_ns = min(times)
    if before_ns is not None and 0 < first_ns - before_ns <= _GAP_NS:
        first_ns = before_ns + 1
    return ReceivedRange(first_ns, max(times))


class WaitingRanges:
    """Disjoint ranges, of which the latest is taken first. At most INDEX_RANGES_MAX: past it the oldest two are one."""

    def __init__(self, ranges: Iterable[ReceivedRange] = ()) -> None:
        self._ranges: list[ReceivedRange] = []
        for one in ranges:
            self.add(one)

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def all(self) -> Sequence[ReceivedRange]:
        """In order of time."""
        return tuple(self._ranges)

    def add(self, added: ReceivedRange) -> None:
        """What is received in it waits too. A range that ends before it starts is none."""
        if added.end_ns < added.start_ns:
            return
        apart = [one for one in self._ranges if one.end_ns + 1 < added.start_ns or added.end_ns + 1 < one.start_ns]
        joined = [one for one in self._ranges if one not in apart]
        start_ns = min([added.start_ns, *(one.start_ns for one in joined)])
        end_ns = max([added.end_ns, *(one.end_ns for one in joined)])
        self._ranges = sorted([*apart, ReceivedRange(start_ns, end_ns)], key=lambda one: one.start_ns)
        if len(self._ranges) > INDEX_RANGES_MAX:
            first, second, *rest = self._ranges
            self._ranges = [ReceivedRange(first.start_ns, second.end_ns), *rest]

    def take_latest(self) -> ReceivedRange | None:
        """The latest range, which then waits no more."""
        return self._ranges.pop() if self._ranges else None

    def drop_before(self, time_ns: int) -> None:
        """What was received before does not wait any more."""
        self._ranges = [
            ReceivedRange(max(one.start_ns, time_ns), one.end_ns) for one in self._ranges if one.end_ns >= time_ns
        ]
