"""Gaps in time: what was received then waits for something to be done with it."""

from collections.abc import Iterable, Sequence

from agent_tracer.server.limits import INDEX_RANGES_MAX
from agent_tracer.server.ports.settling import ReceivedRange


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
