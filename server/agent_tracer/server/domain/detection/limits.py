"""How far a series may go in an hour before it is noticed, out of what it did before.

A series is judged by itself alone: how large an excess has to be follows from the largest ones it has had. So a series
that is always wild is as quiet as one that never moves, without a setting for either.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BUCKET_SECONDS: Final = 300
HOUR_BUCKETS: Final = 12
LOOK_BACK_HOURS: Final = 14 * 24
"""Two of each weekday."""

WINDOWS: Final = (1, 6, 24)
"""Buckets that are judged together: a spike of five minutes, a burst of half an hour, a shift of two hours."""

WINDOW_MAX: Final = max(WINDOWS)

_DAYS: Final = LOOK_BACK_HOURS // 24 - 1
_LEVEL_HOURS: Final = 7 * 24
_WARM_HOURS: Final = 48
"""A daily job has run twice by then."""
_LEVEL_HOURS_MIN: Final = 12
_VALUES_MIN: Final = 24
_DAYS_FOR_SECOND: Final = 4
"""Days from which on the second highest of them is usual, so that one bad day does not hide the next."""
_BLOCK_HOURS: Final = 6
_RECORD_FACTOR: Final = 2.0
_SPREADS: Final = 2.5


@dataclass(frozen=True, slots=True)
class Direction:
    """`sign` 1: too much; -1: too little. `relative`: of the usual level, the least excess that counts.

    `from_nought`: whether something is noticed of a series that was always 0, though nothing says how much is much.
    """

    sign: int
    relative: float
    absolute: float = 0.0
    from_nought: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """Of some hours of a series in one direction.

    `most` (windows, hours): what was usual at that time of day, times the sign; `excess`: how far beyond that a value
    must be to be noticed. Both NaN where too little is known. `usual` (hours): the median level, without the sign.
    """

    most: Floats
    excess: Floats
    usual: Floats


def limits_of(smoothed: Floats, direction: Direction, from_hour: int) -> Limits:
    """Of the hours from `from_hour` on, counted from the start of `smoothed`.

    `smoothed` (windows, hours * HOUR_BUCKETS): a value a bucket in each of WINDOWS; NaN where nothing was observed.
    """
    hours = smoothed.shape[1] // HOUR_BUCKETS
    by_hour = smoothed.reshape(len(smoothed), hours, HOUR_BUCKETS)
    peaks = _max_of(direction.sign * by_hour)
    most = _most(peaks)
    is_seen = np.isfinite(most) & np.isfinite(peaks)
    excesses = np.maximum(np.subtract(peaks, most, out=np.zeros_like(peaks), where=is_seen), 0.0)
    usual, spread = _levels(by_hour[0], from_hour)
    grown = np.maximum(_RECORD_FACTOR * _record(excesses, from_hour), _SPREADS * spread)
    excess = np.maximum(grown, np.maximum(direction.relative * np.abs(usual), direction.absolute))
    is_known = _is_known(by_hour[0], from_hour) & ((grown > 0) | (usual != 0) | direction.from_nought)
    excess[~is_known] = np.nan
    asked = np.where(np.isfinite(most[:, from_hour:]), most[:, from_hour:], np.nan)
    return Limits(asked, excess, usual)


def scores(smoothed: Floats, own: Floats, direction: Direction, limits: Limits) -> Floats:
    """(buckets,) how many times the limit's excess each bucket's is, in the window where it is most; 0 up to the limit.

    `smoothed` has just the hours of `limits`. `own`: the buckets' own values; one that is usual for a window ends what
    the window still remembers.
    """
    most = np.repeat(limits.most, HOUR_BUCKETS, axis=1)
    least = np.repeat(limits.excess, HOUR_BUCKETS, axis=1)
    over = direction.sign * smoothed - most
    is_over = np.nan_to_num(over, nan=-np.inf) > np.nan_to_num(least, nan=np.inf)
    is_over &= direction.sign * own > np.nan_to_num(most, nan=np.inf)
    times = np.divide(over, least, out=np.zeros_like(over), where=is_over)
    worst: Floats = times.max(axis=0)
    return worst


def medians(values: Floats) -> Floats:
    """(WINDOWS, buckets): the median of what was observed in the window that ends with each bucket.

    NaN where nothing was observed in the bucket itself.
    """
    smoothed = np.stack([values if width == 1 else _trailing_median(values, width) for width in WINDOWS])
    smoothed[:, np.isnan(values)] = np.nan
    return smoothed


def sums(values: Floats) -> Floats:
    """(WINDOWS, buckets): the sum over the window that ends with each bucket; `values` without NaN."""
    total = np.concatenate(([0.0], np.cumsum(values)))
    return np.stack([total[1:] - total[np.maximum(np.arange(1, len(total)) - width, 0)] for width in WINDOWS])


def _trailing_median(values: Floats, width: int) -> Floats:
    padded = np.concatenate((np.full(width - 1, np.nan), values))
    ordered = np.sort(np.lib.stride_tricks.sliding_window_view(padded, width), axis=1)  # NaN come last
    count = np.count_nonzero(~np.isnan(ordered), axis=1)
    rows = np.arange(len(values))
    lower, upper = np.maximum(count - 1, 0) // 2, count // 2
    middle: Floats = (ordered[rows, lower] + ordered[rows, upper]) / 2
    return middle


def _max_of(by_hour: Floats) -> Floats:
    highest: Floats = np.where(np.isnan(by_hour), -np.inf, by_hour).max(axis=2)
    return highest


def _most(peaks: Floats) -> Floats:
    """(windows, hours): the second highest of the days before, within an hour of the time of day; -inf: never seen."""
    around = _shifted(peaks, 1)
    around = np.maximum(np.maximum(around, peaks), _shifted(peaks, -1))
    days = np.stack([_shifted(around, 24 * day) for day in range(1, _DAYS + 1)], axis=2)
    days.sort(axis=2)
    seen = np.isfinite(days).sum(axis=2)
    return np.where(seen >= _DAYS_FOR_SECOND, days[:, :, -2], days[:, :, -1])


def _shifted(rows: Floats, hours: int) -> Floats:
    """What was so many hours before; -inf from beyond the ends."""
    moved = np.full_like(rows, -np.inf)
    if hours >= rows.shape[1]:
        return moved
    if hours > 0:
        moved[:, hours:] = rows[:, :-hours]
    else:
        moved[:, :hours] = rows[:, -hours:]
    return moved


def _record(excesses: Floats, from_hour: int) -> Floats:
    """(windows, hours asked): the second largest excess of the time before, of at most one in _BLOCK_HOURS.

    The second, so that after one incident the next that is like it is noticed again; the third like it is usual.
    """
    blocks = LOOK_BACK_HOURS // _BLOCK_HOURS - 1
    length = blocks * _BLOCK_HOURS
    padded = np.pad(excesses, ((0, 0), (length, 0)))
    before = np.lib.stride_tricks.sliding_window_view(padded, length, axis=1)[:, from_hour:-1]
    highest = before.reshape(*before.shape[:2], blocks, _BLOCK_HOURS).max(axis=3)
    second: Floats = np.partition(highest, -2, axis=2)[:, :, -2]
    return second


def _levels(by_hour: Floats, from_hour: int) -> tuple[Floats, Floats]:
    """Of each hour asked: the median of the hourly medians of the week before, and how far values stray."""
    ordered = np.sort(by_hour, axis=1)
    middles = _nan_quantiles(ordered, (0.5,))[0]
    ranges = _max_of(by_hour[None])[0] + _max_of(-by_hour[None])[0]
    past = _past(middles, from_hour)
    usual = _nan_quantiles(np.sort(past, axis=1), (0.5,))[0]
    # Beside what is usual at the time of day, which goes up and down without straying.
    days = past.reshape(len(past), -1, 24)
    of_day = _nan_quantiles(np.sort(days.swapaxes(1, 2), axis=2).reshape(-1, days.shape[1]), (0.5,))[0]
    strayed = days - of_day.reshape(len(past), 1, 24)
    low, high = _nan_quantiles(np.sort(strayed.reshape(len(past), -1), axis=1), (0.25, 0.75))
    within = _nan_quantiles(np.sort(_past(np.where(np.isfinite(ranges), ranges, np.nan), from_hour), axis=1), (0.5,))[0]
    return usual, np.maximum(high - low, within / 2)


def _past(hourly: Floats, from_hour: int) -> Floats:
    padded = np.concatenate((np.full(_LEVEL_HOURS, np.nan), hourly))
    return np.lib.stride_tricks.sliding_window_view(padded, _LEVEL_HOURS)[from_hour:-1]


def _nan_quantiles(ordered: Floats, quantiles: Sequence[float]) -> list[Floats]:
    """Of each row of sorted values with NaN last, linearly between neighbours; NaN of none."""
    count = np.count_nonzero(~np.isnan(ordered), axis=1)
    rows = np.arange(len(ordered))
    found = []
    for quantile in quantiles:
        place = quantile * np.maximum(count - 1, 0)
        lower = place.astype(np.intp)
        upper = np.minimum(lower + 1, np.maximum(count - 1, 0))
        share = place - lower
        found.append(ordered[rows, lower] * (1 - share) + ordered[rows, upper] * share)
    return found


def _is_known(by_hour: Floats, from_hour: int) -> NDArray[np.bool_]:
    """Of each hour asked, whether there is enough before it."""
    counts = np.count_nonzero(~np.isnan(by_hour), axis=1)
    padded = np.concatenate((np.zeros(LOOK_BACK_HOURS, dtype=counts.dtype), counts))
    before = np.lib.stride_tricks.sliding_window_view(padded, LOOK_BACK_HOURS)[from_hour:-1]
    first = np.where(before.any(axis=1), (before > 0).argmax(axis=1), LOOK_BACK_HOURS)
    known: NDArray[np.bool_] = (
        (LOOK_BACK_HOURS - first >= _WARM_HOURS)
        & (np.count_nonzero(before, axis=1) >= _LEVEL_HOURS_MIN)
        & (before.sum(axis=1) >= _VALUES_MIN)
    )
    return known
