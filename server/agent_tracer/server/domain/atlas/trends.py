"""Trends: whether a series rises or falls, and how steeply.

Sources: Mann 1945, Kendall 1975 (the test); Hamed, Rao: "A modified Mann-Kendall trend test for autocorrelated data",
Journal of Hydrology 204, 1998 (its correction); Theil 1950, Sen 1968 (slope and interval). By pymannkendall and scipy.
"""

import math
import statistics
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from agent_tracer.server.domain.atlas.series import Series
from agent_tracer.server.domain.statistics.intervals import normal_quantile

SIGNIFICANCE: Final = 0.05
POINTS_MIN: Final = 4
"""With three points even a steady rise is no surprise (p = .3)."""

DISPERSION_POINTS_MIN: Final = 10
"""Fewer points cannot tell whether they scatter more than their tasks do."""

DAY_NS: Final = 86_400_000_000_000


@dataclass(frozen=True, slots=True)
class Trend:
    """Theil-Sen slope in the measure's unit a day with its 95 % interval; Mann-Kendall's two-sided p-value.

    direction: "up", "down" or "none" at 5 %. sample_size: the points that the series has.
    """

    slope_per_day: float = 0.0
    slope_lower: float = 0.0
    slope_upper: float = 0.0
    p_value: float = 1.0
    direction: str = "none"
    sample_size: int = 0


def trend(found: Series) -> Trend:
    """The trend of a series; none where it has fewer than POINTS_MIN points or does not vary.

    The p-value is the larger of the plain and the corrected test's. Hamed and Rao's correction may also lower it, where
    neighbours differ more than by chance; on 60 points without any order that finds trends too often.
    """
    values = list(found.values)
    if len(values) < POINTS_MIN or max(values) == min(values):
        return Trend(sample_size=len(values))
    from scipy.stats import theilslopes  # noqa: PLC0415 - half a second of start-up

    fitted = theilslopes(values, [(time - found.times_ns[0]) / DAY_NS for time in found.times_ns])
    p_value = _p_value(values)
    direction = "none"
    if p_value < SIGNIFICANCE and fitted.slope:
        direction = "up" if fitted.slope > 0 else "down"
    return Trend(
        float(fitted.slope),
        float(fitted.low_slope),
        float(fitted.high_slope),
        p_value,
        direction,
        len(values),
    )


def _p_value(values: list[float]) -> float:
    import numpy as np  # noqa: PLC0415 - start-up time
    from pymannkendall import pymannkendall  # noqa: PLC0415 - half a second of start-up, for scipy

    with np.errstate(all="ignore"):  # the correction of a short series may come out negative: then it says nothing
        tests = (pymannkendall.original_test(values), pymannkendall.hamed_rao_modification_test(values))
    found = [float(test.p) for test in tests]
    return max((p for p in found if math.isfinite(p)), default=1.0)


def dispersion(found: Series) -> float:
    """By what factor variances of means are larger than tasks independent of each other would make them; 1 or more.

    The points' scatter around their Theil-Sen line against what their tasks' spread explains, times (1 + r) / (1 - r)
    for a correlation r of neighbours; each only where it is above chance (one-sided 5 %). Days that are good or bad as
    a whole must not pass for learning.
    """
    if len(found.values) < DISPERSION_POINTS_MIN or found.spread <= 0:
        return 1.0
    from scipy.stats import theilslopes  # noqa: PLC0415 - half a second of start-up

    fitted = theilslopes(found.values, range(len(found.values)))
    scaled = [
        (value - fitted.intercept - fitted.slope * at) * math.sqrt(count / found.spread)
        for at, (value, count) in enumerate(zip(found.values, found.counts, strict=True))
    ]
    points, chance = len(scaled), normal_quantile(0.9)
    scatter = sum(value * value for value in scaled) / (points - 2)
    factor = scatter if scatter > 1 + chance * math.sqrt(2 / points) else 1.0
    neighbours = _neighbour_correlation(scaled)
    return factor * ((1 + neighbours) / (1 - neighbours) if neighbours > chance / math.sqrt(points) else 1.0)


def _neighbour_correlation(values: list[float]) -> float:
    mean = statistics.fmean(values)
    squares = sum((value - mean) ** 2 for value in values)
    products = sum((one - mean) * (other - mean) for one, other in pairwise(values))
    return min(0.99, products / squares) if squares else 0.0
