"""What kind of fault a component's alarms tell of: a multinomial logistic model for each set of kinds that is known."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Final

from agent_tracer.server.domain.rca.alarm_model import Taxonomy, fitted
from agent_tracer.server.domain.rca.alarm_words import WORD, case_words, words
from agent_tracer.server.domain.rca.features import RANK, Features
from agent_tracer.server.domain.rca.view import IncidentView

KNOWN_MIN: Final = 0.5
"""Share of an incident's alarm names that a taxonomy must have met: kinds of faults are a system's own words."""

OWN: Final = "own "
CASE: Final = "case "
_CLASSES: Final = (
    ("memory", r"mem|oom|heap"),
    ("cpu", r"cpu|load"),
    ("disk", r"disk|file|storage|\bio\b"),
    ("network", r"net|packet|delay|loss|corrupt"),
    ("down", r"kill|crash|restart|pod|container|down"),
    ("exception", r"login|auth|error|exception|fail"),
)
"""Signatures (`signatures.SIGNATURES`) by what a kind of fault is called; the first that fits."""


TAXONOMIES: Final = tuple(fitted().taxonomies.values())


def fault_type(
    view: IncidentView, component: str, relative: Features, taxonomies: Sequence[Taxonomy] = TAXONOMIES
) -> tuple[str, float]:
    """The likeliest kind with its probability, in the words of the taxonomy that knows most of the alarms' names.

    `relative`: the component's features, of `features.gather`. ("", 0.0) where no taxonomy knows half of the names.
    """
    names = case_words(view).keys()
    shares = [len(names & taxonomy.known) / max(len(names), 1) for taxonomy in taxonomies]
    if max(shares, default=0.0) < KNOWN_MIN:
        return "", 0.0
    chances = chances_of(type_features(view, component, relative), taxonomies[shares.index(max(shares))])
    best = max(chances, key=lambda kind: (chances[kind], kind))
    return best, chances[best]


def type_features(view: IncidentView, component: str, relative: Features) -> dict[str, float]:
    """What is said of the component, how often each word is in the whole incident, and the relative features."""
    found = {f"{OWN}{word}": 1.0 for alarm in view.alarms for about, word in words(alarm) if about == component}
    found |= {f"{CASE}{word}": value for word, value in case_words(view).items()}
    return found | {
        name: value for name, value in relative.items() if not name.startswith(WORD) and not name.endswith(RANK)
    }


def chances_of(features: Mapping[str, float], taxonomy: Taxonomy) -> dict[str, float]:
    """Probability of each kind (softmax); they add up to 1."""
    scores = dict(taxonomy.intercepts)
    for feature, value in features.items():
        for kind, weight in taxonomy.weights.get(feature, {}).items():
            scores[kind] += weight * value
    highest = max(scores.values())
    parts = {kind: math.exp(score - highest) for kind, score in scores.items()}
    whole = sum(parts.values())
    return {kind: part / whole for kind, part in parts.items()}


def signature_of(kind: str) -> str:
    """The name of the signature that a kind of fault is an instance of, empty where none is."""
    return next((name for name, called in _CLASSES if re.search(called, kind, re.IGNORECASE)), "")
