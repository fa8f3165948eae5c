"""What a component adds itself to a symptom that spreads along calls: its excess less its callees'."""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Final

from agent_tracer.server.domain.rca.evidence import SCORE_MAX, Evidence, known, robust
from agent_tracer.server.domain.rca.graph import CallGraph
from agent_tracer.server.domain.rca.metric_evidence import inverted, kind_of
from agent_tracer.server.domain.rca.view import IncidentView, MetricSeries

SPREADING: Final = ("latency", "error")
"""Kinds of metrics that a caller takes over from those it calls."""

SHARE_MIN: Final = 0.05
ABNORMAL_SCORE: Final = 3.0
SYMPTOM_SCORE: Final = 2.0
"""Below it the alerting component's own metric says that there is nothing to explain."""

_MEAN: Final = re.compile(r"average|mean|avg|p50|median|rate|ratio")


def excess_evidence(view: IncidentView, graph: CallGraph) -> Iterator[Evidence]:
    """Explains away: of each component's excess of latency or errors, what its callees' excess does not account for.

    Excess = (value - median before) * traffic, summed over the buckets in which the alerting component is abnormal:
    what did not happen then did not bring the alert about. Own excess = excess less the sum of the callees', and
    strength = its share of the alerting component's excess, at most 1, by how abnormal the component is.
    """
    traffic = _traffic(view.metrics)
    for kind in SPREADING:
        series = _series(view.metrics, kind)
        when = _abnormal_buckets(view, series.get(view.incident.component))
        if not when:
            continue
        excess, scores = {}, {}
        for component, metric in series.items():
            excess[component], scores[component] = _excess(metric, traffic.get(component), when)
        own = {}
        for component, whole in excess.items():
            callees = sum(excess.get(callee, 0.0) for callee in graph.callees.get(component, ()))
            own[component] = max(whole - callees, 0.0)
        to_explain = excess.get(view.incident.component, 0.0) or max(excess.values(), default=0.0)
        for component, left in own.items():
            share = min(left / to_explain, 1.0) if to_explain > 0 else 0.0
            if share < SHARE_MIN or scores[component] < ABNORMAL_SCORE:
                continue
            strength = share * math.log1p(min(scores[component], SCORE_MAX))
            name = series[component].name
            said = f"of the alert's excess of {name}, {100 * share:.0f} % arises in {component} and in nothing it calls"
            symptom = kind == kind_of(view.incident.metric)
            for feature in ("own_excess", "own_symptom") if symptom else ("own_excess",):
                yield Evidence(component, "metric", feature, strength, name, said, _onset(view, when))


def _series(metrics: Sequence[MetricSeries], kind: str) -> dict[str, MetricSeries]:
    """One metric a component: of those of the kind a mean, which alone adds up over calls, else any."""
    chosen: dict[str, MetricSeries] = {}
    for metric in metrics:
        if kind_of(metric.name) == kind and known(metric.values.during):
            present = chosen.get(metric.component)
            if present is None or (_MEAN.search(metric.name) and not _MEAN.search(present.name)):
                chosen[metric.component] = metric
    return chosen


def _traffic(metrics: Sequence[MetricSeries]) -> dict[str, Sequence[float]]:
    """Calls per bucket of the incident, of components that have a metric of it."""
    return {metric.component: metric.values.during for metric in metrics if kind_of(metric.name) == "traffic"}


def _abnormal_buckets(view: IncidentView, alerting: MetricSeries | None) -> list[int]:
    every = list(range(len(view.during.starts_ns)))
    if alerting is None:
        return every
    scores = _scores(alerting)
    peak = max((score for score in scores if score == score), default=0.0)  # noqa: PLR0124 - only NaN differs
    return [at for at in every if scores[at] >= peak / 2] if peak >= SYMPTOM_SCORE else []


def _scores(metric: MetricSeries) -> list[float]:
    shown = inverted(metric)
    middle, scale = robust(known(shown.before) or [0.0], 0.0)
    return [(value - middle) / (scale or max(abs(value), 1e-9) / SCORE_MAX) for value in shown.during]


def _excess(metric: MetricSeries, calls: Sequence[float] | None, when: Sequence[int]) -> tuple[float, float]:
    """Excess over the buckets, and the largest robust score in them."""
    shown = inverted(metric)
    middle, _ = robust(known(shown.before) or [0.0], 0.0)
    scores = _scores(metric)
    whole, score = 0.0, 0.0
    for at in when:
        value, weight = shown.during[at], 1.0 if calls is None else calls[at]
        if value == value and weight == weight:  # noqa: PLR0124 - only NaN differs from itself
            whole += max(value - middle, 0.0) * weight
            score = max(score, scores[at])
    return whole, score


def _onset(view: IncidentView, when: Sequence[int]) -> int | None:
    return view.during.starts_ns[min(when)] if when else None
