"""Fusion: a conditional logistic model over the components of an incident, and "none of them" beside them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from agent_tracer.server.domain.rca import coefficients
from agent_tracer.server.domain.rca.features import Features, Findings

NONE = ""
"""The name of the answer that no component is the cause."""

_PROBABILITY_MIN = 1e-6


@dataclass(frozen=True, slots=True)
class Model:
    """`weights` by feature; calibration: log odds of a confidence = `slope` * log odds of its share + `offset`."""

    weights: Mapping[str, float]
    slope: float
    offset: float


FITTED = Model(coefficients.WEIGHTS, coefficients.SLOPE, coefficients.OFFSET)


def shares(findings: Findings, model: Model) -> dict[str, float]:
    """Softmax of the scores (McFadden 1974): each component's, and that of `NONE`; they add up to 1."""
    scores = {component: _score(features, model) for component, features in findings.features.items()}
    scores[NONE] = _score(findings.nothing, model)
    highest = max(scores.values())
    parts = {component: math.exp(score - highest) for component, score in scores.items()}
    whole = sum(parts.values())
    return {component: part / whole for component, part in parts.items()}


def confidence(share: float, model: Model) -> float:
    """The share as a calibrated probability (Platt 1999)."""
    inside = min(max(share, _PROBABILITY_MIN), 1 - _PROBABILITY_MIN)
    odds = model.slope * math.log(inside / (1 - inside)) + model.offset
    return 1 / (1 + math.exp(-odds))


def _score(features: Features, model: Model) -> float:
    return sum(model.weights.get(name, 0.0) * value for name, value in features.items())
