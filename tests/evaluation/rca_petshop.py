"""The PetShop issues as incident views: five-minute metrics and a call graph, no spans and no logs."""

import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from agent_tracer.server.domain.rca.view import EdgeSeries, Incident, IncidentView, MetricSeries, Series, Window
from tests.evaluation.rca_nezha import Case

FIVE_MINUTES_NS: Final = 300 * 10**9
QUIET: Final = "none"
ISSUE_POINTS: Final = 5
QUIET_WINDOWS: Final = 20

Table = dict[tuple[str, str], list[float]]


def cases(root: Path) -> Iterator[Case]:
    """Every issue that has a fault-free recording of its traffic. `group`: the traffic scenario."""
    for scenario in sorted(path.parent.name for path in (root / "dev").glob("*/noissue")):
        folder = root / "dev" / scenario
        before = _table(folder / "noissue/metrics.csv")
        for issue in sorted(folder.glob("train/issue_*")):
            target = json.loads((issue / "target.json").read_text())
            during = _table(issue / "metrics.csv")
            truth = target["root_cause"]["node"]
            view = _view(target["target"], before, during, _calls(folder / "graph.csv"))
            yield Case(f"{scenario}/{issue.name}", "petshop", scenario, view, truth, target["target"]["metric"])


def quiet_cases(root: Path) -> Iterator[Case]:
    """Windows of the fault-free recordings: there is nothing to find, and an analysis should say so.

    The first half of the recording is the past, windows of the second half the present.
    """
    for case_folder in sorted((root / "dev").glob("*/noissue")):
        table = _table(case_folder / "metrics.csv")
        count = max(len(values) for values in table.values())
        calls = _calls(case_folder.parent / "graph.csv")
        before = {key: values[: count // 2] for key, values in table.items()}
        for at in range(count // 2, count - ISSUE_POINTS, (count // 2) // QUIET_WINDOWS):
            during = {key: values[at : at + ISSUE_POINTS] for key, values in table.items()}
            alerting = json.loads((case_folder.parent / "train/issue_0/target.json").read_text())["target"]
            view = _view(alerting, before, during, calls)
            yield Case(f"{case_folder.parent.name}/quiet/{at}", "petshop", case_folder.parent.name, view, QUIET, QUIET)


def _table(path: Path) -> Table:
    with path.open(encoding="utf-8", newline="") as lines:
        components, metrics, statistics, _, *rows = list(csv.reader(lines))
    columns = list(zip(components, metrics, statistics, strict=True))[1:]
    return {
        (component, f"{metric}_{statistic}".lower()): [float(row[at] or "nan") for row in rows]
        for at, (component, metric, statistic) in enumerate(columns, start=1)
    }


def _calls(path: Path) -> list[tuple[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        (_, *callees), *rows = list(csv.reader(lines))
    return [
        (caller, callee)
        for caller, *cells in rows
        for callee, cell in zip(callees, cells, strict=True)
        if cell not in {"", "0", "0.0"}
    ]


def _view(target: dict[str, str], before: Table, during: Table, calls: list[tuple[str, str]]) -> IncidentView:
    quiet, noisy = (max(len(values) for values in table.values()) for table in (before, during))
    start_ns = int(target["timestamp"]) * 10**9
    unknown = Series([math.nan] * quiet, [math.nan] * noisy)
    return IncidentView(
        Incident(target["node"], target["metric"], start_ns),
        Window([start_ns - at * FIVE_MINUTES_NS for at in range(quiet, 0, -1)], FIVE_MINUTES_NS),
        Window([start_ns + at * FIVE_MINUTES_NS for at in range(noisy)], FIVE_MINUTES_NS),
        metrics=[
            MetricSeries(*key, Series(before[key] if key in before else [math.nan] * quiet, values))
            for key, values in during.items()
        ],
        edges=[EdgeSeries(*pair, unknown, unknown, unknown) for pair in calls],
    )
