"""How fast and cheap the agent's successful tasks are, against others' on the same task types."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from agent_tracer.server.domain.ace.effect_size import less_than_reference, mean_against_reference
from agent_tracer.server.domain.ace.scores import (
    EFFICIENCY,
    REQUEST,
    TRACES,
    UNKNOWN_CORRELATION,
    AgentMetrics,
    Component,
    Dimension,
    dimension,
)
from agent_tracer.server.domain.ace.totals import by_type
from agent_tracer.server.domain.statistics.combine import Part
from agent_tracer.server.domain.task_sums import DURATION_MS_MIN, Moments, TaskSums

PEERS: Final = "peers"
EARLIER: Final = "earlier"

WEIGHTS: Final = {"duration": 0.5, "cost": 0.5}
"""Time and money count the same: which of them matters more is not to be seen in traces."""

_MEASURES: Final[dict[str, Callable[[TaskSums], Moments]]] = {
    "duration": lambda total: total.success_log_durations,
    "cost": lambda total: total.success_log_costs,
}

_NO_PEERS: Final = (
    "no other agent has successful tasks of these types: efficiency is against the agent's earlier period"
)
_ALONE: Final = "efficiency is absent: neither peers nor an earlier period have successful tasks of the agent's types"
_NO_SUCCESS: Final = "efficiency is absent: the agent has no successful task to measure"
_TOO_FEW: Final = "efficiency is absent: there are too few successful tasks to tell how much they vary"
_UNPRICED: Final = "{} of {} successful tasks have calls without a known price: cost is over the other {}"
_FREE: Final = "no successful task has a known cost: efficiency is of durations alone"
_LEFT_OUT: Final = "efficiency leaves out task types that the {} do not have: {} of {} successful tasks"
_NO_COUNT: Final = "metrics.avg_duration came without a number of tasks: its uncertainty is not in the intervals"


@dataclass(frozen=True, slots=True)
class _Reference:
    name: str
    totals: dict[str, TaskSums]

    def moments(self, measure: str) -> dict[str, Moments]:
        return _moments(self.totals, measure)


def efficiency(
    tasks: Sequence[TaskSums], peers: Sequence[TaskSums], earlier: Sequence[TaskSums], metrics: AgentMetrics
) -> Dimension:
    """The chance that a successful task takes less (time, money) than a reference's of its type; one half is on par.

    The reference is the peers, or the agent's own earlier period where peers share none of its types; components are
    named after it ("duration_vs_peers"). The caller's mean duration takes the place of the traced ones.
    """
    own = by_type(tasks)
    reference = _reference(own, by_type(peers), by_type(earlier), metrics)
    if reference is None:
        return Dimension(caveats=_why_absent(own, metrics))
    held = [
        _component(measure, part, reference, size, source)
        for measure in WEIGHTS
        for part, size, source in [_measured(measure, own, reference, metrics)]
        if part is not None
    ]
    caveats = _caveats(own, reference, metrics) if held else (_TOO_FEW,)
    return dimension(held, lambda *_: UNKNOWN_CORRELATION, caveats)


def _moments(totals: dict[str, TaskSums], measure: str) -> dict[str, Moments]:
    held = {name: _MEASURES[measure](total) for name, total in totals.items()}
    return {name: values for name, values in held.items() if values.count}


def _reference(
    own: dict[str, TaskSums], peers: dict[str, TaskSums], earlier: dict[str, TaskSums], metrics: AgentMetrics
) -> _Reference | None:
    given = metrics.avg_duration is not None
    types = own.keys() if given else _moments(own, "duration").keys()
    for candidate in (_Reference(PEERS, peers), _Reference(EARLIER, earlier)):
        times = candidate.moments("duration")
        if types & times.keys() or (given and times and not types):
            return candidate
    return None


def _measured(
    measure: str, own: dict[str, TaskSums], reference: _Reference, metrics: AgentMetrics
) -> tuple[Part | None, int, str]:
    if measure == "duration" and metrics.avg_duration is not None:
        mix = {name: total.tasks for name, total in own.items()}
        size = sum(mix.values()) if metrics.tasks_completed is None else metrics.tasks_completed
        mean = max(DURATION_MS_MIN, metrics.avg_duration)
        return mean_against_reference(mean, size or math.inf, mix, reference.moments(measure)), size, REQUEST
    part = less_than_reference(_moments(own, measure), reference.moments(measure))
    return part, 0 if part is None else round(part.weight), TRACES


def _component(measure: str, part: Part, reference: _Reference, size: int, source: str) -> Component:
    name = f"{measure}_vs_{reference.name}"
    return Component(EFFICIENCY, name, part.value, part.interval, WEIGHTS[measure], size, source)


def _why_absent(own: dict[str, TaskSums], metrics: AgentMetrics) -> tuple[str, ...]:
    if _moments(own, "duration") or metrics.avg_duration is not None:
        return (_ALONE,)
    return (_NO_SUCCESS,) if own else ()


def _caveats(own: dict[str, TaskSums], reference: _Reference, metrics: AgentMetrics) -> list[str]:
    successes = sum(total.successes for total in own.values())
    priced = sum(total.success_log_costs.count for total in own.values())
    shared = reference.moments("duration")
    missing = sum(total.successes for name, total in own.items() if name not in shared)
    known = metrics.avg_duration is None or own or metrics.tasks_completed
    told = {
        _NO_PEERS: reference.name == EARLIER,
        _LEFT_OUT.format(reference.name, missing, successes): missing,
        _FREE if not priced else _UNPRICED.format(successes - priced, successes, priced): priced < successes,
        _NO_COUNT: not known,
    }
    return [text for text, applies in told.items() if applies]
