"""What data tell about ranks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from agent_tracer.server.domain.statistics.intervals import CONFIDENCE, Interval, normal_quantile

_DECIMALS: Final = 9
"""Sums of the same shares in another order differ beyond these."""


@dataclass(frozen=True, slots=True)
class RankSet:
    """The ranks, 1 the best, that the data cannot rule out."""

    lower: int
    upper: int


def pairwise_quantile(items: int, confidence: float = CONFIDENCE) -> float:
    """The z at which the differences of one of `items` from all others hold together.

    Sidak's bound (1967, JASA 62:626), which covers normal estimates whatever their correlation.
    """
    return normal_quantile(confidence ** (1 / max(1, items - 1)))


def rank_sets(items: int, difference: Callable[[int, int], Interval]) -> list[RankSet]:
    """Marginal confidence sets of ranks, one an item (Mogstad, Romano, Shaikh and Wilhelm 2024, REStud 91:476).

    `difference(first, second)` is the interval of first less second at `pairwise_quantile(items)`. An item's rank is 1
    and the number of items above it; it is at least 1 and those that lie above for certain, and at most `items` less
    those that lie below for certain. Each set holds its item's true rank with the confidence of the quantile.
    """
    above = [0] * items
    below = [0] * items
    for first in range(items):
        for second in range(first):
            interval = difference(first, second)
            better, worse = (first, second) if interval.lower > 0 else (second, first)
            if 0 not in interval:
                above[worse] += 1
                below[better] += 1
    return [RankSet(1 + over, items - under) for over, under in zip(above, below, strict=True)]


def competition_ranks(scores: Sequence[float]) -> list[int]:
    """1 for the highest; equal scores (to 9 decimals) share the better rank (1, 2, 2, 4)."""
    rounded = [round(score, _DECIMALS) for score in scores]
    first: dict[float, int] = {}
    for place, score in enumerate(sorted(rounded, reverse=True), start=1):
        first.setdefault(score, place)
    return [first[score] for score in rounded]
