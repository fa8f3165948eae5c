"""Checks of what a caller sends with ScoreAgent."""

import math
from typing import Final

from agent_tracer.server.domain.ace.scores import AgentMetrics, ScoringWeights
from agent_tracer.server.domain.checks import check_number
from agent_tracer.server.domain.errors import Violations

_PERCENT_MAX: Final = 100.0

WEIGHTS_TOLERANCE: Final = 1e-6
"""How far weights may miss 1: what sums of rounded decimals do, and nothing that changes a score's fourth digit."""


def check_weights(found: Violations, weights: ScoringWeights) -> None:
    """Each finite and 0 or more; together 1."""
    each = {
        "weights.quality_weight": weights.quality,
        "weights.efficiency_weight": weights.efficiency,
        "weights.reliability_weight": weights.reliability,
    }
    for name, weight in each.items():
        check_number(found, name, weight)
    total = math.fsum(each.values()) if all(map(math.isfinite, each.values())) else math.nan
    if abs(total - 1) > WEIGHTS_TOLERANCE:
        found.add("weights", f"must add up to 1, not {total:g}")


def check_figures(found: Violations, metrics: AgentMetrics) -> None:
    """Each finite and 0 or more."""
    check_number(found, "metrics.tasks_completed", metrics.tasks_completed)
    check_number(found, "metrics.tasks_successful", metrics.tasks_successful)
    check_number(found, "metrics.avg_duration", metrics.avg_duration)
    check_number(found, "metrics.coverage_achieved", metrics.coverage_achieved, most=_PERCENT_MAX)
    check_number(found, "metrics.tests_generated", metrics.tests_generated)


def check_metrics(found: Violations, metrics: AgentMetrics, tasks: int, successes: int) -> None:
    """The figures, and no more successes than tasks; `tasks` and `successes` are those traced."""
    check_figures(found, metrics)
    _check_counts(found, metrics, tasks, successes)


def _check_counts(found: Violations, metrics: AgentMetrics, tasks: int, successes: int) -> None:
    completed, successful = metrics.tasks_completed, metrics.tasks_successful
    if completed is not None and successful is not None:
        if successful > completed:
            found.add("metrics.tasks_successful", f"must be at most metrics.tasks_completed, {completed}")
    elif successful is not None and successful > tasks:
        found.add("metrics.tasks_successful", f"is more than the {tasks} tasks traced: give tasks_completed too")
    elif completed is not None and tasks and successes > completed:
        found.add(
            "metrics.tasks_completed", f"is less than the {successes} successes traced: give tasks_successful too"
        )
