"""The RootCauseBench incidents as incident views: logs, metrics, spans, and the changes of the day with diffs."""

import csv
import json
import math
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from agent_tracer.server.domain.rca.view import (
    Change,
    EdgeSeries,
    Incident,
    IncidentView,
    LogSeries,
    MetricSeries,
    Series,
    Window,
)

MINUTE_NS: Final = 60 * 10**9
ALERT_LAG_MINUTES: Final = 15
"""The alert fires after the onset; what is taken for the incident begins so long before it."""
NO_CHANGE: Final = "none"
_SEVERITIES: Final = {"DEBUG": 5, "INFO": 9, "WARN": 13, "WARNING": 13, "ERROR": 17, "FATAL": 21, "CRITICAL": 21}
_VARYING: Final = re.compile(r"\b[0-9a-f]{8,}\b|\d+(\.\d+)?")


@dataclass(frozen=True, slots=True)
class ChangeCase:
    """An incident, the commit behind it ("none": no commit), the decoys, and the service that failed first."""

    name: str
    view: IncidentView
    truth: str
    decoys: frozenset[str]
    service: str


def cases(root: Path) -> Iterator[ChangeCase]:
    """Every incident of the unpacked set."""
    for folder in sorted(path.parent.parent for path in (root / "dev").glob("*/tests/ground_truth.json")):
        answer = json.loads((folder / "tests/ground_truth.json").read_text())
        decoys = frozenset(answer["decoy_deploy_commits"])
        yield ChangeCase(
            folder.name, _view(folder / "data"), answer["root_cause_commit"], decoys, answer["first_failing_service"]
        )


def _ns(time: str) -> int:
    return int(datetime.fromisoformat(time).timestamp() * 10**9)


def _view(data: Path) -> IncidentView:
    alert = json.loads((data / "alert.json").read_text())
    fired = _ns(alert["fired_at"])
    with (data / "metrics.csv").open(encoding="utf-8", newline="") as lines:
        points = list(csv.DictReader(lines))
    logs = [json.loads(line) for line in (data / "logs.ndjson").read_text().splitlines() if line.strip()]
    first = min([_ns(point["timestamp"]) for point in points] + [_ns(log["timestamp"]) for log in logs])
    split = fired - ALERT_LAG_MINUTES * MINUTE_NS
    before = Window(list(range(split - ((split - first) // MINUTE_NS + 1) * MINUTE_NS, split, MINUTE_NS)), MINUTE_NS)
    during = Window(list(range(split, fired + 10 * MINUTE_NS, MINUTE_NS)), MINUTE_NS)
    text = f"{alert.get('summary', '')} {alert.get('detail', '')} {alert.get('monitor', '')}"
    return IncidentView(
        Incident(alert["service"], alert["metric"], fired, text), before, during,
        metrics=list(_metrics(points, before, during)), logs=list(_logs(logs, before, during)),
        edges=list(_edges(json.loads((data / "traces.json").read_text()))), changes=list(_changes(data / "context")),
    )  # fmt: skip


def _filled(values: dict[int, float], before: Window, during: Window, empty: float) -> Series:
    return Series(
        [values.get(at, empty) for at in before.starts_ns], [values.get(at, empty) for at in during.starts_ns]
    )


def _bucket(time: str, before: Window) -> int:
    return before.starts_ns[0] + (_ns(time) - before.starts_ns[0]) // MINUTE_NS * MINUTE_NS


def _metrics(points: list[dict[str, str]], before: Window, during: Window) -> Iterator[MetricSeries]:
    series: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    for point in points:
        series[point["service"], point["metric"]][_bucket(point["timestamp"], before)] = float(point["value"])
    for (service, metric), values in series.items():
        yield MetricSeries(service, metric, _filled(values, before, during, math.nan))


def _logs(logs: list[dict[str, Any]], before: Window, during: Window) -> Iterator[LogSeries]:
    counts: dict[tuple[str, str, int], dict[int, float]] = defaultdict(lambda: defaultdict(float))
    for log in logs:
        text = " ".join(
            str(log[key]) for key in ("msg", "error", "exception", "stack", "goroutine_stack") if log.get(key)
        )
        severity = _SEVERITIES.get(str(log.get("severity_text", "INFO")).upper(), 9)
        counts[log["service"], _VARYING.sub("<*>", text), severity][_bucket(log["timestamp"], before)] += 1
    for key, found in counts.items():
        yield LogSeries(*key, _filled(found, before, during, 0.0))


def _edges(spans: list[dict[str, Any]]) -> Iterator[EdgeSeries]:
    service = {(span["trace_id"], span["span_id"]): span["service"] for span in spans}
    pairs = {(service.get((span["trace_id"], span.get("parent_id") or "")), span["service"]) for span in spans}
    unknown = Series([], [])
    for caller, callee in sorted((caller, callee) for caller, callee in pairs if caller and caller != callee):
        yield EdgeSeries(caller, callee, unknown, unknown, unknown)


def _changes(context: Path) -> Iterator[Change]:
    deploys: dict[str, list[dict[str, str]]] = defaultdict(list)
    for deploy in json.loads((context / "deploys.json").read_text()):
        deploys[deploy["commit_sha"]].append(deploy)
    for commit in json.loads((context / "commits.json").read_text()):
        live = deploys[commit["sha"]]
        time = min([_ns(deploy["timestamp"]) for deploy in live], default=_ns(commit["timestamp"]))
        yield Change(
            commit["sha"], "deploy" if live else "commit", time, sorted({deploy["service"] for deploy in live}),
            commit["message"], commit.get("diff") or "", commit.get("files_changed") or [],
        )  # fmt: skip
