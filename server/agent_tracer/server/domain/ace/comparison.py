"""CompareVersions: is the candidate better than the base, beyond what chance does and by enough to matter?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agent_tracer.server.domain.ace.effect_size import LOG_VARIANCE_MIN
from agent_tracer.server.domain.ace.estimates import (
    TASKS_MIN,
    Estimate,
    judged_difference,
    log_ratio,
    success_difference,
)
from agent_tracer.server.domain.ace.totals import by_type, judgements_by_name
from agent_tracer.server.domain.statistics.multiple import holm
from agent_tracer.server.domain.task_sums import QualitySums, TaskSums

SUCCESS_RATE: Final = "success_rate"
DURATION: Final = "duration"
COST: Final = "cost"
QUALITY: Final = "quality"

BETTER: Final = "better"
WORSE: Final = "worse"
MIXED: Final = "mixed"
NO_DIFFERENCE: Final = "no_difference"
INSUFFICIENT_DATA: Final = "insufficient_data"

FLOORS: Final = {SUCCESS_RATE: 0.02, DURATION: math.log(1.05), COST: math.log(1.05), QUALITY: 0.02}
"""Effects that matter: two tasks or judgement points in a hundred; five percent of time or money. What millions of
tasks prove beyond doubt may still be too little to act on."""

SUCCESS_ALPHA_SHARE: Final = 0.97
"""Of the error allowed; the other measures share the rest. Success yields one bit a task and needs it all: a drop from
.7 to .6 is then found in 400 tasks a side four times in five. Durations, costs and judgements tell more a task: in as
many, a quarter more time is found as often (where logarithms deviate by .6). What success
does not use is not passed on, for then one overall verdict in fifty would be "mixed" by chance."""

FIRST_LOOK_ALPHA: Final = 0.04
LATER_LOOKS_ALPHA: Final = 0.01
"""The first look is the one most often taken; all later ones together add this, half as much at each."""

_DIRECTIONS: Final = {SUCCESS_RATE: 1, DURATION: -1, COST: -1, QUALITY: 1}
_NAMES_SHOWN: Final = 5

_ONE_SIDED: Final = "task types that only the {} version has are left out: {}"
_NOTHING_SHARED: Final = "the versions have no task type in common"
_FEW: Final = "{}: {} of the base and {} of the candidate are too few for a verdict (at least {} each, over few types)"
_OPEN: Final = "{}: a difference from {:+.3g} to {:+.3g}{} cannot be ruled out"
_NOT_PROVEN: Final = (
    "{}: the interval from {:+.3g} to {:+.3g}{} excludes 0, but p = {:.2g} does not meet the level that this measure "
    "is held to beside success"
)
_UNITS: Final = {DURATION: " ms", COST: " US dollars"}
_TYPICAL: Final = "durations and costs are geometric means of successful tasks"
_UNPRICED: Final = "{} of {} successful tasks have calls without a known price, and cost leaves them out"
_LOOK: Final = "look {} at these data: verdicts take a p under {:.2g}, so that all looks together err in at most 5 %"


@dataclass(frozen=True, slots=True)
class MeasureComparison:
    """`estimate` in shares (success_rate, quality: 0 to 1), milliseconds (duration) or US dollars (cost)."""

    measure: str
    estimate: Estimate
    verdict: str


@dataclass(frozen=True, slots=True)
class VersionComparison:
    """`verdict`: better or worse (no measure says the opposite), mixed, no_difference or insufficient_data."""

    verdict: str
    measures: tuple[MeasureComparison, ...] = ()
    caveats: tuple[str, ...] = ()


def look_alpha(look: int) -> float:
    """The error allowed at the look-th look at growing data, 1 the first; all looks together stay under .05.

    Alpha spending (Lan and DeMets 1983, Biometrika 70:659) with a fixed share for each look, so that neither the
    number of looks nor the data at each need be known beforehand (Bonferroni: it holds however looks hang together).
    """
    if look < 1:
        message = f"looks are counted from 1, not {look}"
        raise ValueError(message)
    return FIRST_LOOK_ALPHA if look == 1 else LATER_LOOKS_ALPHA * 2.0 ** (1 - look)


def compare_versions(
    base: Sequence[TaskSums],
    candidate: Sequence[TaskSums],
    *,
    base_judged: Sequence[QualitySums] = (),
    candidate_judged: Sequence[QualitySums] = (),
    look: int = 1,
) -> VersionComparison:
    """Differences within task types, weighted by the candidate's mix, and what they prove.

    Success by stratified Newcombe intervals, duration and cost of successful tasks by the ratio of geometric means,
    quality by judgements. A measure is better or worse where its p passes (success SUCCESS_ALPHA_SHARE of
    `look_alpha(look)`, the others Holm's procedure over the rest; the 95 % interval then leaves 0 out) and its effect
    is above the practical floor (FLOORS).
    """
    before, after = by_type(base), by_type(candidate)
    estimates = _estimates(before, after, base_judged, candidate_judged)
    tested = {name: found.p_value for name, found in estimates.items() if found.sufficient}
    proven = _proven(tested, look_alpha(look))
    measures = [MeasureComparison(name, found, _verdict(name, found, proven)) for name, found in estimates.items()]
    caveats = [*_left_out(before, after), *_told(measures), *_unpriced(before, after)]
    if look > 1:
        caveats.append(_LOOK.format(look, look_alpha(look)))
    return VersionComparison(_overall([item.verdict for item in measures]), tuple(measures), tuple(caveats))


def _estimates(
    before: Mapping[str, TaskSums],
    after: Mapping[str, TaskSums],
    base_judged: Sequence[QualitySums],
    candidate_judged: Sequence[QualitySums],
) -> dict[str, Estimate]:
    times, costs = (
        [{name: getattr(total, field) for name, total in side.items()} for side in (before, after)]
        for field in ("success_log_durations", "success_log_costs")
    )
    found = {
        SUCCESS_RATE: success_difference(before, after),
        DURATION: log_ratio(times[0], times[1], LOG_VARIANCE_MIN),
        COST: log_ratio(costs[0], costs[1], LOG_VARIANCE_MIN),
        QUALITY: judged_difference(judgements_by_name(base_judged), judgements_by_name(candidate_judged)),
    }
    return {name: estimate for name, estimate in found.items() if estimate is not None}


def _proven(tested: Mapping[str, float], alpha: float) -> frozenset[str]:
    """Without the other measures, success gets all of alpha; without success, they do."""
    success = {name: p for name, p in tested.items() if name == SUCCESS_RATE}
    others = {name: p for name, p in tested.items() if name != SUCCESS_RATE}
    share = SUCCESS_ALPHA_SHARE if success and others else float(bool(success))
    return holm(success, share * alpha) | holm(others, (1 - share) * alpha)


def _verdict(name: str, found: Estimate, proven: frozenset[str]) -> str:
    if not found.sufficient:
        return INSUFFICIENT_DATA
    if name not in proven or abs(found.effect) < FLOORS[name]:
        return NO_DIFFERENCE
    return BETTER if found.effect * _DIRECTIONS[name] > 0 else WORSE


def _overall(verdicts: Sequence[str]) -> str:
    told = set(verdicts) - {INSUFFICIENT_DATA}
    if not told:
        return INSUFFICIENT_DATA
    if {BETTER, WORSE} <= told:
        return MIXED
    return next((verdict for verdict in (BETTER, WORSE) if verdict in told), NO_DIFFERENCE)


def _left_out(before: Mapping[str, TaskSums], after: Mapping[str, TaskSums]) -> list[str]:
    if not before.keys() & after.keys():
        return [_NOTHING_SHARED]
    only = {"base": before.keys() - after.keys(), "candidate": after.keys() - before.keys()}
    return [_ONE_SIDED.format(side, _names(names)) for side, names in only.items() if names]


def _names(names: set[str]) -> str:
    listed = ", ".join(repr(name) for name in sorted(names)[:_NAMES_SHOWN])
    return listed if len(names) <= _NAMES_SHOWN else f"{listed} and {len(names) - _NAMES_SHOWN} more"


def _told(measures: Sequence[MeasureComparison]) -> list[str]:
    told = [_TYPICAL] if any(item.measure in (DURATION, COST) for item in measures) else []
    for item in measures:
        found = item.estimate
        if item.verdict == INSUFFICIENT_DATA:
            told.append(_FEW.format(item.measure, found.base_count, found.candidate_count, TASKS_MIN))
        elif item.verdict == NO_DIFFERENCE and _open(item):
            figures = (item.measure, found.interval.lower, found.interval.upper, _UNITS.get(item.measure, ""))
            told.append(_OPEN.format(*figures) if 0 in found.interval else _NOT_PROVEN.format(*figures, found.p_value))
    return told


def _open(item: MeasureComparison) -> bool:
    """Whether the interval reaches beyond the practical floor, in the measure's unit."""
    relative = item.measure in (DURATION, COST)
    floor = item.estimate.base * math.expm1(FLOORS[item.measure]) if relative else FLOORS[item.measure]
    return max(-item.estimate.interval.lower, item.estimate.interval.upper) > floor


def _unpriced(before: Mapping[str, TaskSums], after: Mapping[str, TaskSums]) -> list[str]:
    totals = [*before.values(), *after.values()]
    successes = sum(total.successes for total in totals)
    priced = sum(total.success_log_costs.count for total in totals)
    return [_UNPRICED.format(successes - priced, successes)] if 0 < priced < successes else []
