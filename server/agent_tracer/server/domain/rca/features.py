"""Evidence as numbers that mean the same in every system: size in log units, share and rank within the incident."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agent_tracer.server.domain.rca.alarm_evidence import alarm_evidence
from agent_tracer.server.domain.rca.alarm_standing import places, standing
from agent_tracer.server.domain.rca.alarm_words import word_features
from agent_tracer.server.domain.rca.evidence import Evidence
from agent_tracer.server.domain.rca.excess_evidence import excess_evidence
from agent_tracer.server.domain.rca.graph import CallGraph, call_graph
from agent_tracer.server.domain.rca.metric_evidence import OTHER, family, kind_of, metric_evidence
from agent_tracer.server.domain.rca.span_evidence import (
    edge_evidence,
    error_evidence,
    latency_evidence,
    log_evidence,
)
from agent_tracer.server.domain.rca.view import IncidentView

CHANNELS: Final = (metric_evidence, log_evidence, latency_evidence, error_evidence, edge_evidence, alarm_evidence)

STRENGTH_UNIT: Final = 4.0
"""Strengths are divided by it: the largest of them are then about 1, as shares and ranks are."""

STRENGTH_TELLING: Final = 2.0
"""Where the largest strength of a kind is below it, being first says little: somebody always is."""

SHARE: Final = ".share"
RANK: Final = ".rank"
"""Endings of the names of features beside the strength itself."""

UNREACHED: Final = "unreached"
SYMPTOM: Final = "symptom"
OBSERVED: Final = "observed"

Features = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Findings:
    """Evidence of an incident, the features of each component, and those of the incident being none at all."""

    evidence: Sequence[Evidence]
    graph: CallGraph
    features: Mapping[str, Features]
    nothing: Features


def gather(view: IncidentView, depth: int) -> Findings:
    """All channels over the view; a component without evidence has no feature but perhaps `UNREACHED`."""
    graph = call_graph(view.edges)
    found = [evidence for channel in CHANNELS for evidence in channel(view)]
    found += excess_evidence(view, graph)
    features: dict[str, dict[str, float]] = {component: {} for component in view.components()}
    for name, strengths in (_strongest(found) | standing(view)).items():
        first = max(strengths.values())
        told = 1.0 if name.startswith("alarm") else -math.expm1(-((first / STRENGTH_TELLING) ** 2))
        for component, rank in _ranks(strengths).items():
            features[component][name] = strengths[component] / STRENGTH_UNIT
            features[component][f"{name}{SHARE}"] = told * strengths[component] / first
            features[component][f"{name}{RANK}"] = told / rank
    for component, place in places(view).items():
        features[component][place] = 1.0
    for component, own in word_features(view).items():
        features[component].update(own)
    if graph.callees.get(view.incident.component):
        reached = graph.reached(view.incident.component, depth)
        for component in features.keys() - reached.keys():
            features[component][UNREACHED] = 1.0
    return Findings(found, graph, features, _nothing(view, found))


def _strongest(found: Sequence[Evidence]) -> dict[str, dict[str, float]]:
    strongest: dict[str, dict[str, float]] = defaultdict(dict)
    for evidence in found:
        at_component = strongest[evidence.feature]
        at_component[evidence.component] = max(at_component.get(evidence.component, 0.0), evidence.strength)
    return {name: strengths for name, strengths in strongest.items() if max(strengths.values()) > 0}


def _ranks(strengths: Mapping[str, float]) -> dict[str, float]:
    """The strongest has 1; those that are as strong as each other share their mean, whatever they are called."""
    order = sorted(strengths.values(), reverse=True)
    firsts = {strength: at for at, strength in reversed(list(enumerate(order)))}
    counts = Counter(order)
    return {name: firsts[strength] + (1 + counts[strength]) / 2 for name, strength in strengths.items()}


def _nothing(view: IncidentView, found: Sequence[Evidence]) -> dict[str, float]:
    """That the alert's own metric moved, where there is one: an incident without its symptom is none.

    Its own is the one that it names, and without such a name those that measure the same kind of thing; of no kind are
    the words of a title, and whatever else moves or does not. Where there is no such metric nothing can be told by it,
    so that the one says nothing of the other.
    """
    own = {metric.name for metric in view.metrics if metric.component == view.incident.component}
    alert, kind = family(view.incident.metric), kind_of(view.incident.metric)
    named = {name for name in own if family(name) == alert}
    observed = named if kind == OTHER else {name for name in own if kind_of(name) == kind}
    if not observed:
        return {"none": 1.0}
    feature, alerting = f"metric_{kind}", view.incident.component
    seen = [e.strength for e in found if (e.component, e.feature) == (alerting, feature) and e.subject in observed]
    return {OBSERVED: 1.0, SYMPTOM: max(seen, default=0.0) / STRENGTH_UNIT}
