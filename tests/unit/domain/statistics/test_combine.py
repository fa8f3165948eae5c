"""Intervals of sums and differences."""

import math

import pytest

from agent_tracer.server.domain.statistics.combine import Part, difference, share, weighted_mean
from agent_tracer.server.domain.statistics.intervals import Interval


@pytest.mark.parametrize(
    ("counts", "lower", "upper"),
    [
        ((56, 70, 48, 80), 0.0524, 0.3339),
        ((9, 10, 3, 10), 0.1705, 0.8090),
        ((10, 10, 0, 10), 0.6075, 1.0),
        ((5, 56, 0, 29), -0.0381, 0.1926),
    ],
)
def test_newcombe_gives_the_limits_of_newcombe_1998b_table_2(
    counts: tuple[int, int, int, int], lower: float, upper: float
) -> None:
    interval = difference(share(*counts[:2]), share(*counts[2:]))
    assert (interval.lower, interval.upper) == pytest.approx((lower, upper), abs=6e-5)


def test_a_mean_of_independent_parts_recovers_their_variances() -> None:
    first, second = Part(1.0, Interval(0.7, 1.6), 3.0), Part(5.0, Interval(4.6, 5.2), 1.0)
    mean = weighted_mean([first, second])
    assert mean.value == 2.0
    assert mean.interval.lower == pytest.approx(2.0 - math.hypot(0.75 * 0.3, 0.25 * 0.4))
    assert mean.interval.upper == pytest.approx(2.0 + math.hypot(0.75 * 0.6, 0.25 * 0.2))


def test_parts_that_err_as_one_add_their_distances() -> None:
    parts = [Part(0.5, Interval(0.4, 0.6)), Part(0.7, Interval(0.5, 0.8))]
    interval = weighted_mean(parts, lambda *_: 1.0).interval
    assert (interval.lower, interval.upper) == pytest.approx((0.45, 0.70))


def test_a_mean_of_one_part_is_the_part() -> None:
    part = share(3, 7)
    assert weighted_mean([part]).interval.lower == pytest.approx(part.interval.lower)


def test_a_difference_turns_round_with_its_sides() -> None:
    one, other = share(9, 10), share(3, 10)
    forth, back = difference(one, other), difference(other, one)
    assert (forth.lower, forth.upper) == pytest.approx((-back.upper, -back.lower))
