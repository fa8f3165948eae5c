"""pass^k."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_tracer.server.domain.ace.repeats import pass_hat_k, pass_series
from tests.evaluation.published import tau_airline


@pytest.mark.parametrize(("k", "published"), [(1, "0.420"), (2, "0.273"), (3, "0.220"), (4, "0.200")])
def test_tau_bench_airline_is_as_published(k: int, published: str) -> None:
    assert f"{pass_hat_k(tau_airline(), k):.3f}" == published


@given(st.lists(st.booleans(), min_size=1, max_size=8), st.integers(1, 8))
def test_it_is_the_share_of_k_tries_that_all_succeed(tries: list[bool], k: int) -> None:
    if k > len(tries):
        with pytest.raises(ValueError, match="tried"):
            pass_hat_k([(len(tries), sum(tries))], k)
        return
    chosen = list(itertools.combinations(tries, k))
    assert math.isclose(pass_hat_k([(len(tries), sum(tries))], k), sum(map(all, chosen)) / len(chosen))


def test_tasks_tried_less_often_say_nothing() -> None:
    assert pass_hat_k([(1, 1), (4, 2)], 2) == pytest.approx(1 / 6)


def test_no_tries_are_no_k() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        pass_hat_k([(4, 4)], 0)


def test_a_series_goes_as_far_as_half_of_the_tasks_were_tried() -> None:
    assert pass_series([(4, 4), (4, 0), (1, 1)]) == pytest.approx((2 / 3, 1 / 2, 1 / 2, 1 / 2))
    assert pass_series([(4, 4), (1, 0), (1, 1)]) == pytest.approx((2 / 3,))
    assert pass_series([]) == ()
