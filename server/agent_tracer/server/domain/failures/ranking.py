"""A conditional logit over a run's steps, with fitted coefficients for each shape of run.

The chance of a step is exp(score) over the sum of all candidates' (McFadden 1974), so that only differences within the
run count. A second, monotone step (Platt 1999) turns the chance into a confidence.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final, Self

from agent_tracer.server.domain.failures.features import FEATURES
from agent_tracer.server.domain.failures.run import Run, Shape

MODEL_FILE: Final = "attribution_model.json"
_CHANCE_MIN: Final = 1e-6
_CHANCE_MAX: Final = 82 / 85
"""Of 85 labelled runs, those whose culprit was a candidate at all: of one candidate alone no more is known."""


class ModelError(ValueError):
    """The file of coefficients names a feature or a shape that there is not."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """Coefficients by shape and feature; confidence = 1 / (1 + exp(-(intercept + slope * log_odds(chance))))."""

    coefficients: Mapping[Shape, Mapping[str, float]]
    intercept: float = 0.0
    slope: float = 1.0

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote; raises ModelError where it does not fit this version's features."""
        found = json.loads(text)
        if set(found["coefficients"]) != set(Shape) or any(
            set(weights) - set(FEATURES) for weights in found["coefficients"].values()
        ):
            raise ModelError
        shapes = {Shape(shape): weights for shape, weights in found["coefficients"].items()}
        return cls(shapes, found["confidence"]["intercept"], found["confidence"]["slope"])

    def to_json(self) -> str:
        """Readable, the same for the same coefficients."""
        coefficients = {
            shape.value: {name: round(weight, 4) for name, weight in weights.items()}
            for shape, weights in self.coefficients.items()
        }
        confidence = {"intercept": round(self.intercept, 4), "slope": round(self.slope, 4)}
        return json.dumps({"coefficients": coefficients, "confidence": confidence}, indent=2) + "\n"

    def contributions(self, run: Run, at: int) -> dict[str, float]:
        """Each feature's part in a step's score."""
        weights = self.coefficients[run.shape]
        return {name: weight * float(FEATURES[name].value(run, at)) for name, weight in weights.items()}

    def confidence(self, chance: float) -> float:
        """Of the steps given this confidence, this share is the culprit's."""
        return 1 / (1 + math.exp(-(self.intercept + self.slope * log_odds(chance))))


def chances(scores: Sequence[float]) -> list[float]:
    """Softmax."""
    top = max(scores, default=0.0)
    raised = [math.exp(score - top) for score in scores]
    total = sum(raised)
    return [value / total for value in raised]


def log_odds(chance: float) -> float:
    """Natural logarithm of the odds, as the confidence takes them: of a chance within what can be known."""
    bounded = min(_CHANCE_MAX, max(_CHANCE_MIN, chance))
    return math.log(bounded / (1 - bounded))


@cache
def fitted() -> Ranking:
    """The coefficients that are part of the product."""
    return Ranking.from_json(files(__package__).joinpath(MODEL_FILE).read_text(encoding="utf-8"))
