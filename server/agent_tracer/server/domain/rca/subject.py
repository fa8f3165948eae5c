"""What an incident is of: the component that alerts, its metric, its words. Pure."""

import re
from collections.abc import Collection, Sequence
from typing import Final

from agent_tracer.server import limits
from agent_tracer.server.domain.incidents import Incident
from agent_tracer.server.domain.rca.metric_evidence import kind_of
from agent_tracer.server.domain.rca.view import MetricSeries, Series, ServiceSeries

COMPONENT_LABELS: Final = (
    "service",
    "service_name",
    "service.name",
    "destination_service_name",
    "app",
    "app_kubernetes_io_name",
    "application",
    "component",
    "microservice",
    "deployment",
    "k8s_deployment_name",
    "statefulset",
    "workload",
    "container",
    "job",
    "node",
)
"""Labels by which monitors name what they watch, the most telling first."""

METRIC_LABELS: Final = ("metric", "metric_name", "metric.name", "__name__", "measure", "sli", "indicator")

SYMPTOMS: Final = ("error", "latency")
"""Kinds of metrics that alerts are commonly on."""

_NAME_CHARACTERS_MIN: Final = 4
_UNNAMED: Final = re.compile(r"[^a-z0-9]+")


def component_of(incident: Incident) -> str:
    """The service that alerts, as the incident or its labels have it; empty where none is named."""
    labelled = (incident.labels.get(label, "") for label in COMPONENT_LABELS)
    return incident.service or next((value for value in labelled if value), "")


def known_as(name: str, components: Collection[str]) -> str:
    """The component of that name, whatever its letters' case and punctuation; the name itself where there is none."""
    if name in components:
        return name
    alike = sorted(component for component in components if _bare(component) == _bare(name))
    return alike[0] if alike else name


def text_of(incident: Incident) -> str:
    """Title, annotations and labels: what a change's diff is held against."""
    words = [incident.title, *incident.annotations.values(), *incident.labels.values()]
    return " ".join(word for word in words if word)[: limits.RCA_LABEL_CHARACTERS_MAX]


def metric_of(incident: Incident, component: str, metrics: Sequence[MetricSeries]) -> str:
    """The alert's metric: as labelled, else that one of the component's which the words name, else the words."""
    labelled = next((incident.labels[label] for label in METRIC_LABELS if incident.labels.get(label)), "")
    if labelled:
        return labelled
    told = " ".join((incident.labels.get("alertname", ""), incident.title, *incident.annotations.values()))
    own = {metric.name for metric in metrics if metric.component == component}
    named = [name for name in own if len(_bare(name)) >= _NAME_CHARACTERS_MIN and _bare(name) in _bare(told)]
    return max(sorted(named), key=len) if named else incident.labels.get("alertname", "") or incident.title


def signals(
    component: str, metric: str, metrics: Sequence[MetricSeries], services: Sequence[ServiceSeries]
) -> list[Series]:
    """By which its begin is looked for: the metric alone where it is stored, else errors, latency and their like."""
    own = [each for each in metrics if each.component == component]
    wanted = _bare(metric)
    named = [each.values for each in own if wanted and _bare(each.name) in {wanted, f"{wanted}p95"}]
    named = named or [
        each.values for each in own if len(wanted) >= _NAME_CHARACTERS_MIN and _bare(each.name).startswith(wanted)
    ]
    if named:
        return named
    found = [each.values for each in own if kind_of(each.name) in SYMPTOMS]
    for service in services:
        if service.component == component:
            found += [service.self_ms, _rate(service.errors, service.calls)]
    return found


def _rate(errors: Series, calls: Series) -> Series:
    def shares(failed: Sequence[float], made: Sequence[float]) -> list[float]:
        return [count / of if of > 0 else float("nan") for count, of in zip(failed, made, strict=True)]

    return Series(shares(errors.before, calls.before), shares(errors.during, calls.during))


def _bare(name: str) -> str:
    return _UNNAMED.sub("", name.lower())
