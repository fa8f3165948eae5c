"""Names of metric series: of the component that a series is of, and what tells it from others of the same metric."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan
from typing import Final

from agent_tracer.server.domain.rca.view import MetricSeries, Series

SERVICE_KEY: Final = "service.name"
OWNER_KEYS: Final = (
    "k8s.deployment.name", "k8s.statefulset.name", "k8s.daemonset.name", "k8s.cronjob.name", "k8s.job.name",
    "k8s.pod.name", "k8s.container.name", "container.name", "k8s.node.name", "host.name",
)  # fmt: skip
"""Resource attributes that name a component where there is no service name, the first that is there."""

INSTANCE_KEYS: Final = ("k8s.pod.name", "service.instance.id", "container.id", "host.name", "host.id", "process.pid")
"""Resource attributes that tell instances of a service apart, the most readable first."""

_UNNAMED: Final = "unknown_service"
"""What the OpenTelemetry SDKs send where nobody named the service, with the process's name after it."""


@dataclass(frozen=True, slots=True)
class NamedSeries:
    """A series with all that tells it from others. `adds_up`: several instances' values may be added."""

    component: str
    metric: str
    attributes: Mapping[str, str]
    resource: Mapping[str, str]
    values: Series
    adds_up: bool


def owner(service: str, attributes: Mapping[str, str], resource: Mapping[str, str]) -> str:
    """The component: a point's own service name goes before its sender's; empty where nothing names one."""
    named = attributes.get(SERVICE_KEY) or service
    if named and not named.startswith(_UNNAMED):
        return named
    return next((resource[key] for key in OWNER_KEYS if resource.get(key)), named)


def told_apart(series: Iterable[NamedSeries]) -> list[MetricSeries]:
    """Each with its metric's name, and in braces what tells it from others of its component."""
    groups: dict[tuple[str, str], list[NamedSeries]] = defaultdict(list)
    for each in series:
        groups[each.component, each.metric].append(each)
    return [found for group in groups.values() for found in _named(_lasting(group))]


def _named(group: Sequence[NamedSeries]) -> list[MetricSeries]:
    names = _labelled(group, _telling([each.attributes for each in group]))
    return [MetricSeries(each.component, name, each.values) for each, name in zip(group, names, strict=True)]


def _labelled(group: Sequence[NamedSeries], keys: Sequence[str]) -> list[str]:
    """All attributes that differ, and of the resource as few as make the names different."""
    labels = [{**each.resource, **each.attributes} for each in group]
    names = [each.metric + _braced(of, keys) for each, of in zip(group, labels, strict=True)]
    differing = _telling([each.resource for each in group]) if len(set(names)) < len(names) else []
    for key in sorted(differing, key=lambda key: (_rank(key), key)):
        fuller = [each.metric + _braced(of, [*keys, key]) for each, of in zip(group, labels, strict=True)]
        if len(set(fuller)) > len(set(names)):
            keys, names = [*keys, key], fuller
        if len(set(names)) == len(names):
            break
    return names


def _telling(labels: Sequence[Mapping[str, str]]) -> list[str]:
    keys = sorted({key for of in labels for key in of} - {SERVICE_KEY})
    return [key for key in keys if len({of.get(key) for of in labels}) > 1]


def _rank(key: str) -> int:
    return INSTANCE_KEYS.index(key) if key in INSTANCE_KEYS else len(INSTANCE_KEYS)


def _braced(labels: Mapping[str, str], keys: Sequence[str]) -> str:
    told = ",".join(f"{key}={labels[key]}" for key in keys if key in labels)
    return f"{{{told}}}" if told else ""


def _lasting(group: Sequence[NamedSeries]) -> list[NamedSeries]:
    """Instances that are there in one window only (all were replaced) are one series: else nothing has a past."""
    same: dict[frozenset[tuple[str, str]], list[NamedSeries]] = defaultdict(list)
    for each in group:
        same[frozenset(each.attributes.items())].append(each)
    found: list[NamedSeries] = []
    for several in same.values():
        lasts = len(several) == 1 or any(_known(s.values.before) and _known(s.values.during) for s in several)
        found += several if lasts else [_together(several)]
    return found


def _together(group: Sequence[NamedSeries]) -> NamedSeries:
    first = group[0]
    before = [
        _combined(values, adds_up=first.adds_up) for values in zip(*(s.values.before for s in group), strict=True)
    ]
    during = [
        _combined(values, adds_up=first.adds_up) for values in zip(*(s.values.during for s in group), strict=True)
    ]
    return NamedSeries(first.component, first.metric, first.attributes, {}, Series(before, during), first.adds_up)


def _combined(values: Iterable[float], *, adds_up: bool) -> float:
    known = [value for value in values if not isnan(value)]
    if not known:
        return nan
    return sum(known) if adds_up else sum(known) / len(known)


def _known(values: Sequence[float]) -> bool:
    return any(not isnan(value) for value in values)
