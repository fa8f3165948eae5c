"""How good the results of tasks are: what evaluators, task attributes and the caller say."""

from collections.abc import Mapping, Sequence
from typing import Final

from agent_tracer.server.domain.ace.scores import (
    QUALITY,
    REQUEST,
    UNKNOWN_CORRELATION,
    AgentMetrics,
    Component,
    Dimension,
    dimension,
)
from agent_tracer.server.domain.ace.totals import judgements_by_name, pooled
from agent_tracer.server.domain.statistics.intervals import Interval, bounded_mean_interval
from agent_tracer.server.domain.task_sums import Moments, QualitySums

COVERAGE: Final = "coverage"
TESTS: Final = "tests"

_PERCENT: Final = 100.0
_EXACT: Final = "{} is taken from the request as it stands: its uncertainty is not in the intervals"
_NO_TASKS: Final = "metrics.tests_generated is left out: without tasks there is no number of tests a task"


def quality(
    judged: Sequence[QualitySums], metrics: AgentMetrics, weights: Mapping[str, float], tasks: int
) -> Dimension:
    """The mean of all judgements of each name, weighted by name (1 where `weights` has none); absent without any.

    The caller's coverage, and tests (one a task or more count as 1), take the place of judgements named "coverage" and
    "tests". `tasks`: how many the tests were generated in.
    """
    given, caveats = _given(metrics, weights, tasks)
    sources = {item.name: item.source for item in sorted(judged, key=lambda item: item.source, reverse=True)}
    held = [
        _judged(name, pooled(types.values()), weights, sources[name])
        for name, types in judgements_by_name(judged).items()
        if name not in given
    ]
    return dimension([*held, *given.values()], lambda *_: UNKNOWN_CORRELATION, caveats)


def _judged(name: str, scores: Moments, weights: Mapping[str, float], source: str) -> Component:
    value = min(max(scores.mean, 0.0), 1.0)
    return Component(QUALITY, name, value, bounded_mean_interval(scores), weights.get(name, 1.0), scores.count, source)


def _given(metrics: AgentMetrics, weights: Mapping[str, float], tasks: int) -> tuple[dict[str, Component], list[str]]:
    values: dict[str, float] = {}
    caveats = []
    if metrics.coverage_achieved is not None:
        values[COVERAGE] = metrics.coverage_achieved / _PERCENT
    if metrics.tests_generated is not None and tasks:
        values[TESTS] = min(1.0, metrics.tests_generated / tasks)
    elif metrics.tests_generated is not None:
        caveats.append(_NO_TASKS)
    given = {
        name: Component(QUALITY, name, value, Interval(value, value), weights.get(name, 1.0), tasks, REQUEST)
        for name, value in values.items()
    }
    return given, caveats + [_EXACT.format(name) for name in given]
