"""What a score is made of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from agent_tracer.server.domain.statistics.combine import Part, independent, weighted_mean
from agent_tracer.server.domain.statistics.intervals import Interval

QUALITY: Final = "quality"
EFFICIENCY: Final = "efficiency"
RELIABILITY: Final = "reliability"
OVERALL: Final = "overall"
SUCCESS_RATE: Final = "success_rate"

TRACES: Final = "traces"
EVALUATIONS: Final = "evaluations"
REQUEST: Final = "request"

UNKNOWN_CORRELATION: Final = 0.5
"""Taken between figures of the same tasks whose cross products the sums do not hold: duration and cost both grow with
the calls of a task, several judgements of a task see the same answer. Half is midway between the two ways to be wrong.
"""


@dataclass(frozen=True, slots=True)
class Component:
    """A figure within a dimension, 0 to 1; `weight` is its share of the dimension."""

    dimension: str
    name: str
    value: float
    interval: Interval
    weight: float
    sample_size: int
    source: str


@dataclass(frozen=True, slots=True)
class Dimension:
    """A dimension's value (absent without evidence), its components and what to know of it."""

    part: Part | None = None
    components: tuple[Component, ...] = ()
    caveats: tuple[str, ...] = ()


def dimension(
    components: Sequence[Component],
    correlation: Callable[[int, int], float] = independent,
    caveats: Sequence[str] = (),
) -> Dimension:
    """The weighted mean of components, whose weights are made to add up to 1; absent where none weighs anything."""
    held = [item for item in components if item.weight > 0]
    if not held:
        return Dimension(caveats=tuple(caveats))
    mean = weighted_mean([Part(item.value, item.interval, item.weight) for item in held], correlation)
    shares = tuple(replace(item, weight=item.weight / mean.weight) for item in held)
    return Dimension(Part(min(1.0, mean.value), mean.interval.clipped()), shares, tuple(caveats))


@dataclass(frozen=True, slots=True)
class ScoringWeights:
    """How much each dimension counts in the overall score; 0 or more, adding up to 1."""

    quality: float = 0.4
    efficiency: float = 0.3
    reliability: float = 0.3


@dataclass(frozen=True, slots=True)
class AgentMetrics:
    """What the caller holds and the traces do not; `avg_duration` in milliseconds, `coverage_achieved` in percent."""

    tasks_completed: int | None = None
    tasks_successful: int | None = None
    avg_duration: float | None = None
    coverage_achieved: float | None = None
    tests_generated: int | None = None


@dataclass(frozen=True, slots=True)
class AgentScore:
    """Scores 0 to 1; a dimension without evidence is None, and overall is over the others, re-weighted.

    `intervals`: 95 %, by the name of each present score, and "success_rate". `sample_size`: tasks.
    """

    overall: float | None
    quality: float | None
    efficiency: float | None
    reliability: float | None
    sample_size: int
    weights: ScoringWeights
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    components: tuple[Component, ...] = ()
    caveats: tuple[str, ...] = ()

    @property
    def present(self) -> dict[str, float]:
        """Overall and the dimensions that have evidence, by name."""
        values = {
            OVERALL: self.overall,
            QUALITY: self.quality,
            EFFICIENCY: self.efficiency,
            RELIABILITY: self.reliability,
        }
        return {name: value for name, value in values.items() if value is not None}
