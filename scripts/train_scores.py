"""How well answers do that were given without having seen their incidents: a part of scripts/train.py."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent_tracer.server.domain.rca.model import Model, confidence
from tests.evaluation import rca_petshop
from tests.evaluation.rca_nezha import Case

THRESHOLD: Final = 0.3
COUNTS: Final = (1, 3, 5)
"""Among how many candidates, best first, the truth is looked for."""
BINS: Final = 5


@dataclass(frozen=True, slots=True)
class Outcome:
    """Rank of the truth (0: nothing was to be found), shares of the first component and of none, the first's name.

    `met`: what was known of the incident (`model.acquaintance`).
    """

    rank: int
    share: float
    none: float
    first: str
    met: str


@dataclass(frozen=True, slots=True)
class Score:
    """The answers to one system's incidents. `hits`: how many truths are among the first so many candidates.

    For windows in which nothing was wrong there are no hits, the calibration error is 0, and to abstain is right.
    """

    system: str
    count: int
    hits: Mapping[int, int]
    abstained: int
    calibration_error: float


def system_of(case: Case) -> str:
    """Its system; windows in which nothing was wrong are one of their own."""
    return f"{case.system} (quiet)" if is_quiet(case) else case.system


def is_quiet(case: Case) -> bool:
    """Whether nothing was wrong."""
    return case.truth == rca_petshop.QUIET


def scores(cases: Sequence[Case], outcomes: Sequence[Outcome], model: Model) -> list[Score]:
    """A score a system. `model`: only its calibration is used."""
    pairs = list(zip(cases, outcomes, strict=True))
    systems = dict.fromkeys(system_of(case) for case in cases)
    return [_score(system, [pair for pair in pairs if system_of(pair[0]) == system], model) for system in systems]


def _score(system: str, pairs: Sequence[tuple[Case, Outcome]], model: Model) -> Score:
    sure = [confidence(outcome.share, model, outcome.met) for _, outcome in pairs]
    abstained = sum(
        outcome.none > outcome.share or each < THRESHOLD for (_, outcome), each in zip(pairs, sure, strict=True)
    )
    ranks = np.array([outcome.rank for _, outcome in pairs])
    if not ranks.any():
        return Score(system, len(pairs), {}, abstained, 0.0)
    hits = {count: int((ranks <= count).sum()) for count in COUNTS}
    return Score(system, len(pairs), hits, abstained, calibration_error(np.array(sure), ranks == 1))


def calibration_error(confidences: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Expected calibration error over equal bins (Naeini et al. 2015)."""
    bins = np.minimum((confidences * BINS).astype(int), BINS - 1)
    return float(
        sum(
            abs(confidences[bins == at].mean() - right[bins == at].mean()) * (bins == at).mean()
            for at in set(bins.tolist())
        )
    )


def line(score: Score) -> str:
    """To be printed."""
    head = f"  {score.system:16} {score.count:4}  "
    silent = score.abstained / score.count
    if not score.hits:
        return f"{head}specificity {silent:.3f}"
    at = " ".join(f"@{count} {hits / score.count:.3f}" for count, hits in score.hits.items())
    return f"{head}{at}  calibration error {score.calibration_error:.3f}  abstained {silent:.3f}"
