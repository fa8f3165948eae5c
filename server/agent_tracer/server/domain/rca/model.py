"""Fusion: a conditional logistic model over the components of an incident, and "none of them" beside them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from agent_tracer.server.domain.rca import coefficients
from agent_tracer.server.domain.rca.alarm_model import fitted
from agent_tracer.server.domain.rca.alarm_words import RARE, WORD
from agent_tracer.server.domain.rca.features import Features, Findings
from agent_tracer.server.domain.rca.view import IncidentView

NONE = ""
"""The name of the answer that no component is the cause."""

WORDS_KNOWN_MIN: Final = 0.6
"""Share of an incident's words that a model must weigh for `known` to count: few shared names mean little."""

CONFIDENCE_MAX: Final = 0.99
"""None of the 605 incidents that the calibration was fitted to is of the caller's system: one in a hundred is left."""

_PROBABILITY_MIN = 1e-6


TELEMETRY: Final = "telemetry"
KNOWN: Final = "known"
STRANGE: Final = "strange"
"""What is known of an incident: telemetry, or only alarms, in words that the model has met or in others."""


@dataclass(frozen=True, slots=True)
class Model:
    """`weights` by feature, and `known`: what is added to them where the alarms' words are known.

    `calibrations`: slope and offset by what is known of the incident;
    log odds of a confidence = slope * log odds of its share + offset.
    """

    weights: Mapping[str, float]
    known: Mapping[str, float] = field(default_factory=dict)
    calibrations: Mapping[str, tuple[float, float]] = field(default_factory=dict)


FITTED = Model(coefficients.WEIGHTS, fitted().known, coefficients.CALIBRATIONS)


def shares(findings: Findings, model: Model) -> dict[str, float]:
    """Softmax of the scores (McFadden 1974): each component's, and that of `NONE`; they add up to 1."""
    told = knows(findings, model)
    scores = {component: _score(features, model, told) for component, features in findings.features.items()}
    scores[NONE] = _score(findings.nothing, model, told)
    highest = max(scores.values())
    parts = {component: math.exp(score - highest) for component, score in scores.items()}
    whole = sum(parts.values())
    return {component: part / whole for component, part in parts.items()}


def confidence(share: float, model: Model, acquaintance: str = TELEMETRY) -> float:
    """The share as a calibrated probability (Platt 1999). `acquaintance`: of `acquaintance`."""
    inside = min(max(share, _PROBABILITY_MIN), 1 - _PROBABILITY_MIN)
    slope, offset = model.calibrations.get(acquaintance, (1.0, 0.0))
    odds = slope * math.log(inside / (1 - inside)) + offset
    return min(1 / (1 + math.exp(-odds)), CONFIDENCE_MAX)


def acquaintance(view: IncidentView, findings: Findings, model: Model) -> str:
    """`TELEMETRY`, `KNOWN` or `STRANGE`."""
    if not view.alarms or view.metrics or view.logs or view.services:
        return TELEMETRY
    return KNOWN if knows(findings, model) else STRANGE


def knows(findings: Findings, model: Model) -> bool:
    """Whether the alarms are called as in the systems that the model was fitted to."""
    words = {
        name.removesuffix(RARE) for features in findings.features.values() for name in features if name.startswith(WORD)
    }
    known = sum(word in model.known or f"{word}{RARE}" in model.known for word in words)
    return known >= WORDS_KNOWN_MIN * len(words) > 0


def _score(features: Features, model: Model, known: bool) -> float:  # noqa: FBT001 - one private use
    score = sum(model.weights.get(name, 0.0) * value for name, value in features.items())
    return score + known * sum(model.known.get(name, 0.0) * value for name, value in features.items())
