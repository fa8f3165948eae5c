"""Counts calls of models and tasks, each once, as the settler brings them to light."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from agent_tracer.server.limits import TRACE_QUIET_SECONDS, UNCERTAIN_TASKS_MAX
from agent_tracer.server.ports.work_counts import (
    TASK_SECONDS,
    Durations,
    SeenTask,
    SeenTrace,
    SettledWork,
    TaskGroup,
    WorkMetrics,
)


@dataclass(frozen=True, slots=True)
class _Open:
    """A trace whose tasks wait, by their spans, since it was settled last."""

    since_seconds: float
    tasks: Mapping[bytes, SeenTask]


class WorkCounts:
    """ports.work_counts.WorkCounter.

    A counter cannot take back what it counted, and a span whose parents have not come may turn out to be part of a task
    of theirs. So a task that is not certain waits: until it is, or until its trace got nothing for TRACE_QUIET_SECONDS,
    when its parents are taken to lie elsewhere. What waits at a stop is not counted.
    """

    def __init__(self, metrics: WorkMetrics, clock_seconds: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        self._clock_seconds = clock_seconds
        # The traces in the order in which they were settled last.
        self._open: dict[bytes, _Open] = {}
        self._waiting = 0
        self._turn = threading.Lock()

    @property
    def is_waiting(self) -> bool:
        """See the port."""
        return self._waiting > 0

    def settled(self, work: SettledWork) -> None:
        """See the port."""
        for calls in work.calls:
            self._metrics.called(calls)
        for tasks in work.tasks:
            self._metrics.worked(tasks)
        with self._turn:
            for trace in work.traces:
                self._look_at(trace)
        self.count_rested()

    def count_rested(self) -> None:
        """Count what has waited long enough. Cheap; a scrape does it first, since nothing else may happen for long."""
        until_seconds = self._clock_seconds() - TRACE_QUIET_SECONDS
        with self._turn:
            while self._open:
                key, oldest = next(iter(self._open.items()))
                if oldest.since_seconds > until_seconds and self._waiting <= UNCERTAIN_TASKS_MAX:
                    return
                for task in self._take(key).values():
                    self._count(task)

    def _look_at(self, trace: SeenTrace) -> None:
        waited = self._take(trace.key)
        left = {}
        for task in trace.tasks:
            if task.is_certain:
                # Others that are certain have been counted: with their group, or before.
                if task.span_id in waited:
                    self._count(task)
            elif task.span_id in waited or not task.is_known:
                left[task.span_id] = task
        if left:
            self._open[trace.key] = _Open(self._clock_seconds(), left)
            self._waiting += len(left)

    def _take(self, key: bytes) -> Mapping[bytes, SeenTask]:
        found = self._open.pop(key, None)
        if found is None:
            return {}
        self._waiting -= len(found.tasks)
        return found.tasks

    def _count(self, task: SeenTask) -> None:
        within = [int(task.seconds <= bound) for bound in TASK_SECONDS]
        self._metrics.worked(TaskGroup(task.agent_type, task.status, Durations(1, task.seconds, within)))
