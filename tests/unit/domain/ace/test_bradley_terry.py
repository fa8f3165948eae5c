"""Strengths over types that only some agents share."""

import math

import numpy as np
import pytest

from agent_tracer.server.domain.ace.bradley_terry import Counts, strengths


def odds(rate: float) -> float:
    return math.log(rate / (1 - rate))


def test_two_agents_differ_by_their_log_odds() -> None:
    found = strengths([{"a": (8000, 10_000)}, {"a": (3000, 10_000)}])
    assert found.values[0] - found.values[1] == pytest.approx(odds(0.8) - odds(0.3), abs=1e-3)


def test_one_shared_type_gives_the_variance_of_a_log_odds_ratio() -> None:
    found = strengths([{"a": (80, 100)}, {"a": (30, 90)}])
    interval = found.difference(0, 1)
    # Woolf 1955: the sum of the reciprocals of the four counts.
    expected = 1 / 80 + 1 / 20 + 1 / 30 + 1 / 60
    assert ((interval.upper - interval.lower) / 2 / 1.959964) ** 2 == pytest.approx(expected, rel=0.05)


def test_an_agent_with_harder_types_is_not_held_to_be_worse() -> None:
    # All of the same strength; the third has only seen the hard type.
    found = strengths([{"easy": (900, 1000), "hard": (100, 1000)}, {"easy": (900, 1000)}, {"hard": (100, 1000)}])
    assert found.values == pytest.approx((0.0, 0.0, 0.0), abs=1e-6)
    assert found.scores == pytest.approx((0.5, 0.5, 0.5))


def test_agents_that_share_nothing_even_through_others_are_not_told_apart() -> None:
    found = strengths([{"a": (9, 10)}, {"a": (1, 10)}, {"b": (5, 10)}])
    assert not found.connected
    assert 0 in found.difference(0, 2)
    assert math.isinf(found.difference(0, 2).upper)
    assert found.scores[2] == 0.5


def test_errors_are_those_of_data_drawn_anew() -> None:
    random = np.random.default_rng(2)
    rates = {"x": (0.8, 0.6, None), "y": (0.7, None, 0.4), "z": (None, 0.3, 0.2)}

    def drawn() -> list[Counts]:
        return [
            {name: (int(random.binomial(200, each[agent])), 200) for name, each in rates.items() if each[agent]}  # type: ignore[arg-type]
            for agent in range(3)
        ]

    samples = np.array([strengths(drawn()).values for _ in range(400)])
    told = np.mean([np.diag(strengths(drawn()).covariance) for _ in range(20)], axis=0)
    # A variance of 400 draws is known to within 14 % (two standard errors).
    assert told == pytest.approx(samples.var(axis=0), rel=0.25)
