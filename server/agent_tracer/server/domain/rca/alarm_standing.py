"""Where a component stands by its alarms: against its replicas, its own history and its place among the calls."""

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from agent_tracer.server.domain.rca.alarm_evidence import PEER_SHARE, SPREADING, WHOLE, surprise
from agent_tracer.server.domain.rca.alarm_words import plain
from agent_tracer.server.domain.rca.view import Alarm, IncidentView

ALONE: Final = f"{WHOLE}_alone"
"""The feature of the alarms that no replica shares: what befalls all replicas seldom began in one of them."""

LEVEL: Final = "alarm_level"
"""Begins the features of how seldom a component's alarms amount to as much."""

PLACE: Final = "alarm_place_"
"""Begins the features of a component's place in the call graph."""

GROUPS: Final[Mapping[str, frozenset[str]]] = {
    LEVEL: frozenset({"metric", "log", *SPREADING}),
    f"{LEVEL}_metric": frozenset({"metric"}),
    f"{LEVEL}_call": SPREADING,
    f"{LEVEL}_log": frozenset({"log"}),
}
"""Features by the channels whose alarms they add up."""

LEVEL_MIN: Final = 0.001
"""A share below it is not told from never."""

_REPLICA: Final = re.compile(r"[-_]?\d+$")


def levels(alarms: Sequence[Alarm]) -> dict[str, dict[str, float]]:
    """Per feature of `GROUPS` and component the length of the vector of its alarms' surprises."""
    squares: dict[str, dict[str, float]] = {name: defaultdict(float) for name in GROUPS}
    for alarm in alarms:
        square = surprise(alarm) ** 2
        for name, channels in GROUPS.items():
            if alarm.channel in channels:
                squares[name][alarm.component] += square
                if alarm.peer not in {"", alarm.component}:
                    squares[name][alarm.peer] += square * PEER_SHARE**2
    return {name: {key: math.sqrt(each) for key, each in found.items()} for name, found in squares.items()}


def standing(view: IncidentView) -> dict[str, dict[str, float]]:
    """Strengths by feature and component: of the alarms that are a component's alone, and of its levels."""
    strengths = {ALONE: levels(_alone(view.alarms))[LEVEL]}
    for name, shares in view.usual_levels.items():
        strengths[name] = {key: -math.log(max(share, LEVEL_MIN)) for key, share in shares.items()}
    return {name: each for name, each in strengths.items() if max(each.values(), default=0.0) > 0}


def places(view: IncidentView) -> dict[str, str]:
    """Whether a component is at the root, in the middle or a leaf of the calls, or in none; empty without alarms."""
    if not view.alarms:
        return {}
    pairs = {(edge.caller, edge.callee) for edge in view.edges if edge.caller != edge.callee}
    callers, callees = {caller for caller, _ in pairs}, {callee for _, callee in pairs}
    named = {(True, True): "middle", (True, False): "root", (False, True): "leaf", (False, False): "none"}
    return {name: f"{PLACE}{named[name in callers, name in callees]}" for name in view.components()}


def _alone(alarms: Sequence[Alarm]) -> list[Alarm]:
    """Those that were raised for one replica only; of a component without replicas all."""
    holders: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for alarm in alarms:
        holders[_of_service(alarm)].add(alarm.component)
    return [alarm for alarm in alarms if len(holders[_of_service(alarm)]) == 1]


def _of_service(alarm: Alarm) -> tuple[str, ...]:
    return _REPLICA.sub("", alarm.component), alarm.channel, plain(alarm), alarm.direction
