"""Ranks, and what can be told of them; several tests at once."""

import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from agent_tracer.server.domain.statistics.intervals import Interval
from agent_tracer.server.domain.statistics.multiple import holm
from agent_tracer.server.domain.statistics.ranks import RankSet, competition_ranks, pairwise_quantile, rank_sets


def test_the_quantile_for_one_difference_is_the_plain_one_and_grows_with_their_number() -> None:
    assert pairwise_quantile(2) == pytest.approx(1.959964)
    assert pairwise_quantile(22) == pytest.approx(scipy.stats.norm.isf((1 - 0.95 ** (1 / 21)) / 2))


def test_rank_sets_hold_what_cannot_be_ruled_out() -> None:
    estimates = [0.9, 0.88, 0.5, 0.1]
    sets = rank_sets(4, lambda one, other: Interval(*(estimates[one] - estimates[other] + d for d in (-0.1, 0.1))))
    assert sets == [RankSet(1, 2), RankSet(1, 2), RankSet(3, 3), RankSet(4, 4)]


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=12))
def test_a_rank_lies_in_its_set(items: list[tuple[float, float]]) -> None:
    def difference(one: int, other: int) -> Interval:
        value, half = items[one][0] - items[other][0], items[one][1] + items[other][1]
        return Interval(value - half, value + half)

    ranks = [1 + sum(other > value for other, _ in items) for value, _ in items]
    for rank, found in zip(ranks, rank_sets(len(items), difference), strict=True):
        assert found.lower <= rank <= found.upper


def test_equal_scores_share_the_better_rank_whatever_the_order_of_their_sums() -> None:
    assert competition_ranks([0.5, 0.1 + 0.2 + 0.4, 0.4 + 0.2 + 0.1, 0.3]) == [3, 1, 1, 4]


def test_holm_steps_down_to_the_first_that_stands() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}, 0.05) == {"a", "d"}
    assert holm({"a": 0.04, "b": 0.02}, 0.05) == {"a", "b"}
    assert holm({}, 0.05) == frozenset()
