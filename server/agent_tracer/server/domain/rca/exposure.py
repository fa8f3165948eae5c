"""How many lines and failures were to be expected, by what brings them about: the component's calls, and time. Pure."""

import math
from typing import Final

from agent_tracer.server.domain.rca.evidence import known
from agent_tracer.server.domain.rca.view import Series

UNEXPLAINED_SCORE: Final = 4.0
"""Standard deviations that chance does not bring: of thousands of templates hardly one is so far from its own."""


def totals(series: Series) -> tuple[float, float]:
    """Sums before and during."""
    return sum(known(series.before)), sum(known(series.during))


def by_time(counts: Series) -> float:
    """How much longer was looked at during the incident than before, in buckets."""
    return len(known(counts.during)) / max(len(known(counts.before)), 1)


def by_calls(counts: Series, calls: Series | None) -> float | None:
    """How many more calls the component had during than before, where counts are known; None where either had none.

    Only its own: what others are called tells nothing of it.
    """
    if calls is None:
        return None
    before, during = (
        sum(call for call, count in zip(*side, strict=True) if not math.isnan(call) and not math.isnan(count))
        for side in ((calls.before, counts.before), (calls.during, counts.during))
    )
    return during / before if before and during else None


def growth(counts: Series, calls: Series | None) -> float:
    """By which factor the counts were to grow: as the calls did, or as time where only that explains them.

    Some lines are written by the call, some by the clock, and nothing else tells which.
    """
    before, during = totals(counts)
    called, lasted = by_calls(counts, calls), by_time(counts)
    if called is None:
        return lasted
    explained = [abs(score(before, during, share)) < UNEXPLAINED_SCORE for share in (called, lasted)]
    return lasted if explained == [False, True] else called


def score(before: float, during: float, share: float) -> float:
    """Standard deviations from what was expected: two Poisson counts, variance-stabilised (Anscombe 1948)."""
    return 2 * (math.sqrt(during + 0.375) - math.sqrt(before * share + 0.375)) / math.sqrt(1 + min(share, 1.0))
