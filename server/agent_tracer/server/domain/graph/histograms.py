"""Counts of durations in fixed logarithmic bins, so that those of any times and places add up.

Bin 0 holds what lasts a microsecond or less, bin *i* what lasts more than RATIO**(i-1) and up to RATIO**i microseconds.
A quantile is the middle of its bin, and so within 2.5 % of the value (Masson et al., "DDSketch", VLDB 2019, with bins
that do not depend on the data).
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

RATIO: Final = 1.05
BIN_MAX: Final = 700
"""Of eighteen years."""

_UNIT_NS: Final = 1_000
_LOG_RATIO: Final = math.log(RATIO)


@dataclass(frozen=True, slots=True)
class Histogram:
    """`counts[i]` of bin `bins[i]`; bins ascend, each once, and no count is 0."""

    bins: Sequence[int] = ()
    counts: Sequence[int] = ()

    @property
    def total(self) -> int:
        """How many values it holds."""
        return sum(self.counts)

    def quantile_ns(self, share: float) -> float:
        """The value that the share (0 to 1) of all values does not exceed, nanoseconds; 0 where there is none."""
        wanted = share * self.total
        reached = 0
        for number, count in zip(self.bins, self.counts, strict=True):
            reached += count
            if reached >= wanted:
                return _middle_ns(number)
        return 0.0


def histogram_of(values_ns: Iterable[int]) -> Histogram:
    """Of durations in nanoseconds; what is not positive counts as no time."""
    return _histogram(Counter(bin_of(value) for value in values_ns))


def merged(histograms: Iterable[Histogram]) -> Histogram:
    """Of everything that any of them holds."""
    found: Counter[int] = Counter()
    for one in histograms:
        for number, count in zip(one.bins, one.counts, strict=True):
            found[number] += count
    return _histogram(found)


def bin_of(value_ns: int) -> int:
    """The number of the value's bin."""
    if value_ns <= _UNIT_NS:
        return 0
    return min(BIN_MAX, math.ceil(math.log(value_ns / _UNIT_NS) / _LOG_RATIO))


def _histogram(counts: Counter[int]) -> Histogram:
    bins = sorted(number for number, count in counts.items() if count)
    return Histogram(tuple(bins), tuple(counts[number] for number in bins))


def _middle_ns(number: int) -> float:
    return float(_UNIT_NS * RATIO ** (number - 0.5)) if number else 0.0
