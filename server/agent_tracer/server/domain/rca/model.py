"""Fusion: a conditional logistic model over the components of an incident, and "none of them" beside them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from agent_tracer.server.domain.rca import coefficients
from agent_tracer.server.domain.rca.alarm_model import fitted
from agent_tracer.server.domain.rca.alarm_words import RARE, WORD
from agent_tracer.server.domain.rca.features import Features, Findings

NONE = ""
"""The name of the answer that no component is the cause."""

WORDS_KNOWN_MIN: Final = 0.6
"""Share of an incident's words that a model must weigh for any of them to count: few shared names mean little."""

CONFIDENCE_MAX: Final = 0.99
"""None of the 605 incidents that the calibration was fitted to is of the caller's system: one in a hundred is left."""

_PROBABILITY_MIN = 1e-6


@dataclass(frozen=True, slots=True)
class Model:
    """`weights` by feature; calibration: log odds of a confidence = `slope` * log odds of its share + `offset`.

    Of incidents that are known by alarms only, by `alarm_slope` and `alarm_offset`: they are less sure.
    """

    weights: Mapping[str, float]
    slope: float
    offset: float
    alarm_slope: float = 1.0
    alarm_offset: float = 0.0


FITTED = Model(
    {**coefficients.WEIGHTS, **fitted().words},
    coefficients.SLOPE,
    coefficients.OFFSET,
    coefficients.ALARM_SLOPE,
    coefficients.ALARM_OFFSET,
)


def shares(findings: Findings, model: Model) -> dict[str, float]:
    """Softmax of the scores (McFadden 1974): each component's, and that of `NONE`; they add up to 1."""
    told = knows(findings, model)
    scores = {component: _score(features, model, told) for component, features in findings.features.items()}
    scores[NONE] = _score(findings.nothing, model, told)
    highest = max(scores.values())
    parts = {component: math.exp(score - highest) for component, score in scores.items()}
    whole = sum(parts.values())
    return {component: part / whole for component, part in parts.items()}


def confidence(share: float, model: Model, alarms: bool = False) -> float:  # noqa: FBT001, FBT002 - of a kind, no switch
    """The share as a calibrated probability (Platt 1999). `alarms`: whether they are all that is known."""
    inside = min(max(share, _PROBABILITY_MIN), 1 - _PROBABILITY_MIN)
    slope, offset = (model.alarm_slope, model.alarm_offset) if alarms else (model.slope, model.offset)
    odds = slope * math.log(inside / (1 - inside)) + offset
    return min(1 / (1 + math.exp(-odds)), CONFIDENCE_MAX)


def knows(findings: Findings, model: Model) -> bool:
    """Whether the alarms are called as in the systems that the model was fitted to."""
    words = {
        name.removesuffix(RARE) for features in findings.features.values() for name in features if name.startswith(WORD)
    }
    known = sum(word in model.weights or f"{word}{RARE}" in model.weights for word in words)
    return known >= WORDS_KNOWN_MIN * len(words)


def _score(features: Features, model: Model, words: bool) -> float:  # noqa: FBT001 - one private use
    counted = features.items() if words else [each for each in features.items() if not each[0].startswith(WORD)]
    return sum(model.weights.get(name, 0.0) * value for name, value in counted)
