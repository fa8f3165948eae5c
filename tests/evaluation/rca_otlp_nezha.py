"""The Nezha Train-Ticket recording as it is sent: tests.fixtures.nezha converts it, here are its incidents."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from tests.evaluation.rca_otlp import NS, Asked, Request
from tests.fixtures.nezha import Files, files, requests, service_of

FAULT_MINUTES: Final = 3


def incidents(root: Path) -> list[Asked]:
    """Every fault, alerted of at the gateway in the moment of its injection."""
    gateway = next(
        service for path in files(root).metrics if "gateway" in (service := service_of(path.name.split("_metric")[0]))
    )
    return [
        Asked(
            name=fault["inject_time"],
            system="nezha",
            title="Requests through the gateway are slow or fail",
            service=gateway,
            start_ns=_ns(fault["inject_time"]),
            truth=service_of(fault["inject_pod"]),
        )
        for fault in json.loads((root / "dev/faults_dev.json").read_text())
    ]


def whole(root: Path) -> Iterator[Request]:
    """Everything that was recorded."""
    return requests(files(root))


def alone(root: Path, asked: Asked, shift_ns: int) -> tuple[Asked, Iterator[Request]]:
    """One fault's three minutes, with the sound minute and the metrics of its day, all moved in time."""
    begin = datetime.fromisoformat(asked.name).replace(tzinfo=UTC)
    day = f"{begin:%Y-%m-%d}"
    minutes = [f"{begin + timedelta(minutes=minute):%H_%M}" for minute in range(FAULT_MINUTES)]
    every = files(root)

    def chosen(paths: Sequence[Path]) -> tuple[Path, ...]:
        return tuple(
            path
            for path in paths
            if path.parts[-3] == day and ("construct_data" in path.parts or path.name[:5] in minutes)
        )

    metrics = tuple(path for path in every.metrics if path.parts[-3] == day)
    moved = replace(asked, start_ns=asked.start_ns + shift_ns)
    return moved, requests(Files(chosen(every.traces), chosen(every.logs), metrics), shift_ns=shift_ns)


def _ns(time: str) -> int:
    return int(datetime.fromisoformat(time).replace(tzinfo=UTC).timestamp()) * NS
