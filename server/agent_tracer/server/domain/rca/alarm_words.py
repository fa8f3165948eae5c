"""What alarms are called, as features: names that a system's own incidents have given a meaning.

They say nothing in a system whose alarms have other names: there the relative features decide alone.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Final

from agent_tracer.server.domain.rca.alarm_evidence import SPREADING, surprise
from agent_tracer.server.domain.rca.view import Alarm, IncidentView

WORD: Final = "word "
"""Begins the names of these features."""

RARE: Final = ".rare"
"""Ends the name of a word's second feature: its surprise, over the number of components that have it."""

RARE_UNIT: Final = 2.0
"""Surprises are divided by it: a common one is then about 1, as being there is."""

_HOST: Final = re.compile(r"^\w+://[^/]*")
_LABEL: Final = re.compile(r"[\w.-]*-(\d+)")
"""A log template that is called by a component and a number: whatever the component is called by now."""

_DIGITS: Final = re.compile(r"\d+")


def word_features(view: IncidentView) -> Mapping[str, Mapping[str, float]]:
    """Per component and word: 1, and the largest surprise by how many components share the word."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for alarm in view.alarms:
        for component, word in words(alarm):
            found[component][word] = max(found[component].get(word, 0.0), surprise(alarm))
    holders = Counter(word for own in found.values() for word in own)
    return {component: dict(_values(own, holders)) for component, own in found.items()}


def _values(own: Mapping[str, float], holders: Mapping[str, int]) -> Iterator[tuple[str, float]]:
    for word, new in own.items():
        yield f"{WORD}{word}", 1.0
        yield f"{WORD}{word}{RARE}", new / RARE_UNIT / holders[word]


def words(alarm: Alarm) -> Iterator[tuple[str, str]]:
    """The components that an alarm is about, each with what it says of it; that of a call speaks of both its ends."""
    name = plain(alarm)
    if alarm.channel not in SPREADING:
        yield alarm.component, f"{alarm.channel} {name} {alarm.direction}".strip()
    elif alarm.peer == alarm.component:
        yield alarm.component, f"{alarm.channel} in itself {name}"
    else:
        yield alarm.component, f"{alarm.channel} as server {name}"
        if alarm.peer:
            yield alarm.peer, f"{alarm.channel} as client {name}"


def plain(alarm: Alarm) -> str:
    """The alarm's name without what is particular to one component: its own name, a host, numbers (of cores, disks).

    A log template that is only a number keeps it: it is the template's name.
    """
    own = alarm.name.startswith(alarm.component)
    name = alarm.name.removeprefix(alarm.component).lstrip("-_./ ") if own else _HOST.sub("", alarm.name)
    if alarm.channel == "log":
        label = _LABEL.fullmatch(name)
        return (label[1] if label else name) or alarm.name
    return _DIGITS.sub("#", name) or alarm.name


def case_words(view: IncidentView) -> Mapping[str, float]:
    """The words of a whole incident: logarithm of how many alarms say each, at most 1.5."""
    counts = Counter(word for alarm in view.alarms for _, word in words(alarm))
    return {word: min(math.log1p(count), 3.0) / 2 for word, count in counts.items()}
