"""Incidents, for people."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.text import Text

from agent_tracer.server.cli import text
from agent_tracer.server.cli.glyphs import Glyphs, glyphs
from agent_tracer.server.cli.tables import Column, print_table

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

    from agent_tracer.v1 import correlation_pb2

_STYLES: Final = {"open": "bold red", "resolved": "green"}
_MARKS: Final = {"open": "error", "resolved": "success"}
"""Which mark of a trace's status stands for an incident's."""

_LABEL_COLUMNS_MAX: Final = 24


def print_incidents(console: Console, incidents: "Sequence[correlation_pb2.Incident]") -> None:
    """One incident a line, ids whole."""
    marks = glyphs(console)
    print_table(
        console,
        [
            Column("STARTED", [Text(text.local_time(_when(of.start_time))) for of in incidents]),
            Column("INCIDENT", [Text(text.plain(of.incident_id), style="bold") for of in incidents]),
            Column("STATUS", [_status(marks, of.status) for of in incidents]),
            Column("TITLE", [Text(text.plain(of.title)) for of in incidents], cut=True, need=1),
            Column("SERVICE", [Text(text.plain(of.service), style="magenta") for of in incidents], cut=True, need=2),
            Column("SEVERITY", [Text(text.plain(of.severity)) for of in incidents], cut=True, need=3),
            Column("LASTED", [Text(_lasted(of)) for of in incidents], right=True, need=4),
            Column("SOURCE", [Text(text.plain(of.source), style="dim") for of in incidents], need=5),
        ],
    )


def print_incident(console: Console, incident: "correlation_pb2.Incident") -> None:
    """What is known of it, a fact a line."""
    title = Text(text.plain(incident.title), style="bold")
    title.append("  ").append_text(_status(glyphs(console), incident.status))
    console.print(title, soft_wrap=True)
    facts = [*_facts(incident).items(), *sorted(incident.annotations.items())]
    shown = [(text.plain(label), text.plain(fact)) for label, fact in facts if fact]
    width = min(_LABEL_COLUMNS_MAX, max(len(label) for label, _ in shown))
    for label, fact in shown:
        console.print(Text(f"  {label:<{width}}  ", style="dim").append(fact, style="not dim"), soft_wrap=True)


def _facts(incident: "correlation_pb2.Incident") -> dict[str, str]:
    return {
        "incident": incident.incident_id,
        "service": incident.service,
        "severity": incident.severity,
        "started": text.local_time(_when(incident.start_time), precise=True),
        "ended": text.local_time(_when(incident.end_time), precise=True) if incident.HasField("end_time") else "",
        "lasted": _lasted(incident),
        "source": incident.source,
        "labels": _pairs(incident.labels),
        "traces": ", ".join(incident.trace_ids),
    }


def _pairs(entries: Mapping[str, str]) -> str:
    return "  ".join(f"{key}={value}" for key, value in sorted(entries.items()))


def _status(marks: Glyphs, word: str) -> Text:
    mark = marks.status.get(_MARKS.get(word, ""), marks.idle)
    return Text(f"{mark} {text.plain(word) or text.NOTHING}", style=_STYLES.get(word, ""))


def _lasted(incident: "correlation_pb2.Incident") -> str:
    if not incident.HasField("end_time"):
        return ""
    start, end = incident.start_time, incident.end_time
    return text.duration((end.seconds - start.seconds) * 1e3 + (end.nanos - start.nanos) / 1e6)


def _when(timestamp: "Timestamp") -> datetime | None:
    return text.moment(timestamp.seconds, timestamp.nanos)
