"""What the labels and annotations of alerts say: service, severity, title, traces."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Final, Protocol

from agent_tracer.server.domain.checks import check_id
from agent_tracer.server.domain.errors import Violations
from agent_tracer.server.domain.ids import TraceId
from agent_tracer.server.limits import (
    ID_LENGTH_MAX,
    INCIDENT_CHARACTERS_MAX,
    INCIDENT_ENTRIES_MAX,
    INCIDENT_VALUE_LENGTH_MAX,
    TEXT_LENGTH_MAX,
)

SERVICE_LABELS: Final = (
    "service_name",
    "service.name",
    "service",
    "app_kubernetes_io_name",
    "app",
    "application",
    "microservice",
    "component",
    "destination_service_name",
    "destination_workload",
    "workload",
    "deployment",
    "k8s_deployment_name",
    "statefulset",
    "daemonset",
    "cronjob",
    "job_name",
    "container",
    "container_name",
    "job",
    "agent_id",
    "agent",
    "pod",
    "pod_name",
    "node",
)
"""Labels that name a service, the surest first. `job` comes late: it often names who measured, not who was measured."""

SEVERITY_LABELS: Final = ("severity", "priority", "level", "urgency")

_SEVERITIES: Final = (
    ("emergency", "disaster", "fatal", "p0", "sev0"),
    ("critical", "crit", "page", "p1", "sev1"),
    ("high", "error", "major", "p2", "sev2"),
    ("warning", "warn", "medium", "moderate", "average", "p3", "sev3"),
    ("minor", "low", "ticket", "p4", "sev4"),
    ("info", "information", "informational", "notice", "p5", "sev5"),
    ("none", "debug", "ok"),
)
"""The worst first. Unknown ones come after the warnings."""
_RANKS: Final = {name: rank for rank, names in enumerate(_SEVERITIES) for name in names}
_UNKNOWN_RANK: Final = _RANKS["warning"] + 0.5

_TITLES: Final = ("summary", "title", "message", "description")
"""Annotations that say what is wrong in a line, the likeliest first."""

_TRACES: Final = ("trace_id", "traceid", "trace", "trace_ids", "traceids")
"""As compared: in lower case, dots as underscores."""

# Who measures is seldom what is broken: with these, the next label is asked.
_MEASURING: Final = re.compile(
    r".*[-_]exporter|kube-state-metrics|kubelet|c?advisor|prometheus.*|alertmanager|POD", re.IGNORECASE
)
# What Kubernetes adds to the name of a pod: of a replica set, a daemon set, a stateful set.
_POD_SUFFIX: Final = re.compile(r"-(?:[a-f0-9]{6,10}-[a-z0-9]{5}|[bcdfghjklmnpqrstvwxz2456789]{5}|\d{1,4})$")
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]+")
_SEPARATORS: Final = re.compile(r"[,;\s]+")
_CUT: Final = "\u2026"


class Labelled(Protocol):
    """What an alert has."""

    @property
    def labels(self) -> Mapping[str, str]:
        """What identifies it."""
        ...

    @property
    def annotations(self) -> Mapping[str, str]:
        """What is said of it."""
        ...


def service_of(common: Mapping[str, str], alerts: Sequence[Labelled]) -> str:
    """The service that all alerts name, else the first one's; empty where no label names one."""
    measuring = ""
    for labels in chain((common,), (alert.labels for alert in alerts)):
        for label in SERVICE_LABELS:
            text = labels.get(label)
            name = _service(label, text) if text else ""
            if name and _MEASURING.fullmatch(name) is None:
                return name
            measuring = measuring or name
    return measuring


def severity_of(alerts: Sequence[Labelled]) -> str:
    """The worst one, as it is written."""
    named = (next((alert.labels[name] for name in SEVERITY_LABELS if alert.labels.get(name)), "") for alert in alerts)
    worst = min((name for name in named if name), key=lambda name: _RANKS.get(name.lower(), _UNKNOWN_RANK), default="")
    return line(worst, ID_LENGTH_MAX)


def title_of(common: Mapping[str, str], alerts: Sequence[Labelled]) -> str:
    """What the common annotations say, or those of a single alert, else the alerts' names and their service."""
    said = common or (alerts[0].annotations if len(alerts) == 1 else {})
    found = next((said[name] for name in _TITLES if said.get(name, "").strip()), "")
    return line(found, TEXT_LENGTH_MAX) or _named(alerts)


def trace_ids_of(entries: Mapping[str, str]) -> Iterator[TraceId]:
    """The traces that labels or annotations name; what cannot be an id is passed over."""
    for key, value in entries.items():
        if key.lower().replace(".", "_") in _TRACES:
            for text in _SEPARATORS.split(value):
                found = Violations()
                check_id(found, key, text)
                if not found.found:
                    yield TraceId(text)


def bounded(entries: Mapping[str, str]) -> Mapping[str, str]:
    """As much as an incident holds of them; a long value ends with an ellipsis."""
    left = INCIDENT_CHARACTERS_MAX // 2
    kept: dict[str, str] = {}
    for key, value in entries.items():
        name = line(key, ID_LENGTH_MAX)
        text = _cut(value, min(INCIDENT_VALUE_LENGTH_MAX, left - len(name)))
        if name and text and len(kept) < INCIDENT_ENTRIES_MAX:
            kept[name] = text
            left -= len(name) + len(text)
    return kept


def line(text: str, longest: int) -> str:
    """The text as one line without control characters, cut where it is too long."""
    return _cut(_CONTROL.sub(" ", text).strip(), longest)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: max(0, longest - 1)] + _CUT[:longest]


def _service(label: str, text: str) -> str:
    if label == "job":  # OpenTelemetry writes service.namespace/service.name.
        text = text.rsplit("/", 1)[-1]
    if label.startswith("pod"):
        text = _POD_SUFFIX.sub("", text)
    return line(text, ID_LENGTH_MAX)


def _named(alerts: Sequence[Labelled]) -> str:
    names = list(dict.fromkeys(alert.labels.get("alertname", "") for alert in alerts))
    named = ", ".join(name for name in names[:3] if name) + (f" and {len(names) - 3} more" if len(names) > 3 else "")  # noqa: PLR2004
    service = service_of({}, alerts)
    return line(f"{named or 'alert'} in {service}" if service else named or "alert", TEXT_LENGTH_MAX)
