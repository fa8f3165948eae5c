"""Tasks over time: sums of buckets put together into points, per task type, and the measures read from them."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import Final, Self

from agent_tracer.server.domain.task_sums import Moments, TaskSums


class Measure(StrEnum):
    """What is followed over time; as in ChangePoint.measure of the API."""

    DURATION = "duration"
    SUCCESS = "success"
    COST = "cost"


@dataclass(frozen=True, slots=True)
class Tally:
    """Tasks of one type: durations in milliseconds, costs in US dollars, logarithms natural (task_sums.TaskSums)."""

    tasks: int = 0
    successes: int = 0
    durations: Moments = Moments()  # noqa: RUF009 - frozen
    log_durations: Moments = Moments()  # noqa: RUF009 - frozen
    costs: Moments = Moments()  # noqa: RUF009 - frozen

    @classmethod
    def of(cls, sums: TaskSums) -> Self:
        """What of a bucket is followed over time."""
        return cls(sums.tasks, sums.successes, sums.durations_ms, sums.log_durations, sums.costs)

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.tasks + other.tasks,
            self.successes + other.successes,
            self.durations + other.durations,
            self.log_durations + other.log_durations,
            self.costs + other.costs,
        )

    @property
    def outcomes(self) -> Moments:
        """1 for each success, 0 for each other task."""
        return Moments(self.tasks, self.successes, self.successes)


MOMENTS: Final[Mapping[Measure, Callable[[Tally], Moments]]] = {
    Measure.DURATION: lambda tally: tally.durations,
    Measure.SUCCESS: lambda tally: tally.outcomes,
    Measure.COST: lambda tally: tally.costs,
}
"""A measure in its own unit: milliseconds, a share of 1, US dollars."""

COMPARED: Final[Mapping[Measure, Callable[[Tally], Moments]]] = {
    **MOMENTS,
    Measure.DURATION: lambda tally: tally.log_durations,
}
"""On the scale on which it is tested: a few very long tasks must not decide alone."""


@dataclass(frozen=True, slots=True)
class Point:
    """Tasks of a stretch of time by type. From the first bucket's start to the last one's, both Unix time in ns."""

    start_ns: int
    last_ns: int
    types: Mapping[str, Tally]

    @property
    def all(self) -> Tally:
        """Of every type."""
        return sum(self.types.values(), Tally())

    @property
    def tasks(self) -> int:
        """Of every type."""
        return sum(tally.tasks for tally in self.types.values())

    @property
    def time_ns(self) -> int:
        """The middle."""
        return (self.start_ns + self.last_ns) // 2


def slots(buckets: Iterable[TaskSums]) -> list[Point]:
    """One point a start time, in time order. Buckets without tasks are left out."""
    held = sorted((bucket for bucket in buckets if bucket.tasks > 0), key=lambda bucket: bucket.start_ns)
    points = []
    for start_ns, group in groupby(held, key=lambda bucket: bucket.start_ns):
        types: dict[str, Tally] = defaultdict(Tally)
        for bucket in group:
            types[bucket.task_type] += Tally.of(bucket)
        points.append(Point(start_ns, start_ns, types))
    return points


def positions(points: Sequence[Point]) -> list[float]:
    """Where the middle of each point lies in the order of all tasks, 0 to 1."""
    total = sum(point.tasks for point in points)
    middles, before = [], 0
    for point in points:
        middles.append((before + point.tasks / 2) / total)
        before += point.tasks
    return middles


def merged(points: Sequence[Point], most: int) -> list[Point]:
    """At most so many points, next to each other, of about equally many tasks."""
    if len(points) <= most:
        return list(points)
    bins = zip((int(most * position) for position in positions(points)), points, strict=True)
    return [union([point for _, point in group]) for _, group in groupby(bins, key=lambda pair: pair[0])]


def union(points: Sequence[Point]) -> Point:
    """All of the points as one. There must be one at least."""
    types: dict[str, Tally] = defaultdict(Tally)
    for point in points:
        for task_type, tally in point.types.items():
            types[task_type] += tally
    return Point(points[0].start_ns, points[-1].last_ns, types)


@dataclass(frozen=True, slots=True)
class Series:
    """A measure over time with the mix of task types held constant: times in ns, means, and how many tasks each has."""

    times_ns: Sequence[int]
    starts_ns: Sequence[int]
    values: Sequence[float]
    counts: Sequence[int]
    spread: float
    """The variance of single tasks around the mean of their type."""


def series(points: Sequence[Point], moments: Callable[[Tally], Moments]) -> Series:
    """Each point's mean, less how far the mean of its mix of types lies from that of all tasks.

    Points without a value are left out.
    """
    whole = {task_type: moments(tally) for task_type, tally in (union(points).types.items() if points else ())}
    means = {task_type: found.mean for task_type, found in whole.items() if found.count}
    count = sum(found.count for found in whole.values())
    overall = sum(found.total for found in whole.values()) / count if count else 0.0
    within = sum(found.variance * (found.count - 1) for found in whole.values() if found.count)
    held, values, counts = [], [], []
    for point in points:
        parts = [(means.get(task_type, 0.0), moments(tally)) for task_type, tally in point.types.items()]
        tasks = sum(part.count for _, part in parts)
        if tasks:
            held.append(point)
            values.append(overall + sum(part.total - part.count * mean for mean, part in parts) / tasks)
            counts.append(tasks)
    spread = within / max(1, count - len(means))
    return Series([point.time_ns for point in held], [point.start_ns for point in held], values, counts, spread)
