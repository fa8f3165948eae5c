"""Alarms of other detectors as evidence: how many, how rare in this incident, and how unusual for their component."""

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
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

SPREADING: Final = frozenset({"latency", "error"})
"""Channels whose alarms are of calls, which have two ends."""

PEER_SHARE: Final = 0.5
"""Of a call's alarm its caller takes over half: as often as not the cause is there."""

WHOLE: Final = "alarm_all"
"""The feature of all a component's alarms together, which means the same in every system."""


def alarm_evidence(view: IncidentView) -> Iterator[Evidence]:
    """Per component and feature: the logarithm of the count, the sum of rarities, and the largest surprise.

    An alarm's rarity is one over the number of components that the same alarm was raised for.
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
            surprises[place].append(surprise(alarm))
            names[place].add(f"{alarm.name} {alarm.direction}".strip())
    for (component, feature), count in counts.items():
        subject = ", ".join(sorted(names[component, feature])[:3])
        said = f"{count} alarms: {subject}"
        channel = feature.split("_")[1]
        yield Evidence(component, channel, feature, math.log1p(count), subject, said, None, 0.0, count)
        rarity = rarities[component, feature]
        for suffix, strength in (("rare", rarity), ("newest", max(surprises[component, feature]))):
            yield Evidence(component, channel, f"{feature}_{suffix}", strength, subject, said, None, 0.0, count)
    yield from _whole(view, holders)


def surprise(alarm: Alarm) -> float:
    """The negative logarithm of how usual the alarm is for its component."""
    return -math.log(max(alarm.usual, USUAL_MIN))


def _whole(view: IncidentView, holders: Mapping[tuple[str, str, str], set[str]]) -> Iterator[Evidence]:
    """Per component the length of the vector of its alarms' surprises, and of those by rarity."""
    squares: dict[str, float] = defaultdict(float)
    rare: dict[str, float] = defaultdict(float)
    named: dict[str, dict[str, float]] = defaultdict(dict)
    for alarm in view.alarms:
        new = surprise(alarm)
        ends = ((alarm.component, 1.0), (alarm.peer if alarm.peer != alarm.component else "", PEER_SHARE))
        for component, share in ends:
            if component:
                squares[component] += (new * share) ** 2
                rare[component] += (new * share / len(holders[_key(alarm)])) ** 2
                named[component][f"{alarm.name} {alarm.direction}".strip()] = new
    for component, square in squares.items():
        leading = sorted(named[component], key=lambda name: (-named[component][name], name))
        said = f"{len(leading)} kinds of alarms, the most unusual: {', '.join(leading[:3])}"
        for feature, strength in ((WHOLE, square), (f"{WHOLE}_rare", rare[component])):
            yield Evidence(component, "alarm", feature, math.sqrt(strength), leading[0], said)


def _key(alarm: Alarm) -> tuple[str, str, str]:
    return alarm.channel, alarm.name, alarm.direction


def _side(name: str) -> str:
    """Whether a metric is of what comes in (as server) or of what goes out (as client)."""
    return next((side for side, pattern in SIDES if pattern.search(name.lower())), "")


def _places(alarm: Alarm) -> Iterator[tuple[str, str]]:
    """Where an alarm counts, and as what: that of a call counts for both its ends, in different ways."""
    if alarm.channel == "metric":
        yield alarm.component, f"alarm_metric_{kind_of(alarm.name)}{_side(alarm.name)}_{alarm.direction or 'up'}"
    elif alarm.channel in SPREADING and alarm.peer == alarm.component:
        yield alarm.component, f"alarm_{alarm.channel}_self"
    elif alarm.channel in SPREADING:
        yield alarm.component, f"alarm_{alarm.channel}_in"
        if alarm.peer:
            yield alarm.peer, f"alarm_{alarm.channel}_out"
    else:
        yield alarm.component, f"alarm_{alarm.channel}"
