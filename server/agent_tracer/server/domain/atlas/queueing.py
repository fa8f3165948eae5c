"""Stages that queue for workers, and what more workers save (`scale_out`).

Source: Erlang's C formula for the M/M/c queue (Erlang 1917; Gross, Shortle, Thompson, Harris: Fundamentals of Queueing
Theory, section 3.3), evaluated by the recursion of Erlang's B.
"""

import heapq
import statistics
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Final

from agent_tracer.server.domain.atlas.gains import Proposal
from agent_tracer.server.domain.atlas.replay import Plan, RecordedTrace
from agent_tracer.server.domain.atlas.workflow import NS_PER_MS, Change

CALLS_MIN: Final = 20
"""Calls of a stage below which its rate of arrival is anybody's guess."""

WAIT_TOLERANCE: Final = 0.25
"""A queue in order of arrival, with as many workers as were seen, must give the recorded waiting within this share:
else something else made the calls wait, or calls are missing from the data, and more workers promise nothing."""

WAIT_WANTED: Final = 0.1
"""So many workers are proposed that the mean wait, by Erlang's C, is at most this share of the mean service time."""

EXCEEDED_SHARE_MAX: Final = 0.01
"""More calls in service than there are workers, for this share of the busy time at most, are clocks that disagree."""

WORKERS_FACTOR_MAX: Final = 4
"""At most this many times the workers there are: what was recorded tells little about so different a system."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One call: how long it waited while all workers were busy, and its service; nanoseconds."""

    trace: int
    index: int
    start_ns: int
    wait_ns: int
    service_ns: int


@dataclass(frozen=True, slots=True)
class Queue:
    """A stage's calls by start, and its workers: the most calls that were in service at once (EXCEEDED_SHARE_MAX)."""

    stage: str
    workers: int
    calls: Sequence[Waiting]

    @property
    def wait_ns(self) -> int:
        """All of its calls together."""
        return sum(call.wait_ns for call in self.calls)

    @property
    def service_ns(self) -> int:
        """All of its calls together."""
        return sum(call.service_ns for call in self.calls)

    @property
    def share(self) -> float:
        """Of the time between being ready and the end: the part spent waiting."""
        whole = self.wait_ns + self.service_ns
        return self.wait_ns / whole if whole else 0.0

    @property
    def offered_load(self) -> float:
        """In erlangs: arrivals over the recorded time, times the mean service time. Below 1 a worker when stable."""
        arrivals = [call.start_ns - call.wait_ns for call in self.calls]
        horizon = max(call.start_ns + call.service_ns for call in self.calls) - min(arrivals)
        return self.service_ns / horizon if horizon else 0.0


def erlang_c(workers: int, offered_load: float) -> float:
    """The probability that a call has to wait, for `offered_load` erlangs; 1 where the queue would grow for ever."""
    if offered_load >= workers:
        return 1.0
    blocking = 1.0
    for worker in range(1, workers + 1):
        blocking = offered_load * blocking / (worker + offered_load * blocking)
    return workers * blocking / (workers - offered_load * (1 - blocking))


def mean_wait(workers: int, offered_load: float) -> float:
    """The mean wait in units of the mean service time; infinite where the queue would grow for ever."""
    if offered_load >= workers:
        return float("inf")
    return erlang_c(workers, offered_load) / (workers - offered_load)


def fifo_waits(calls: Sequence[Waiting], workers: int) -> list[int]:
    """Nanoseconds that each call waits when `workers` serve them in order of arrival."""
    free = [min(call.start_ns - call.wait_ns for call in calls)] * workers
    waits = [0] * len(calls)
    for at in sorted(range(len(calls)), key=lambda i: (calls[i].start_ns - calls[i].wait_ns, calls[i].start_ns)):
        arrival = calls[at].start_ns - calls[at].wait_ns
        begin = max(arrival, heapq.heappop(free))
        heapq.heappush(free, begin + calls[at].service_ns)
        waits[at] = begin - arrival
    return waits


def workers_wanted(queue: Queue) -> int:
    """The fewest workers, more than there are, that keep the mean wait at WAIT_WANTED.

    Both by Erlang's C, and for the calls as they came: these may come in bursts, which a long period hides.
    """
    most = queue.workers * WORKERS_FACTOR_MAX
    return next((n for n in range(queue.workers + 1, most) if _suffice(queue, n)), most)


def _suffice(queue: Queue, workers: int) -> bool:
    return (
        mean_wait(workers, queue.offered_load) <= WAIT_WANTED
        and sum(fifo_waits(queue.calls, workers)) <= WAIT_WANTED * queue.service_ns
    )


def queues(traces: Sequence[RecordedTrace]) -> dict[str, Queue]:
    """The stages, by name, with what their calls waited while as many were in service as ever were at once.

    A call waits from the moment it was ready (replay: all it waited for was over) to its start; only the time in which
    all workers were busy counts. Stages with calls within each other are left out: they do not share workers.
    """
    found: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for number, trace in enumerate(traces):
        for index, stage in enumerate(trace.stages):
            parent = trace.tree.parents[index]
            if stage and parent >= 0 and trace.stages[parent] != stage:
                found[stage].append((number, index))
    return {stage: _queue(stage, traces, calls) for stage, calls in found.items() if len(calls) >= CALLS_MIN}


def _queue(stage: str, traces: Sequence[RecordedTrace], calls: Sequence[tuple[int, int]]) -> Queue:
    spans = [(traces[t].tree.starts[i], traces[t].tree.ends[i], t, i) for t, i in calls]
    spans.sort()
    times, busy = _busy(spans)
    workers = _workers(times, busy)
    saturated = _Saturated(times, [count >= workers for count in busy])
    waiting = [
        Waiting(t, i, start, saturated.within(start - max(0, traces[t].gaps[i]), start), end - start)
        for start, end, t, i in spans
    ]
    return Queue(stage, workers, waiting)


def _busy(spans: Sequence[tuple[int, int, int, int]]) -> tuple[list[int], list[int]]:
    """Moments, and how many calls are in service from each one to the next."""
    steps: dict[int, int] = defaultdict(int)
    for start, end, *_ in spans:
        steps[start] += 1
        steps[end] -= 1
    times = sorted(steps)
    return times, list(accumulate(steps[time] for time in times))


def _workers(times: Sequence[int], busy: Sequence[int]) -> int:
    lasted: dict[int, int] = defaultdict(int)
    for (before, after), count in zip(pairwise(times), busy, strict=False):
        lasted[count] += after - before
    allowed = EXCEEDED_SHARE_MAX * sum(time for count, time in lasted.items() if count)
    for count in sorted(lasted, reverse=True):
        allowed -= lasted[count]
        if allowed < 0:
            return max(1, count)
    return 1


class _Saturated:
    """How much of a stretch of time all workers were busy."""

    def __init__(self, times: Sequence[int], full: Sequence[bool]) -> None:
        lengths = [(after - before) * is_full for (before, after), is_full in zip(pairwise(times), full, strict=False)]
        self._times = times
        self._full = full
        self._total = [0, *accumulate(lengths)]

    def within(self, start: int, end: int) -> int:
        return self._until(end) - self._until(start)

    def _until(self, time: int) -> int:
        at = bisect_right(self._times, time) - 1
        return self._total[at] + (time - self._times[at]) * self._full[at] if at >= 0 else 0


def more_workers(traces: Sequence[RecordedTrace], found: Mapping[str, Queue]) -> list[Proposal]:
    """Proposals to add workers where a queue explains the waiting; the calls are served anew in order of arrival."""
    return [_proposal(traces, queue) for queue in found.values() if _explains(queue)]


def _explains(queue: Queue) -> bool:
    recorded = queue.wait_ns
    return recorded > 0 and abs(sum(fifo_waits(queue.calls, queue.workers)) - recorded) <= WAIT_TOLERANCE * recorded


def _proposal(traces: Sequence[RecordedTrace], queue: Queue) -> Proposal:
    wanted = workers_wanted(queue)
    gaps: dict[int, dict[int, int]] = defaultdict(dict)
    for call, wait in zip(queue.calls, fifo_waits(queue.calls, wanted), strict=True):
        saved = max(0, call.wait_ns - wait)
        if saved:
            gaps[call.trace][call.index] = traces[call.trace].gaps[call.index] - saved
    wait_ms, service_ms = (
        statistics.fmean(values) / NS_PER_MS
        for values in ([c.wait_ns for c in queue.calls], [c.service_ns for c in queue.calls])
    )
    text = (
        f"Give {queue.stage} {wanted} workers in place of {queue.workers}: its calls wait {wait_ms:.0f} ms for "
        f"{service_ms:.0f} ms of work, at a load of {queue.offered_load:.1f} workers."
    )
    return Proposal(Change.SCALE_OUT, queue.stage, text, [Plan(gaps=gaps.get(n, {})) for n in range(len(traces))])
