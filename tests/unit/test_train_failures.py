"""How attribution's coefficients and confidence come from labelled runs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

import numpy as np
import pytest

from agent_tracer.server.domain.failures.run import Shape
from agent_tracer.server.domain.failures.steps import Step
from scripts.train_failures import Example, examples, fit_coefficients, fit_confidence, fit_examples

WIDTH = 5


@dataclass(frozen=True)
class Blamed:
    group: str
    steps: Sequence[Step]
    agent: str
    step: int


def talk(agents: Sequence[str]) -> list[Step]:
    return [Step(n, f"{n:016x}", agent, output=f"said by {agent} at {n}") for n, agent in enumerate(agents)]


def example(group: int, culprit: int | None, seed: int) -> Example:
    """Six candidates with noise for figures; the culprit's second figure is 1."""
    drawn = Random(seed)
    rows = np.array([[drawn.random() for _ in range(WIDTH)] for _ in range(6)])
    rows[:, 1] = 0.0
    if culprit is not None:
        rows[culprit, 1] = 1.0
    return Example(f"task-{group}", Shape.OPEN, rows, culprit, 1.0)


def runs(missed: int = 0) -> list[Example]:
    found = [example(n, n % 6, n) for n in range(30)]
    return found + [example(100 + n, None, n) for n in range(missed)]


def test_what_marks_the_culprit_weighs_most() -> None:
    weights = list(fit_coefficients(runs()).coefficients[Shape.OPEN].values())

    assert max(range(WIDTH), key=lambda at: abs(weights[at])) == 1
    assert weights[1] > 0


def test_the_unit_of_a_feature_changes_no_score() -> None:
    found = runs()
    scale = np.array([1.0, 50.0, 0.5, 8.0, 2.0])
    other = [replace(one, rows=one.rows * scale) for one in found]

    weights = np.array(list(fit_coefficients(found).coefficients[Shape.OPEN].values()))
    scaled = np.array(list(fit_coefficients(other).coefficients[Shape.OPEN].values()))

    assert scaled * scale == pytest.approx(weights, abs=1e-6)


def test_a_feature_that_never_differs_within_a_run_weighs_nothing() -> None:
    found = runs()
    for one in found:
        one.rows[:, 3] = 0.7

    assert fit_coefficients(found).coefficients[Shape.OPEN]["length"] == pytest.approx(0.0, abs=1e-9)


def test_a_label_that_is_no_candidate_of_its_agent_teaches_nothing() -> None:
    steps = talk(["a", "b", "a", "b"])
    right, wrong_agent, beyond = examples(
        [Blamed("1", steps, "B", 1), Blamed("2", steps, "a", 1), Blamed("3", steps, "a", 9)]
    )

    assert (right.culprit, wrong_agent.culprit, beyond.culprit) == (1, None, None)
    assert fit_coefficients([right, wrong_agent, beyond]) == fit_coefficients([right])


def test_runs_that_no_answer_gets_right_lower_the_confidence() -> None:
    sure, humbled = fit_examples(runs()), fit_examples(runs(missed=20))

    assert humbled.coefficients == sure.coefficients
    assert humbled.confidence(0.5) < sure.confidence(0.5)


def test_the_same_run_recorded_twice_counts_once() -> None:
    steps = talk(["a", "b", "a"])

    twice = list(examples([Blamed("1", steps, "a", 0), Blamed("1", steps, "b", 1), Blamed("2", steps, "a", 2)]))

    assert [one.weight for one in twice] == [0.5, 0.5, 1.0]


def test_confidence_follows_how_often_a_chance_was_right() -> None:
    drawn = Random(0)
    answers = [(chance, drawn.random() < chance / 2) for chance in (0.2, 0.4, 0.6, 0.8) for _ in range(500)]
    intercept, slope = fit_confidence(answers)

    assert 1 / (1 + np.exp(-(intercept + slope * np.log(0.6 / 0.4)))) == pytest.approx(0.3, abs=0.05)
