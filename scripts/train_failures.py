"""Fit the coefficients of failure attribution to labelled runs, and write them where the server reads them.

`python -m scripts.train_failures` needs the recorded runs (see tests/fixtures/recorded.py). Each shape of run has its
own few features and its own conditional logit with an L2 penalty; the runs are too few for more. Features are taken for
their meaning: those that fit best out of many answer left-out runs worse.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from agent_tracer.server.domain import failures
from agent_tracer.server.domain.failures.features import FEATURES
from agent_tracer.server.domain.failures.ranking import MODEL_FILE, Ranking, chances, log_odds
from agent_tracer.server.domain.failures.run import Run, Shape
from agent_tracer.server.domain.failures.steps import Step

Numbers = NDArray[np.float64]


class Labelled(Protocol):
    """A failed run with the index of the step that people blame. Runs of one task are one group."""

    @property
    def group(self) -> str:
        """The task."""

    @property
    def steps(self) -> Sequence[Step]:
        """In time order."""

    @property
    def agent(self) -> str:
        """Who is blamed."""

    @property
    def step(self) -> int:
        """The index of the step that is blamed."""


RECIPES: Final[Mapping[Shape, Sequence[str]]] = {
    Shape.OPEN: ("first_reply", "works", "after_tool", "length", "last_error"),
    Shape.LED: ("orchestrates", "late", "cut_short", "worker_concludes", "says_little", "used"),
    Shape.SERVED: ("writes", "first_write", "write_objected", "write_before_failure", "late"),
}
"""What a shape's model may weigh."""

PENALTY: Final = 8.0
"""Holds each coefficient, in units of its feature's spread within runs, so that the unit of a feature is no matter."""

SPREAD_MIN: Final = 0.01
"""A feature that is nearly the same throughout every run is not blown up."""

CONFIDENCE_PENALTY: Final = 2.0
"""Holds the confidence to the chance itself: slope 1, intercept 0."""


_NEWTON_STEPS_MAX: Final = 50
_NEWTON_TOLERANCE: Final = 1e-8


@dataclass(frozen=True, slots=True)
class Example:
    """A run as a matrix (candidates x features), the row of its culprit, and its weight.

    `culprit` is None where the label is no candidate: nothing to learn from, but an answer that is wrong all the same.
    """

    group: str
    shape: Shape
    rows: Numbers
    culprit: int | None
    weight: float


def fit(runs: Sequence[Labelled]) -> Ranking:
    """Coefficients by all runs; the confidence by the chances that each run gets from a fit without its group."""
    return fit_examples(list(examples(runs)))


def fit_examples(found: Sequence[Example]) -> Ranking:
    """As `fit`, by runs that have been looked at already."""
    ranking = fit_coefficients(found)
    intercept, slope = fit_confidence(list(_held_out(found)))
    return Ranking(ranking.coefficients, intercept, slope)


def examples(runs: Sequence[Labelled]) -> Iterator[Example]:
    """Each run; its culprit is None where the label is no candidate of the agent that it names.

    Runs recorded in two sets count half each.
    """
    groups = [(run.group, len(run.steps)) for run in runs]
    for run in runs:
        seen = Run.of(run.steps)
        labelled = (
            rank
            for rank, at in enumerate(seen.candidates)
            if seen.steps[at].index == run.step and _same_agent(seen.steps[at], run.agent)
        )
        rows = [[float(FEATURES[name].value(seen, at)) for name in RECIPES[seen.shape]] for at in seen.candidates]
        weight = 1 / groups.count((run.group, len(run.steps)))
        yield Example(run.group, seen.shape, np.array(rows), next(labelled, None), weight)


def fit_coefficients(found: Sequence[Example]) -> Ranking:
    """Maximum likelihood with an L2 penalty, for each shape by itself."""
    return Ranking({shape: _coefficients(found, shape) for shape in RECIPES})


def fit_confidence(answers: Sequence[tuple[float, bool]]) -> tuple[float, float]:
    """Intercept and slope by (chance of the first candidate, whether it was the culprit)."""
    logits = np.array([log_odds(chance) for chance, _ in answers])
    right = np.array([float(hit) for _, hit in answers])

    def loss(at: Numbers) -> float:
        score = at[0] + at[1] * logits
        held = CONFIDENCE_PENALTY / 2 * (at[0] ** 2 + (at[1] - 1) ** 2)
        return float((np.logaddexp(0, score) - right * score).sum() + held)

    intercept, slope = minimize(loss, np.array([0.0, 1.0])).x
    return float(intercept), float(slope)


def _held_out(found: Sequence[Example]) -> Iterator[tuple[float, bool]]:
    for group, shape in sorted({(example.group, example.shape) for example in found}):
        coefficients = _coefficients([example for example in found if example.group != group], shape)
        weights = np.array(list(coefficients.values()))
        for example in found:
            if (example.group, example.shape) != (group, shape) or len(example.rows) < 2:  # noqa: PLR2004 - no choice
                continue
            by_rank = chances((example.rows @ weights).tolist())
            first = max(range(len(by_rank)), key=by_rank.__getitem__)
            yield by_rank[first], first == example.culprit


def _coefficients(found: Sequence[Example], shape: Shape) -> dict[str, float]:
    learnt = [example for example in found if example.shape is shape and example.culprit is not None]
    if not learnt:
        return dict.fromkeys(RECIPES[shape], 0.0)
    within = np.mean([example.rows.var(axis=0) for example in learnt], axis=0)
    spread = np.maximum(np.sqrt(within), SPREAD_MIN)
    return dict(zip(RECIPES[shape], (_conditional_logit(learnt, spread) / spread).tolist(), strict=True))


def _conditional_logit(found: Sequence[Example], spread: Numbers) -> Numbers:
    """Newton's method: the penalised likelihood is concave, and its curvature small to write down."""
    width, height = len(spread), max(len(example.rows) for example in found)
    rows, absent = np.zeros((len(found), height, width)), np.full((len(found), height), -np.inf)
    for at, example in enumerate(found):
        rows[at, : len(example.rows)], absent[at, : len(example.rows)] = example.rows / spread, 0.0
    blamed = np.array([rows[at, example.culprit] for at, example in enumerate(found)])
    weights = np.array([example.weight for example in found])
    fitted = np.zeros(width)
    for _ in range(_NEWTON_STEPS_MAX):
        scores = rows @ fitted + absent
        chance = np.exp(scores - scores.max(axis=1, keepdims=True))
        chance *= weights[:, None] / chance.sum(axis=1, keepdims=True)
        expected = np.einsum("nl,nlk->nk", chance, rows)
        slope = weights @ blamed - expected.sum(axis=0) - PENALTY * fitted
        squares = (chance[..., None] * rows).reshape(-1, width).T @ rows.reshape(-1, width)
        step = np.linalg.solve(squares - expected.T @ (expected / weights[:, None]) + PENALTY * np.eye(width), slope)
        fitted = fitted + step
        if np.abs(step).max() < _NEWTON_TOLERANCE:
            break
    return fitted


def _same_agent(step: Step, agent: str) -> bool:
    return step.actor.lower() == agent.lower()


def main() -> None:
    """Write the coefficients by all recorded runs."""
    from tests.evaluation.failures_runs import all_runs  # noqa: PLC0415 - the data are not part of the project

    path = Path(failures.__path__[0]) / MODEL_FILE
    path.write_text(fit(all_runs()).to_json(), encoding="utf-8")


if __name__ == "__main__":
    main()
