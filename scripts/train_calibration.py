"""Makes the shares of cross-validated answers probabilities: a part of scripts/train.py."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from agent_tracer.server.domain.rca.model import KNOWN, STRANGE, TELEMETRY, Model
from scripts.train_scores import Outcome

RIDGE_PLATT: Final = 2.0
"""Towards shares being the confidences, which a few dozen incidents are not to move far."""


def calibrated(by_group: Sequence[Outcome], by_system: Sequence[Outcome]) -> Model:
    """A model of calibrations alone: that of telemetry by answers to systems that were met and to others.

    Where "none" has the larger share no answer is given, so that none of those counts.
    """
    met = {TELEMETRY: [*by_group, *by_system], STRANGE: by_system, KNOWN: by_group}
    return Model({}, {}, {kind: platt([each for each in met[kind] if _counts(each, kind)]) for kind in met})


def _counts(outcome: Outcome, kind: str) -> bool:
    return outcome.none <= outcome.share and (outcome.met == TELEMETRY) == (kind == TELEMETRY)


def platt(outcomes: Sequence[Outcome]) -> tuple[float, float]:
    """Slope and offset that make shares of cross-validated first answers probabilities."""
    shares = np.clip([outcome.share for outcome in outcomes], 1e-6, 1 - 1e-6)
    odds, right = np.log(shares / (1 - shares)), np.array([outcome.rank == 1 for outcome in outcomes], dtype=float)

    def loss(point: NDArray[np.float64]) -> float:
        scores = point[0] * odds + point[1]
        away = point - np.array([1.0, 0.0])
        return float((np.logaddexp(0, scores) - right * scores).sum() + RIDGE_PLATT * away @ away / 2)

    found: Any = minimize(loss, np.array([1.0, 0.0]), bounds=[(0.1, 5.0), (-5.0, 5.0)])
    return float(found.x[0]), float(found.x[1])
