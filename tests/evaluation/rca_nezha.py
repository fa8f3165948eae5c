"""The Nezha Train-Ticket faults as incident views: traces, logs and pod metrics, the gateway alerting."""

import csv
import json
import math
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final

from agent_tracer.server.domain.rca.view import (
    EdgeSeries,
    Incident,
    IncidentView,
    LogSeries,
    MetricSeries,
    Series,
    ServiceSeries,
    Window,
)

MINUTE_NS: Final = 60_000_000_000
METRIC_MINUTES: Final = 60
FAULT_MINUTES: Final = 3

_LOG: Final = re.compile(r"\S+ +(?P<level>[A-Z]+) +(?P<place>[^\s#]+#[0-9]+) ")
_SEVERITIES: Final = {"INFO": 9, "WARN": 13, "ERROR": 17}


@dataclass(frozen=True, slots=True)
class Case:
    """An incident with its answer. `group`: what is left out together in cross-validation."""

    name: str
    system: str
    group: str
    view: IncidentView
    truth: str
    kind: str


def service_of(pod: str) -> str:
    return pod.rsplit("-", 2)[0]


def _rows(path: Path) -> Iterator[dict[str, str]]:
    if path.exists():
        with path.open(encoding="utf-8", newline="") as lines:
            yield from csv.DictReader(lines)


def cases(root: Path) -> Iterator[Case]:
    """Every fault of the unpacked recording."""
    metrics: dict[str, dict[str, list[tuple[int, str, float]]]] = {}
    for fault in json.loads((root / "dev/faults_dev.json").read_text()):
        day = fault["day"]
        if day not in metrics:
            metrics[day] = _metrics(root / "common/rca_data" / day / "metric")
        start_ns = int(datetime.fromisoformat(fault["inject_time"]).replace(tzinfo=UTC).timestamp()) * 10**9
        truth = service_of(fault["inject_pod"])
        view = _view(root, day, start_ns, metrics[day])
        yield Case(fault["inject_time"], "nezha", truth, view, truth, fault["inject_type"])


def _metrics(folder: Path) -> dict[str, list[tuple[int, str, float]]]:
    found: dict[str, list[tuple[int, str, float]]] = defaultdict(list)
    for path in sorted(folder.glob("*_metric.csv")):
        for row in _rows(path):
            at = int(datetime.strptime(row["Time"][:19], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()) * 10**9
            for column in list(row)[3:]:
                if not column.startswith("Node"):
                    found[service_of(row["PodName"]) + "\t" + column.split("(")[0]].append(
                        (at, column, float(row[column] or "nan"))
                    )
    return found


def _view(root: Path, day: str, start_ns: int, metrics: dict[str, list[tuple[int, str, float]]]) -> IncidentView:
    healthy = min((root / "common/construct_data" / day / "trace").glob("*.csv")).name[:5]
    healthy_ns = (
        int(datetime.fromisoformat(f"{day} {healthy.replace('_', ':')}:00").replace(tzinfo=UTC).timestamp()) * 10**9
    )
    starts = sorted({start_ns - minute * MINUTE_NS for minute in range(1, METRIC_MINUTES + 1)} - {healthy_ns})
    before = Window([*starts, healthy_ns], MINUTE_NS)
    during = Window([start_ns + minute * MINUTE_NS for minute in range(FAULT_MINUTES)], MINUTE_NS)
    minutes = [
        datetime.fromtimestamp(start_ns // 10**9 + 60 * minute, UTC).strftime("%H_%M")
        for minute in range(FAULT_MINUTES)
    ]
    faulty, sound = root / "dev/rca_data" / day, root / "common/construct_data" / day
    spans = ([sound / f"trace/{healthy}_trace.csv"], [faulty / f"trace/{minute}_trace.csv" for minute in minutes])
    lines = ([sound / f"log/{healthy}_log.csv"], [faulty / f"log/{minute}_log.csv" for minute in minutes])
    services, edges = _spans(spans, start_ns, len(starts))
    alert = next(name for name in sorted({edge.caller for edge in edges}) if "gateway" in name)
    return IncidentView(
        Incident(alert, "latency and errors", start_ns), before, during,
        metrics=_metric_series(metrics, start_ns, len(starts)), logs=_logs(lines, start_ns, len(starts)), services=services, edges=edges,
    )  # fmt: skip


def _metric_series(metrics: dict[str, list[tuple[int, str, float]]], start_ns: int, quiet: int) -> list[MetricSeries]:
    found = []
    for key, points in metrics.items():
        values = {(at - start_ns) // MINUTE_NS: value for at, _, value in points}
        component, name = key.split("\t")
        before = [values.get(-minute, math.nan) for minute in range(quiet, 0, -1)]
        during = [values.get(minute, math.nan) for minute in range(FAULT_MINUTES)]
        found.append(MetricSeries(component, name, Series([*before, math.nan], during)))
    return found


def _bucket(at: int, start_ns: int, phase: int) -> int | None:
    """0 for the healthy minute, 1 and on for the incident's; None before its start or after its end."""
    if phase == 0:
        return 0
    minute = (at - start_ns) // MINUTE_NS
    return 1 + minute if 0 <= minute < FAULT_MINUTES else None


def _series(values: dict[int, float], quiet: int, empty: float) -> Series:
    during = [values.get(bucket, empty) for bucket in range(1, FAULT_MINUTES + 1)]
    return Series([math.nan] * quiet + [values.get(0, empty)], during)


def _spans(
    paths: tuple[list[Path], list[Path]], start_ns: int, quiet: int
) -> tuple[list[ServiceSeries], list[EdgeSeries]]:
    times: dict[tuple[str, str], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    gaps: dict[tuple[str, str], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for phase, files in enumerate(paths):
        spans = {row["SpanID"]: row for path in files for row in _rows(path)}
        covered: dict[str, int] = defaultdict(int)
        for span in spans.values():
            covered[span["ParentID"]] += int(span["EndTimeUnixNano"]) - int(span["StartTimeUnixNano"])
        callers = {
            span["ParentID"]
            for span in spans.values()
            if span["ParentID"] in spans and spans[span["ParentID"]]["PodName"] != span["PodName"]
        }
        for name, span in spans.items():
            bucket = _bucket(int(span["StartTimeUnixNano"]), start_ns, phase)
            if bucket is None:
                continue
            lasted = int(span["EndTimeUnixNano"]) - int(span["StartTimeUnixNano"])
            component = service_of(span["PodName"])
            if name not in callers:
                times[component, span["OperationName"]][bucket].append(max(lasted - covered[name], 0) / 1e6)
            parent = spans.get(span["ParentID"])
            if parent and service_of(parent["PodName"]) != component:
                client = int(parent["EndTimeUnixNano"]) - int(parent["StartTimeUnixNano"])
                gaps[service_of(parent["PodName"]), component][bucket].append((client - lasted) / 1e6)
    return _services(times, quiet), [
        EdgeSeries(*pair, _series({b: float(len(v)) for b, v in found.items()}, quiet, 0.0), _series({}, quiet, math.nan),
                   _series({b: median(v) for b, v in found.items()}, quiet, math.nan))
        for pair, found in gaps.items()
    ]  # fmt: skip


def _services(times: dict[tuple[str, str], dict[int, list[float]]], quiet: int) -> list[ServiceSeries]:
    merged: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for (component, _), found in times.items():
        for bucket, values in found.items():
            merged[component][bucket] += values
    nothing = _series({}, quiet, math.nan)
    return [
        ServiceSeries(component, _series({b: float(len(v)) for b, v in found.items()}, quiet, 0.0), nothing, nothing,
                      _series({b: sum(v) / len(v) for b, v in found.items()}, quiet, math.nan))
        for component, found in merged.items()
    ]  # fmt: skip


def _logs(paths: tuple[list[Path], list[Path]], start_ns: int, quiet: int) -> list[LogSeries]:
    counts: dict[tuple[str, str, int], dict[int, float]] = defaultdict(lambda: defaultdict(float))
    for phase, files in enumerate(paths):
        for row in (row for path in files for row in _rows(path)):
            bucket = _bucket(int(row["TimeUnixNano"]), start_ns, phase)
            line = _LOG.match(json.loads(row["Log"])["log"])
            if bucket is not None and line:
                counts[service_of(row["PodName"]), line["place"], _SEVERITIES[line["level"]]][bucket] += 1
    return [LogSeries(*key, _series(found, quiet, 0.0)) for key, found in counts.items()]
