"""The PetShop issues as they are sent: each after a copy of its traffic's fault-free recording, calls as spans."""

import csv
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.evaluation.rca_otlp import MINUTE_NS, NS, Asked, Request, gauges, spans

FIVE_MINUTES_NS: Final = 5 * MINUTE_NS
HOUR_NS: Final = 60 * MINUTE_NS
SPACE_NS: Final = 4 * 24 * HOUR_NS
"""Between two cases: more than a recording of 49 hours and a day on either side."""
BASE_NS: Final = 1_600_000_200 * NS
QUIET_WINDOWS: Final = 20
QUIET_POINTS: Final = 5

Rows = Sequence[tuple[int, float]]
Table = dict[tuple[str, str], list[tuple[int, float]]]


@dataclass(frozen=True, slots=True)
class Sent:
    """A stretch of telemetry with the incidents in it."""

    asked: Sequence[Asked]
    metrics: Table
    calls: Sequence[tuple[str, str]]

    def requests(self) -> Iterator[Request]:
        """By OTLP: metrics, and a call of each edge in every minute around the incidents."""
        yield from gauges(self.metrics)
        yield from spans(_calls(self.calls, self._minutes()))

    def _minutes(self) -> list[int]:
        around = {
            at // MINUTE_NS * MINUTE_NS
            for asked in self.asked
            for at in range(asked.start_ns - HOUR_NS, asked.start_ns + HOUR_NS // 2, MINUTE_NS)
        }
        return sorted(around)


def issues(root: Path) -> Iterator[Sent]:
    """Every issue of a traffic that was recorded without faults as well."""
    number = 0
    for scenario in _scenarios(root):
        quiet, calls = _table(scenario / "noissue/metrics.csv"), _edges(scenario / "graph.csv")
        for folder in sorted(scenario.glob("train/issue_*")):
            answer = json.loads((folder / "target.json").read_text())
            faulty = _table(folder / "metrics.csv")
            begin = BASE_NS + number * SPACE_NS
            move = begin - _first(faulty)
            before = _moved(quiet, begin - FIVE_MINUTES_NS - _last(quiet))
            alert = int(answer["target"]["timestamp"]) * NS + move
            yield Sent(
                [_asked(f"{scenario.name}/{folder.name}", answer, alert)], _joined(before, _moved(faulty, move)), calls
            )
            number += 1


def quiet(root: Path, number: int = 60) -> Iterator[Sent]:
    """Fault-free recordings, with incidents in their second half that have no cause."""
    for scenario in _scenarios(root):
        table, calls = _table(scenario / "noissue/metrics.csv"), _edges(scenario / "graph.csv")
        answer = json.loads((scenario / "train/issue_0/target.json").read_text())
        moved = _moved(table, BASE_NS + number * SPACE_NS - _first(table))
        times = sorted({at for rows in moved.values() for at, _ in rows})
        half = len(times) // 2
        asked = [
            _asked(f"{scenario.name}/quiet/{at}", answer, times[at], has_cause=False)
            for at in range(half, len(times) - QUIET_POINTS, half // QUIET_WINDOWS)
        ]
        yield Sent(asked, moved, calls)
        number += 1


def _scenarios(root: Path) -> list[Path]:
    return sorted(path.parent for path in (root / "dev").glob("*/noissue"))


def _asked(name: str, answer: dict[str, Any], alert_ns: int, *, has_cause: bool = True) -> Asked:
    target = answer["target"]
    return Asked(
        name=name,
        system="petshop" if has_cause else "petshop (quiet)",
        title=f"{target['node']}: {target['agg']} {target['metric']} is out of bounds",
        service=target["node"],
        start_ns=alert_ns,
        truth=answer["root_cause"]["node"] if has_cause else "",
        labels={"metric": target["metric"]},
    )


def _table(path: Path) -> Table:
    with path.open(encoding="utf-8", newline="") as lines:
        components, metrics, statistics, _, *rows = list(csv.reader(lines))
    return {
        (component, f"{metric}_{statistic}".lower()): [
            (int(float(row[0])) * NS, float(row[at])) for row in rows if row[at]
        ]
        for at, (component, metric, statistic) in enumerate(zip(components, metrics, statistics, strict=True))
        if at
    }


def _first(table: Table) -> int:
    return min(rows[0][0] for rows in table.values() if rows)


def _last(table: Table) -> int:
    return max(rows[-1][0] for rows in table.values() if rows)


def _moved(table: Table, by_ns: int) -> Table:
    return {key: [(at + by_ns, value) for at, value in rows] for key, rows in table.items()}


def _joined(former: Table, later: Table) -> Table:
    return {key: [*former.get(key, ()), *later.get(key, ())] for key in former.keys() | later.keys()}


def _edges(path: Path) -> list[tuple[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        (_, *callees), *rows = list(csv.reader(lines))
    return [
        (caller, callee)
        for caller, *cells in rows
        for callee, cell in zip(callees, cells, strict=True)
        if cell not in {"", "0", "0.0"}
    ]


def _calls(edges: Sequence[tuple[str, str]], minutes: Sequence[int]) -> dict[str, list[dict[str, Any]]]:
    """One client's and one server's span an edge and minute, always as long."""
    made: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for minute in minutes:
        for caller, callee in edges:
            digest = hashlib.blake2b(f"{caller}|{callee}|{minute}".encode(), digest_size=32).digest()
            trace, client, server = digest[:16], digest[16:24], digest[24:]
            client_span = {"trace_id": trace, "span_id": client, "name": f"call {callee}", "kind": 3}
            server_span = {"trace_id": trace, "span_id": server, "name": "serve", "kind": 2, "parent_span_id": client}
            made[caller].append(
                client_span | {"start_time_unix_nano": minute, "end_time_unix_nano": minute + NS // 100}
            )
            made[callee].append(
                server_span
                | {"start_time_unix_nano": minute + NS // 1000, "end_time_unix_nano": minute + 9 * NS // 1000}
            )
    return made
