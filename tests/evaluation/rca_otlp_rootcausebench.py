"""The RootCauseBench incidents as they are sent: logs, metrics, spans, and changes as events."""

import csv
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from tests.evaluation.rca_otlp import NS, Asked, Request, attributes, gauges, logs, spans

NO_CHANGE: Final = "none"
SPACE_NS: Final = 30 * 24 * 3600 * NS
"""Between two incidents, all of which share names of services."""
_SEVERITIES: Final = {"DEBUG": 5, "INFO": 9, "WARN": 13, "WARNING": 13, "ERROR": 17, "FATAL": 21, "CRITICAL": 21}
_KNOWN: Final = frozenset({"timestamp", "service", "severity_text", "msg", "trace_id", "span_id"})


def cases(root: Path) -> Iterator[tuple[Asked, Iterator[Request]]]:
    """Every incident, each moved into a month of its own."""
    for number, folder in enumerate(sorted((root / "dev").glob("*/tests/ground_truth.json"))):
        data = folder.parent.parent / "data"
        shift_ns = -(number + 6) * SPACE_NS
        yield (
            _asked(folder.parent.parent.name, json.loads(folder.read_text()), data, shift_ns),
            _requests(data, shift_ns),
        )


def _ns(time: str) -> int:
    return int(datetime.fromisoformat(time).timestamp() * 10**6) * 1000


def _asked(name: str, answer: dict[str, Any], data: Path, shift_ns: int) -> Asked:
    alert = json.loads((data / "alert.json").read_text())
    return Asked(
        name=name,
        system="rootcausebench",
        title=alert.get("monitor", ""),
        service=alert["service"],
        start_ns=_ns(alert["fired_at"]) + shift_ns,
        truth=answer["first_failing_service"],
        labels={"metric": alert["metric"], "severity": alert["severity"]},
        annotations={key: str(alert[key]) for key in ("summary", "detail") if alert.get(key)},
        change=answer["root_cause_commit"],
        decoys=frozenset(answer["decoy_deploy_commits"]),
    )


def _requests(data: Path, shift_ns: int) -> Iterator[Request]:
    series: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
    with (data / "metrics.csv").open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            series[row["service"], row["metric"]].append((_ns(row["timestamp"]) + shift_ns, float(row["value"])))
    yield from gauges(series)
    records: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in (data / "logs.ndjson").read_text().splitlines():
        if line.strip():
            written = json.loads(line)
            records[written["service"]].append(_record(written, shift_ns))
    for service, event in _changes(data / "context"):
        records[service].append(event | {"time_unix_nano": event["time_unix_nano"] + shift_ns})
    yield from logs(records)
    yield from spans(_spans(json.loads((data / "traces.json").read_text()), data.parent.name, shift_ns))


def _record(written: dict[str, Any], shift_ns: int) -> dict[str, Any]:
    told = {key: value if isinstance(value, str) else json.dumps(value) for key, value in written.items()}
    return {
        "time_unix_nano": _ns(written["timestamp"]) + shift_ns,
        "severity_number": _SEVERITIES.get(str(written.get("severity_text", "INFO")).upper(), 9),
        "severity_text": str(written.get("severity_text", "INFO")),
        "body": {"string_value": told.get("msg", "")},
        "attributes": attributes({key: value for key, value in told.items() if key not in _KNOWN}),
    }


def _changes(context: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Events with the service of their resource: commits have none."""
    for commit in json.loads((context / "commits.json").read_text()):
        told = {
            "vcs.ref.head.revision": commit["sha"],
            "vcs.change.title": commit["message"],
            "vcs.author": commit.get("author") or "",
            "vcs.change.diff": commit.get("diff") or "",
            "vcs.change.files": commit.get("files_changed") or [],
        }
        yield "", _event("vcs.commit", commit["timestamp"], told)
    for deploy in json.loads((context / "deploys.json").read_text()):
        told = {
            "vcs.ref.head.revision": deploy["commit_sha"],
            "service.name": deploy["service"],
            "service.version": deploy.get("version") or "",
        }
        yield deploy["service"], _event("deployment", deploy["timestamp"], told)
    for flag in json.loads((context / "flags.json").read_text()):
        told = {"feature_flag.key": flag["flag"], "feature_flag.change": flag.get("change") or ""}
        yield flag["service"], _event("feature_flag.change", flag["timestamp"], told)


def _event(name: str, time: str, told: dict[str, Any]) -> dict[str, Any]:
    given = {key: value for key, value in told.items() if value}
    return {"time_unix_nano": _ns(time), "event_name": name, "attributes": attributes(given)}


def _spans(recorded: list[dict[str, Any]], case: str, shift_ns: int) -> dict[str, list[dict[str, Any]]]:
    made: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for span in recorded:
        begin = _ns(span["start"]) + shift_ns
        parent = span.get("parent_id")
        failed = {"code": 2, "message": str(span.get("error") or "")} if span["status"] == "ERROR" else {"code": 1}
        made[span["service"]].append(
            {
                "trace_id": _id(f"{case}|{span['trace_id']}", 16),
                "span_id": _id(span["span_id"], 8),
                "parent_span_id": _id(parent, 8) if parent else b"",
                "name": span["name"],
                "start_time_unix_nano": begin,
                "end_time_unix_nano": begin + int(float(span["duration_ms"]) * 1e6),
                "status": failed,
            }
        )
    return made


def _id(text: str, size: int) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=size).digest()
