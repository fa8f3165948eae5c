"""ScoreAgent: one agent's figures over a period."""

from collections.abc import Mapping, Sequence
from typing import Final

from agent_tracer.server.domain.ace.efficiency import efficiency
from agent_tracer.server.domain.ace.quality import quality
from agent_tracer.server.domain.ace.reliability import reliability
from agent_tracer.server.domain.ace.score_checks import check_metrics, check_weights
from agent_tracer.server.domain.ace.scores import (
    EFFICIENCY,
    OVERALL,
    QUALITY,
    RELIABILITY,
    SUCCESS_RATE,
    AgentMetrics,
    AgentScore,
    Component,
    Dimension,
    ScoringWeights,
)
from agent_tracer.server.domain.ace.totals import count
from agent_tracer.server.domain.errors import NothingToScoreError, Violations
from agent_tracer.server.domain.statistics.combine import Part, weighted_mean
from agent_tracer.server.domain.statistics.intervals import Interval
from agent_tracer.server.domain.task_sums import QualitySums, TaskSums

SMALL_SAMPLE: Final = 30
"""Tasks under which a success rate is known to no better than 18 points either way, and scores should be read so."""

_NOTHING: Final = (
    "no task or evaluation of the agent lies in the period: trace tasks, ask for a longer period, or give metrics"
)
_SMALL: Final = "the score stands on {} tasks: under {} of them the intervals are wide"
_ABSENT: Final = "{} is absent, and overall is over the other dimensions"
_NO_QUALITY: Final = "no evaluation, coverage or tests: quality is absent, and overall is over the other dimensions"
_NO_OVERALL: Final = "overall is absent: the dimensions with evidence weigh 0"


def score_agent(  # noqa: PLR0913 - one argument a source of evidence
    tasks: Sequence[TaskSums],
    *,
    peers: Sequence[TaskSums] = (),
    earlier: Sequence[TaskSums] = (),
    judged: Sequence[QualitySums] = (),
    metrics: AgentMetrics | None = None,
    weights: ScoringWeights | None = None,
    evaluation_weights: Mapping[str, float] | None = None,
) -> AgentScore:
    """The agent's scores with 95 % intervals; its peers' tasks, and its own of an earlier period, are the yardstick.

    Intervals of dimensions and overall are put together from those of the components (statistics.combine), taking
    dimensions for independent. `metrics` take the place of traced figures. Raises InvalidFieldsError for metrics or
    weights out of range, NothingToScoreError where no dimension has evidence.
    """
    metrics = metrics or AgentMetrics()
    weights = weights or ScoringWeights()
    _check(tasks, metrics, weights)
    size = count(tasks) if metrics.tasks_completed is None else metrics.tasks_completed
    dimensions = {
        QUALITY: quality(judged, metrics, evaluation_weights or {}, size),
        EFFICIENCY: efficiency(tasks, peers, earlier, metrics),
        RELIABILITY: reliability(tasks, metrics),
    }
    parts = {name: found.part for name, found in dimensions.items() if found.part is not None}
    if not parts:
        raise NothingToScoreError(_NOTHING)
    return _score(dimensions, parts, weights, size)


def _check(tasks: Sequence[TaskSums], metrics: AgentMetrics, weights: ScoringWeights) -> None:
    found = Violations()
    check_weights(found, weights)
    check_metrics(found, metrics, count(tasks), sum(bucket.successes for bucket in tasks))
    found.raise_any()


def _score(
    dimensions: Mapping[str, Dimension], parts: Mapping[str, Part], weights: ScoringWeights, size: int
) -> AgentScore:
    components = tuple(item for found in dimensions.values() for item in found.components)
    overall = _overall(parts, weights)
    shown = parts if overall is None else {**parts, OVERALL: overall}
    values = {name: part.value for name, part in shown.items()}
    return AgentScore(
        overall=values.get(OVERALL),
        quality=values.get(QUALITY),
        efficiency=values.get(EFFICIENCY),
        reliability=values.get(RELIABILITY),
        sample_size=size,
        weights=weights,
        intervals={name: part.interval for name, part in shown.items()} | _success_interval(components),
        components=components,
        caveats=tuple(_caveats(dimensions, overall, size)),
    )


def _overall(parts: Mapping[str, Part], weights: ScoringWeights) -> Part | None:
    weighed = {QUALITY: weights.quality, EFFICIENCY: weights.efficiency, RELIABILITY: weights.reliability}
    held = [Part(part.value, part.interval, weighed[name]) for name, part in parts.items() if weighed[name] > 0]
    if not held:
        return None
    mean = weighted_mean(held)
    return Part(min(1.0, mean.value), mean.interval.clipped(), mean.weight)


def _success_interval(components: Sequence[Component]) -> dict[str, Interval]:
    return {item.name: item.interval for item in components if item.name == SUCCESS_RATE}


def _caveats(dimensions: Mapping[str, Dimension], overall: Part | None, size: int) -> list[str]:
    told = [_SMALL.format(size, SMALL_SAMPLE)] if size < SMALL_SAMPLE else []
    for name, found in dimensions.items():
        told += found.caveats
        if found.part is None and not found.caveats:
            told.append(_NO_QUALITY if name == QUALITY else _ABSENT.format(name))
    return told if overall is not None else [*told, _NO_OVERALL]
