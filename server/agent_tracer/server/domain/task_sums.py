"""What analyses know of tasks: sums over buckets of them, so that ten million tasks are a few thousand numbers.

A bucket is a stretch of time and a task type (and, where versions are compared, one of their values). Where tasks are
few the store makes every task its own bucket, so that one method serves both and loses nothing on small data.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

DURATION_MS_MIN = 1e-3
"""Durations below a microsecond count as one in logarithms: clocks do not tell them apart, and log 0 has no value."""

COST_MIN = 1e-9
"""US dollars; a billionth stands for free calls in logarithms."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, sum and sum of squares of a measure; what means and variances need."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """The moments of single values."""
        held = list(values)
        return cls(len(held), math.fsum(held), math.fsum(value * value for value in held))

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(self.count + other.count, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> float:
        """Raises ZeroDivisionError where nothing was counted."""
        return self.total / self.count

    @property
    def variance(self) -> float:
        """Unbiased; 0 for fewer than two values, and never below 0 for all that rounding does."""
        if self.count < 2:  # noqa: PLR2004 - one value does not vary
            return 0.0
        return max(0.0, (self.squares - self.total * self.total / self.count) / (self.count - 1))


@dataclass(frozen=True, slots=True)
class TaskSums:
    """Tasks of one agent, one task type and one bucket.

    A task succeeded where its status is "success". `timeouts` are tasks of status "timeout", `retried` those in which
    at least one call was tried again. Logarithms are natural, of milliseconds and US dollars, floored at
    DURATION_MS_MIN and COST_MIN. `costs` are those of tasks all of whose calls have a price. `coverage` (metadata
    `coverage`, percent) and `tests` (`tests_passed` of `tests_run`) are 0 to 1, of the tasks that say so.
    """

    task_type: str
    start_ns: int
    tasks: int
    successes: int
    timeouts: int = 0
    retried: int = 0
    durations_ms: Moments = field(default_factory=Moments)
    log_durations: Moments = field(default_factory=Moments)
    success_log_durations: Moments = field(default_factory=Moments)
    costs: Moments = field(default_factory=Moments)
    success_log_costs: Moments = field(default_factory=Moments)
    coverage: Moments = field(default_factory=Moments)
    tests: Moments = field(default_factory=Moments)
    variant: str = ""


@dataclass(frozen=True, slots=True)
class QualitySums:
    """Judgements of one name on tasks of one type in one bucket, each 0 to 1.

    `source`: "evaluations" (CreateEvaluation, `gen_ai.evaluation.result`), or "traces" (attributes of the task, such as
    coverage).
    """

    name: str
    task_type: str
    start_ns: int
    scores: Moments
    source: str = "evaluations"
    variant: str = ""


def described_quality(sums: Iterable[TaskSums]) -> list[QualitySums]:
    """What the tasks' own metadata says of their quality."""
    return [
        QualitySums(name, of.task_type, of.start_ns, scores, source="traces", variant=of.variant)
        for of in sums
        for name, scores in (("coverage", of.coverage), ("tests", of.tests))
        if scores.count
    ]
