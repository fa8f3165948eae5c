"""The TVDiag cases as incident views of alarms: what was extracted from the telemetry, not the telemetry itself."""

import csv
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from agent_tracer.server.domain.rca.alarm_standing import levels
from agent_tracer.server.domain.rca.analysis import analyze
from agent_tracer.server.domain.rca.fault_types import fault_type
from agent_tracer.server.domain.rca.features import gather
from agent_tracer.server.domain.rca.view import Alarm, EdgeSeries, Incident, IncidentView, Series, Window
from tests.evaluation.rca_nezha import Case

SYSTEMS: Final = ("gaia", "sockshop", "hotel")
SLOW: Final = "PD"
_FOLDS: Final = 5
_BUCKET: Final = Window([0], 60 * 10**9)
_UNKNOWN: Final = Series([math.nan], [math.nan])


def cases(root: Path) -> Iterator[Case]:
    """Every labelled case. `group`: one of five folds, cases taken in turns."""
    for system in SYSTEMS:
        folder = root / "dev" / system
        with (folder / "label.csv").open(encoding="utf-8", newline="") as lines:
            labels = list(csv.DictReader(lines))
        parts = {
            part: json.loads((folder / f"{part}.json").read_text())
            for part in ("nodes", "edges", "metrics", "traces", "logs")
        }
        views = {key: _view({part: values.get(key, []) for part, values in parts.items()}) for key in parts["nodes"]}
        said = Counter(
            _subject(alarm) for view in views.values() for alarm in {_subject(a): a for a in view.alarms}.values()
        )
        views = {
            key: replace(view, alarms=[_with_usual(alarm, said, len(views)) for alarm in view.alarms])
            for key, view in views.items()
        }
        usual = _usual_levels(views)
        for at, label in enumerate(labels):
            key = label["index"]
            view = replace(views[key], usual_levels=usual[key])
            yield Case(f"{system}/{key}", system, str(at % _FOLDS), view, label["instance"], label["anomaly_type"])


@dataclass(frozen=True, slots=True)
class Answer:
    """The first candidate with its confidence and its kind of fault: what is held against `truth` and `kind`."""

    component: str
    kind: str
    confidence: float
    abstained: bool


def answer(case: Case, depth: int = 3) -> Answer:
    """By the fusion that the server runs, within this process."""
    found = analyze(case.view, depth)
    if not found.candidates:
        return Answer("", "", 0.0, abstained=True)
    first = found.candidates[0]
    kind, _ = fault_type(case.view, first.component, gather(case.view, depth).features[first.component])
    return Answer(first.component, kind, first.confidence, abstained=found.root_cause is None)


def _subject(alarm: Alarm) -> tuple[str, ...]:
    return alarm.component, alarm.channel, alarm.name, alarm.direction, alarm.peer


def _with_usual(alarm: Alarm, said: Mapping[tuple[str, ...], int], cases_count: int) -> Alarm:
    """Among the other cases, which needs no label of theirs."""
    return replace(alarm, usual=(said[_subject(alarm)] - 0.5) / cases_count)


def _usual_levels(views: Mapping[str, IncidentView]) -> dict[str, dict[str, dict[str, float]]]:
    """By case, feature and component: in which share of the other cases its alarms amounted to at least as much."""
    found = {key: levels(view.alarms) for key, view in views.items()}
    reached: dict[tuple[str, str], list[float]] = defaultdict(list)
    for each in found.values():
        for feature, components in each.items():
            for component, level in components.items():
                reached[feature, component].append(level)
    return {
        key: {
            feature: {
                component: (sum(other >= level for other in reached[feature, component]) - 0.5) / len(views)
                for component, level in components.items()
            }
            for feature, components in each.items()
        }
        for key, each in found.items()
    }


def _view(parts: dict[str, Any]) -> IncidentView:
    nodes = parts["nodes"]
    alarms = [Alarm(row[0], "metric", row[-2], row[-1]) for row in parts["metrics"]]
    alarms += [
        Alarm(callee, "latency" if kind == SLOW else "error", operation, "up", caller if caller in nodes else "")
        for caller, callee, operation, kind in parts["traces"]
    ]
    alarms += [Alarm(component, "log", template) for component, template in parts["logs"]]
    calls = [(nodes[caller], nodes[callee]) for caller, callee in parts["edges"]]
    edges = [EdgeSeries(*pair, _UNKNOWN, _UNKNOWN, _UNKNOWN) for pair in sorted(set(calls)) if pair[0] != pair[1]]
    return IncidentView(
        Incident("", "", 0), _BUCKET, _BUCKET, alarms=[a for a in alarms if a.component in set(nodes)], edges=edges
    )
