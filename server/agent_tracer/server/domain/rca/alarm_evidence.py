"""Alarms of other detectors as evidence: how many, and how rare among the components of this incident."""

import math
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from agent_tracer.server.domain.rca.evidence import Evidence
from agent_tracer.server.domain.rca.metric_evidence import kind_of
from agent_tracer.server.domain.rca.view import Alarm, IncidentView

USUAL_MIN: Final = 0.001
"""A share below it is not told from never, by as many incidents as anyone has."""

SIDES: Final = (
    ("_in", re.compile(r"dest|server|inbound|ingress|receive|recv|rx_|_in\b|_in_")),
    ("_out", re.compile(r"src|source|client|outbound|egress|tra\w*mit|sent|tx_|_out\b|_out_")),
)

_SPREADING: Final = frozenset({"latency", "error"})


def alarm_evidence(view: IncidentView) -> Iterator[Evidence]:
    """Per component and feature: the logarithm of the count, the sum of rarities, and of surprises, and the largest.

    An alarm's rarity is one over the number of components that the same alarm was raised for, its surprise the
    negative logarithm of how usual it is for the component.
    """
    holders: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for alarm in view.alarms:
        holders[_key(alarm)].add(alarm.component)
    counts: dict[tuple[str, str], int] = defaultdict(int)
    rarities: dict[tuple[str, str], float] = defaultdict(float)
    surprises: dict[tuple[str, str], list[float]] = defaultdict(list)
    names: dict[tuple[str, str], set[str]] = defaultdict(set)
    for alarm in view.alarms:
        for component, feature in _places(alarm):
            place = component, feature
            counts[place] += 1
            rarities[place] += 1 / len(holders[_key(alarm)])
            surprises[place].append(-math.log(max(alarm.usual, USUAL_MIN)))
            names[place].add(f"{alarm.name} {alarm.direction}".strip())
    for (component, feature), count in counts.items():
        subject = ", ".join(sorted(names[component, feature])[:3])
        said = f"{count} alarms: {subject}"
        channel = feature.split("_")[1]
        yield Evidence(component, channel, feature, math.log1p(count), subject, said, None, 0.0, count)
        rarity, surprise = rarities[component, feature], surprises[component, feature]
        for suffix, strength in (("rare", rarity), ("new", math.log1p(sum(surprise))), ("newest", max(surprise))):
            yield Evidence(component, channel, f"{feature}_{suffix}", strength, subject, said, None, 0.0, count)


def _key(alarm: Alarm) -> tuple[str, str, str]:
    return alarm.channel, alarm.name, alarm.direction


def _side(name: str) -> str:
    """Whether a metric is of what comes in (as server) or of what goes out (as client)."""
    return next((side for side, pattern in SIDES if pattern.search(name.lower())), "")


def _places(alarm: Alarm) -> Iterator[tuple[str, str]]:
    """Where an alarm counts, and as what: that of a call counts for both its ends, in different ways."""
    if alarm.channel == "metric":
        yield alarm.component, f"alarm_metric_{kind_of(alarm.name)}{_side(alarm.name)}_{alarm.direction or 'up'}"
    elif alarm.channel in _SPREADING and alarm.peer == alarm.component:
        yield alarm.component, f"alarm_{alarm.channel}_self"
    elif alarm.channel in _SPREADING:
        yield alarm.component, f"alarm_{alarm.channel}_in"
        if alarm.peer:
            yield alarm.peer, f"alarm_{alarm.channel}_out"
    else:
        yield alarm.component, f"alarm_{alarm.channel}"
