"""How a group's failures come and go, and how often chance alone passes for a change."""

import numpy as np
import pytest

from agent_tracer.server.domain.failures.trends import Trend, group_trend, share


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([0, 0, 0, 0, 0, 0, 3, 1], Trend.NEW),
        ([5, 5, 4, 6, 5, 5, 20, 22], Trend.RISING),
        ([20, 22, 19, 21, 20, 20, 2, 1], Trend.FALLING),
        ([5, 5, 4, 6, 5, 5, 6, 4], Trend.STEADY),
        ([5, 5, 4, 6, 5, 5, 0, 0], Trend.GONE),
        ([1, 0, 0, 1, 0, 0, 0, 0], Trend.STEADY),
        ([9, 8, 9, 0, 0, 0, 0, 4], Trend.BACK),
        ([0, 0, 0, 0], Trend.STEADY),
        ([3], Trend.NEW),
        ([], Trend.STEADY),
    ],
)
def test_trends_by_counts(counts: list[int], expected: Trend) -> None:
    assert group_trend(counts) is expected


def test_a_group_known_from_before_the_period_is_back_not_new() -> None:
    assert group_trend([0, 0, 0, 2], seen_before=True) is Trend.BACK


def test_more_traffic_is_no_rise() -> None:
    counts, runs = [5, 5, 5, 5, 5, 5, 50, 50], [100] * 6 + [1000] * 2

    assert group_trend(counts) is Trend.RISING
    assert group_trend(counts, runs) is Trend.STEADY


def test_counts_and_runs_must_be_of_the_same_buckets() -> None:
    with pytest.raises(ValueError, match="1"):
        group_trend([1, 2], [1])


def test_chance_alone_passes_for_a_change_in_one_of_twenty() -> None:
    draw = np.random.default_rng(0)
    found = [group_trend(draw.poisson(6.0, 12).tolist()) for _ in range(400)]

    assert sum(one is not Trend.STEADY for one in found) / len(found) <= 0.07


def test_share_of_runs() -> None:
    assert share(1, 4) == 0.25
    assert share(1, 0) == 0.0
