"""Whether series left their level in a window: each against its own past, and all of them against theirs.

A series' buckets are put into blocks as long as the window. What is tested is the step from the block before into the
window, against the steps from block to block before: white noise, trends and random walks are held to what they do
anyway. Steps in the past of a series, and of all series together, bound how rare its step can be said to be.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]

BLOCKS_MIN: Final = 6
"""Blocks of the past, with anything known in them, under which nothing is tested."""

KNOWN_SHARE_MIN: Final = 0.3
"""Of a series' buckets that must be known in the window."""

PAST_SHARE_MIN: Final = 0.15
"""Of those before it; a server or service may be an hour old."""

SCALE_FLOOR: Final = 0.002
"""Of the level: a series that hardly moved before has not moved by less than some times this."""

STILL: Final = 1e-6
"""Of that floor: smaller moves are rounding."""

ROUNDING_FLOOR: Final = 1e-12

MOVES_MIN: Final = 2
"""Moves of a series that another one of it is measured by."""

NEVER_MOVED_P: Final = 5e-4
"""At the least, of a move of a series that never moved before: its past says that it moves rarely, not how rarely."""

MEMORY_RATIO: Final = 1.7
"""Of the moves' mean square to what a series without memory has; above it a series is taken to have one."""

MEMORYLESS_DEGREES: Final = 40.0

EVEN_RATIO: Final = 4.5
"""Of the greatest difference of successive buckets to their root mean square; normal noise has 3.3."""

EVEN_SHARE: Final = 0.5
"""Of the buckets that differ from the one before, in a series whose scatter is that of its buckets."""

TRIMMED_PER: Final = 5
"""One value of so many is left out at either end of a block."""

FARTHEST_MIN: Final = 3
"""Buckets of a window that are its part farthest from before, at the least."""

TAIL_RATIO: Final = 5.0
"""Of the greatest value to the median, from which on a positive series is seen by its logarithms."""


@dataclass(frozen=True, slots=True)
class Steps:
    """One entry a series. `p_value`: two-sided, 1 where it cannot be told.

    `baseline`: median before; `value`: median of the third of the window that is farthest from it; `effect`: the
    rank-biserial correlation of the series with being in that third instead of before, -1 to 1.
    """

    p_value: Floats
    effect: Floats
    baseline: Floats
    value: Floats


def steps(before: Floats, during: Floats) -> Steps:
    """`before`: series x past buckets, in time order; `during`: series x buckets of the window; NaN unknown."""
    with np.errstate(invalid="ignore", divide="ignore"):
        baseline = _median(before)
        farthest = _farthest(during, baseline)
        p_value = _p_values(before, during)
        return Steps(p_value, rank_biserial(before, farthest), baseline, _median(farthest))


def _p_values(before: Floats, during: Floats) -> Floats:
    from scipy.special import stdtr  # noqa: PLC0415 - half a second of start-up

    nothing = np.ones(len(before))
    length = during.shape[1]
    blocks = before.shape[1] // length if length else 0
    if blocks < BLOCKS_MIN or not len(before):
        return nothing
    past, now = _evened(before, during)
    past = past[:, past.shape[1] - blocks * length :]
    means = _trimmed_means(np.concatenate([past, now], axis=1), length)
    known = np.isfinite(means)
    degrees, scores = _scores(
        np.diff(means, axis=1), _scatter(np.concatenate([past, now], axis=1), length), _floor(past, now), _is_even(past)
    )
    here, there = np.abs(scores[:, -1]), np.abs(scores[:, :-1])
    p = 2 * stdtr(np.maximum(degrees, 1.0), -here)
    p = np.where(degrees == 0, np.where(here > 1, _never_moved(before, during), 1.0), p)
    p = np.maximum(p, _own_share(there, here))
    usable = known[:, -1] & known[:, -2] & (known[:, :-1].sum(axis=1) >= BLOCKS_MIN)
    usable &= np.isfinite(before).mean(axis=1) >= PAST_SHARE_MIN
    usable &= np.isfinite(during).mean(axis=1) >= KNOWN_SHARE_MIN
    p = np.where(usable, np.maximum(p, _pooled_share(there[usable], here)), 1.0)
    return np.where(np.isfinite(p), p, 1.0)


def _scores(moves: Floats, scatter: Floats, floor: Floats, even: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Each move in units of the others' root mean square, its neighbours left out; and the degrees of freedom.

    Where an even series' blocks move no more than the scatter within them makes them move, that scatter is the scale,
    which is known from many more values: it is held for a series without memory.
    """
    known = np.isfinite(moves)
    squares = np.where(known, moves, 0.0) ** 2
    near, counts_near = _with_neighbours(squares), _with_neighbours(known.astype(float))
    # The window's own move is no past of any other.
    total, count = squares[:, :-1].sum(axis=1, keepdims=True), known[:, :-1].sum(axis=1, keepdims=True)
    left, counts = total - near, count - counts_near
    left[:, -1], counts[:, -1] = total[:, 0], count[:, 0]
    left[:, -2] += squares[:, -1]
    counts[:, -2] += known[:, -1]
    mean_square = np.maximum(left, 0.0) / np.maximum(counts, 1.0)
    expected = 2 * scatter[:, None] ** 2
    scale = np.sqrt(np.maximum(np.maximum(mean_square, expected), floor[:, None] ** 2))
    scores = np.where(known & (counts >= MOVES_MIN), moves / scale, np.nan)
    moved = (squares[:, :-1] > (STILL * floor[:, None]) ** 2).sum(axis=1)
    # Moves share their blocks, so that three of them tell as much as two.
    degrees = 2 / 3 * moved
    memoryless = even & (mean_square[:, -1] <= MEMORY_RATIO * expected[:, 0])
    return np.where(memoryless & (moved > 0), np.maximum(degrees, MEMORYLESS_DEGREES), degrees), scores


def _never_moved(before: Floats, during: Floats) -> Floats:
    """The chance that of the buckets off the usual value so many lie in the window; at least NEVER_MOVED_P."""
    from scipy.special import betainc  # noqa: PLC0415 - half a second of start-up

    usual = _median(before)[:, None]
    off_before = (np.isfinite(before) & (before != usual)).sum(axis=1)
    off_during = (np.isfinite(during) & (during != usual)).sum(axis=1)
    share = during.shape[1] / (before.shape[1] + during.shape[1])
    return np.asarray(np.maximum(NEVER_MOVED_P, betainc(np.maximum(off_during, 1e-9), off_before + 1.0, share)))


def _with_neighbours(values: Floats) -> Floats:
    summed = values.copy()
    summed[:, 1:] += values[:, :-1]
    summed[:, :-1] += values[:, 1:]
    return summed


def _scatter(values: Floats, length: int) -> Floats:
    """The standard error of a block's mean, by the differences of successive buckets (von Neumann 1941).

    The window's are among them: a step of the past is in its own scale too, and both must be measured alike.
    """
    differences = np.diff(values, axis=1)
    return np.sqrt(np.nan_to_num(_mean(differences**2)) / 2 / length)


def _is_even(past: Floats) -> NDArray[np.bool_]:
    """Series that change all the time, and never by much more than they mostly do."""
    differences = np.abs(np.diff(past, axis=1))
    if not differences.shape[1]:
        return np.zeros(len(past), dtype=bool)
    most = np.fmax.reduce(differences, axis=1, initial=0.0)
    moving = (differences > 0).sum(axis=1) >= EVEN_SHARE * np.isfinite(differences).sum(axis=1)
    return np.asarray(moving & (most <= EVEN_RATIO * np.sqrt(np.nan_to_num(_mean(differences**2)))))


def _evened(before: Floats, during: Floats) -> tuple[Floats, Floats]:
    """Series of positive values with a long tail by their logarithms: their large values say little."""
    least = np.fmin(np.fmin.reduce(before, axis=1), np.fmin.reduce(during, axis=1))
    most, middle = np.fmax.reduce(before, axis=1), _median(before)
    tailed = ((least > 0) & (most > TAIL_RATIO * middle))[:, None]
    return np.where(tailed, np.log(before), before), np.where(tailed, np.log(during), during)


def _floor(past: Floats, now: Floats) -> Floats:
    """Of the greatest value, so that whatever has never moved moves by at most 1 / SCALE_FLOOR units."""
    greatest = np.fmax(np.fmax.reduce(np.abs(past), axis=1), np.fmax.reduce(np.abs(now), axis=1))
    return np.asarray(np.maximum(SCALE_FLOOR * np.nan_to_num(greatest), ROUNDING_FLOOR))


def _own_share(there: Floats, here: Floats) -> Floats:
    """How often the series made such a step before, of all its steps."""
    known = np.isfinite(there)
    at_least = (there >= here[:, None]) & known
    return np.asarray(at_least.sum(axis=1) / np.maximum(known.sum(axis=1), 1))


def _pooled_share(there: Floats, here: Floats) -> Floats:
    """How often any series made such a step before."""
    pool = np.sort(there[np.isfinite(there)])
    if not len(pool):
        return np.zeros(len(here))
    return (len(pool) - np.searchsorted(pool, here, side="left")) / len(pool)


def _trimmed_means(values: Floats, length: int) -> Floats:
    """Of each block without its greatest and least fifth: a bucket or two alone are no level."""
    blocks = np.sort(values.reshape(len(values), -1, length), axis=2)  # NaN last
    count = np.isfinite(blocks).sum(axis=2, keepdims=True)
    cut = count // TRIMMED_PER
    places = np.arange(length)
    kept = (places >= cut) & (places < count - cut)
    total = np.where(kept, blocks, 0.0).sum(axis=2)
    return np.where(count[:, :, 0] > 0, total / np.maximum(kept.sum(axis=2), 1), np.nan)


def _mean(values: Floats, axis: int = 1) -> Floats:
    known = np.isfinite(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0.0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _median(values: Floats) -> Floats:
    found = np.full(len(values), np.nan)
    some = np.isfinite(values).any(axis=1)
    found[some] = np.nanmedian(values[some], axis=1)
    return found


def _farthest(during: Floats, baseline: Floats) -> Floats:
    """Of each row, the contiguous third of the window whose mean is farthest from the baseline."""
    length = max(min(FARTHEST_MIN, during.shape[1]), during.shape[1] // 3)
    stretches = np.lib.stride_tricks.sliding_window_view(during, length, axis=1)
    away = np.abs(_mean(stretches, axis=2) - baseline[:, None])
    at = np.where(np.isfinite(away), away, -1.0).argmax(axis=1)
    return np.asarray(stretches[np.arange(len(during)), at])


def rank_biserial(before: Floats, during: Floats) -> Floats:
    """How much more often a value of the window is above one of before than below, of all pairs (Cureton 1956)."""
    above = np.zeros(len(before))
    pairs = np.zeros(len(before))
    for column in range(during.shape[1]):
        values = during[:, column : column + 1]
        above += (values > before).sum(axis=1) - (values < before).sum(axis=1)
        pairs += np.isfinite(values[:, 0]) * np.isfinite(before).sum(axis=1)
    return np.where(pairs > 0, above / np.maximum(pairs, 1.0), 0.0)
