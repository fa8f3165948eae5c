"""Fit the coefficients of failure attribution to labelled runs, and write them where the server reads them.

`python -m scripts.train_failures` needs the recorded runs (see tests/fixtures/recorded.py). Each shape of run has its
own few features and its own conditional logit with an L2 penalty; the runs are too few for more.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from agent_tracer.server.domain import failures
from agent_tracer.server.domain.failures.features import FEATURES
from agent_tracer.server.domain.failures.ranking import MODEL_FILE, Ranking, chances
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


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a shape's model may weigh, and how strongly it is held back."""

    features: Sequence[str]
    penalty: float


RECIPES: Final[Mapping[Shape, Recipe]] = {
    Shape.OPEN: Recipe(
        ("opens", "first_reply", "tool_error", "works", "used", "new_agent", "after_tool", "goes_on", "length"), 4.0
    ),
    Shape.LED: Recipe(("orchestrates", "worker_turn", "orchestrator_turn", "ends_in_error", "worker_concludes"), 3.0),
    Shape.SERVED: Recipe(("writes", "first_write", "last_write", "write_objected", "tool_error", "late"), 1.0),
}

CONFIDENCE_PENALTY: Final = 2.0
"""Holds the confidence to the chance itself: slope 1, intercept 0."""


@dataclass(frozen=True, slots=True)
class Example:
    """A run as a matrix (candidates x features), the row of its culprit, and its weight."""

    group: str
    shape: Shape
    rows: Numbers
    culprit: int
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
    """The runs whose label is a candidate of the agent that it names; runs recorded in two sets count half each."""
    groups = [(run.group, len(run.steps)) for run in runs]
    for run in runs:
        seen = Run.of(run.steps)
        rank = next((n for n, at in enumerate(seen.candidates) if seen.steps[at].index == run.step), None)
        if rank is None or not _same_agent(seen.steps[seen.candidates[rank]], run.agent):
            continue
        names = RECIPES[seen.shape].features
        rows = [[float(FEATURES[name].value(seen, at)) for name in names] for at in seen.candidates]
        weight = 1 / groups.count((run.group, len(run.steps)))
        yield Example(run.group, seen.shape, np.array(rows), rank, weight)


def fit_coefficients(found: Sequence[Example]) -> Ranking:
    """Maximum likelihood with an L2 penalty, for each shape by itself."""
    coefficients = {
        shape: dict(zip(recipe.features, _conditional_logit(_of(found, shape), recipe).tolist(), strict=True))
        for shape, recipe in RECIPES.items()
    }
    return Ranking(coefficients)


def fit_confidence(answers: Sequence[tuple[float, bool]]) -> tuple[float, float]:
    """Intercept and slope by (chance of the first candidate, whether it was the culprit)."""
    logits = np.array([math.log(chance / (1 - chance)) for chance, _ in answers])
    right = np.array([float(hit) for _, hit in answers])

    def loss(at: Numbers) -> float:
        score = at[0] + at[1] * logits
        held = CONFIDENCE_PENALTY / 2 * (at[0] ** 2 + (at[1] - 1) ** 2)
        return float((np.logaddexp(0, score) - right * score).sum() + held)

    intercept, slope = minimize(loss, np.array([0.0, 1.0])).x
    return float(intercept), float(slope)


def _held_out(found: Sequence[Example]) -> Iterator[tuple[float, bool]]:
    for group in sorted({example.group for example in found}):
        ranking = fit_coefficients([example for example in found if example.group != group])
        for example in (example for example in found if example.group == group):
            weights = np.array(list(ranking.coefficients[example.shape].values()))
            by_rank = chances((example.rows @ weights).tolist())
            first = max(range(len(by_rank)), key=by_rank.__getitem__)
            if len(by_rank) > 1:
                yield by_rank[first], first == example.culprit


def _conditional_logit(found: Sequence[Example], recipe: Recipe) -> Numbers:
    width, height = len(recipe.features), max((len(example.rows) for example in found), default=1)
    rows, absent = np.zeros((len(found), height, width)), np.full((len(found), height), -np.inf)
    for at, example in enumerate(found):
        rows[at, : len(example.rows)], absent[at, : len(example.rows)] = example.rows, 0.0
    culprits = (np.arange(len(found)), np.array([example.culprit for example in found], int))
    weights = np.array([example.weight for example in found])

    def loss(at: Numbers) -> tuple[float, Numbers]:
        scores = rows @ at + absent
        scores -= scores.max(axis=1, keepdims=True)
        chance = np.exp(scores)
        total = chance.sum(axis=1)
        value = -(weights * (scores[culprits] - np.log(total))).sum()
        expected = np.einsum("nl,nlk->nk", chance / total[:, None], rows)
        slope = -(weights[:, None] * (rows[culprits] - expected)).sum(axis=0)
        return float(value + recipe.penalty / 2 * at @ at), slope + recipe.penalty * at

    return np.array(minimize(loss, np.zeros(width), jac=True, method="L-BFGS-B").x) if found else np.zeros(width)


def _of(found: Sequence[Example], shape: Shape) -> list[Example]:
    return [example for example in found if example.shape is shape]


def _same_agent(step: Step, agent: str) -> bool:
    return step.actor.lower() == agent.lower()


def main() -> None:
    """Write the coefficients by all recorded runs."""
    from tests.evaluation.failures_runs import all_runs  # noqa: PLC0415 - the data are not part of the project

    path = Path(failures.__path__[0]) / MODEL_FILE
    path.write_text(fit(all_runs()).to_json(), encoding="utf-8")


if __name__ == "__main__":
    main()
