"""Intervals against published examples and scipy's answers."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from agent_tracer.server.domain.statistics.intervals import (
    Interval,
    bounded_mean_interval,
    student_p_value,
    variance_interval,
    wilson,
)
from agent_tracer.server.domain.task_sums import Moments

SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=40)


@pytest.mark.parametrize(
    ("successes", "trials", "lower", "upper"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_limits_of_newcombe_1998a_table_1(
    successes: int, trials: int, lower: float, upper: float
) -> None:
    interval = wilson(successes, trials)
    assert (round(interval.lower, 4), round(interval.upper, 4)) == (lower, upper)


def test_wilson_knows_nothing_without_trials() -> None:
    assert wilson(0, 0) == Interval(0.0, 1.0)


@given(st.integers(1, 10_000).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials))))
def test_wilson_holds_the_share_and_stays_within_0_and_1(counts: tuple[int, int]) -> None:
    interval = wilson(*counts)
    assert 0 <= interval.lower <= counts[0] / counts[1] <= interval.upper <= 1


def test_p_value_is_two_sided_students() -> None:
    assert student_p_value(-2.1, 17.5) == pytest.approx(2 * scipy.stats.t.sf(2.1, 17.5))


def test_variance_interval_is_the_chi_square_one() -> None:
    interval = variance_interval(2.5, 12)
    assert interval.lower == pytest.approx(12 * 2.5 / scipy.stats.chi2.ppf(0.975, 12))
    assert interval.upper == pytest.approx(12 * 2.5 / scipy.stats.chi2.ppf(0.025, 12))


def test_binary_judgements_get_wilsons_interval() -> None:
    assert bounded_mean_interval(Moments.of([1.0] * 9 + [0.0])) == wilson(9, 10)


def test_a_few_equal_judgements_are_no_certainty() -> None:
    interval = bounded_mean_interval(Moments.of([0.8, 0.8, 0.8]))
    assert interval.lower < 0.6
    assert interval.upper > 0.9


def test_fine_judgements_tell_more_than_binary_ones_of_the_same_mean() -> None:
    fine, binary = bounded_mean_interval(Moments.of([0.4, 0.6] * 20)), wilson(20, 40)
    assert fine.upper - fine.lower < (binary.upper - binary.lower) / 2


@given(SCORES)
def test_a_bounded_mean_lies_in_its_interval_within_0_and_1(scores: list[float]) -> None:
    interval = bounded_mean_interval(Moments.of(scores))
    assert 0 <= interval.lower <= math.fsum(scores) / len(scores) + 1e-12
    assert math.fsum(scores) / len(scores) - 1e-12 <= interval.upper <= 1


def test_bounded_mean_intervals_cover() -> None:
    random = np.random.default_rng(1)
    held = 0
    for _ in range(2000):
        true, count = random.uniform(0.1, 0.9), int(random.integers(5, 60))
        drawn = random.beta(true * 6, (1 - true) * 6, count)
        held += true in bounded_mean_interval(Moments(count, drawn.sum(), (drawn * drawn).sum()))
    # 2,000 draws tell a share of .95 to within a point either way (two standard errors).
    assert 0.94 <= held / 2000 <= 0.98
