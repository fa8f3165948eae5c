"""Shares over strata."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_tracer.server.domain.statistics.combine import difference, share
from agent_tracer.server.domain.statistics.intervals import normal_quantile, normal_share, wilson
from agent_tracer.server.domain.statistics.strata import (
    Stratum,
    stratified_newcombe,
    stratified_p_value,
    stratified_wilson,
)

Z = normal_quantile()


def strata(*counts: tuple[int, int]) -> list[Stratum]:
    total = sum(trials for _, trials in counts)
    return [Stratum(successes, trials, trials / total) for successes, trials in counts]


def test_one_stratum_gives_wilsons_and_newcombes_limits() -> None:
    held = stratified_wilson(strata((56, 70)), Z)
    assert held.limits.lower == pytest.approx(wilson(56, 70).lower)
    found = stratified_newcombe(strata((56, 70)), strata((48, 80)), Z)
    expected = difference(share(56, 70), share(48, 80))
    assert (found.lower, found.upper) == pytest.approx((expected.lower, expected.upper))


def test_equal_strata_are_as_good_as_one() -> None:
    apart, together = stratified_wilson(strata((8, 10), (8, 10), (8, 10)), Z), stratified_wilson(strata((24, 30)), Z)
    assert (apart.limits.lower, apart.limits.upper) == pytest.approx((together.limits.lower, together.limits.upper))


def test_many_strata_of_few_trials_that_all_succeed_do_not_shrink_the_interval_to_nothing() -> None:
    held = stratified_wilson(strata(*[(3, 3)] * 24), Z)
    assert held.limits.lower == pytest.approx(wilson(72, 72).lower)
    assert held.variance > 0


def test_a_shift_between_strata_alone_is_no_difference() -> None:
    easy_first = [Stratum(90, 100, 0.5), Stratum(3, 10, 0.5)]
    hard_first = [Stratum(9, 10, 0.5), Stratum(30, 100, 0.5)]
    assert 0 in stratified_newcombe(hard_first, easy_first, Z)
    assert stratified_p_value(hard_first, easy_first) > 0.9


@given(st.integers(0, 40), st.integers(0, 30), st.integers(0, 25), st.integers(0, 35))
def test_the_p_value_is_where_the_interval_meets_0(one: int, two: int, three: int, four: int) -> None:
    candidate, base = strata((one, 40), (two, 30)), strata((three, 25), (four, 35))
    p = stratified_p_value(candidate, base)
    assert 0 <= p <= 1
    for confidence in (0.9, 0.95, 0.99):
        z = normal_quantile(confidence)
        if not math.isclose(p, 2 * normal_share(-z), rel_tol=1e-6):
            assert (0 in stratified_newcombe(candidate, base, z)) == (p > 1 - confidence)
