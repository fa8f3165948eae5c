"""Whether series move with others, at the same time or some buckets before or after: lagged Spearman correlations.

Series with memory correlate by chance: the number of values is corrected for the memory that both have (Pyper and
Peterman 1998, CJFAS 55:2127), and every correlation is held against what the same two series have at all other circular
shifts of each other, which keep the memory and break what they have in common.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from agent_tracer.server.domain.correlation.levels import KNOWN_SHARE_MIN, Floats

LAG_MAX: Final = 5
"""Buckets by which a series may be ahead or behind."""

BUCKETS_MIN: Final = 40
"""Known buckets that both must have: under it no correlation survives being one of hundreds."""

VALUES_MIN: Final = 6.0
"""Independent values that two series must be worth."""

MEMORY_SHARE: Final = 0.2
"""Of the buckets: lags up to which memory is measured (the same source)."""

SHIFTED_BELOW: Final = 0.05
"""Chances under which a correlation is held against all shifts; above it nothing comes of it anyway."""

_SHIFTED_AT_ONCE: Final = 4096


@dataclass(frozen=True, slots=True)
class Lagged:
    """One entry a series: `p_value` over all lags and targets; `rho` of the likeliest, -1 to 1; its `target`."""

    p_value: Floats
    rho: Floats
    target: np.typing.NDArray[np.intp]


def lagged(series: Floats, targets: Floats) -> Lagged:
    """Both one row a series, one column a bucket, in time order without gaps; NaN unknown."""
    count, buckets = series.shape
    none = Lagged(np.ones(count), np.zeros(count), np.zeros(count, dtype=np.intp))
    enough = np.isfinite(targets).sum(axis=1) >= max(BUCKETS_MIN, KNOWN_SHARE_MIN * buckets) if len(targets) else ()
    if not count or not np.any(enough) or buckets < BUCKETS_MIN + 2 * LAG_MAX:
        return none
    own, others = _standard(series), _standard(targets)
    with np.errstate(invalid="ignore", divide="ignore"):
        rho, values = _over_lags(own, others, np.isfinite(series), np.isfinite(targets))
        values = values / _inflation(own, others)[:, :, None]
        p = _p_values(rho, values)
    p[:, ~np.asarray(enough), :] = 1.0
    return _best(own, others, rho, p)


def _best(own: Floats, others: Floats, rho: Floats, p: Floats) -> Lagged:
    count, targets, lags = p.shape
    flat = p.reshape(count, -1)
    at = flat.argmin(axis=1)
    rows = np.arange(count)
    chosen = at // lags
    found = rho.reshape(count, -1)[rows, at]
    p_value = np.minimum(1.0, flat[rows, at] * targets * lags)
    held = np.flatnonzero(p_value < SHIFTED_BELOW)
    for first in range(0, len(held), _SHIFTED_AT_ONCE):
        part = held[first : first + _SHIFTED_AT_ONCE]
        p_value[part] = np.maximum(p_value[part], _shifted_share(own[part], others[chosen[part]], found[part]))
    return Lagged(p_value, found, chosen)


def ranks(values: Floats) -> Floats:
    """Of each row, from 1, equal values sharing their mean rank; NaN where NaN."""
    order = np.argsort(values, axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1)
    places = np.broadcast_to(np.arange(values.shape[1]), values.shape)
    fresh = np.ones(values.shape, dtype=bool)
    fresh[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    first = np.maximum.accumulate(np.where(fresh, places, 0), axis=1)
    ends = np.ones(values.shape, dtype=bool)
    ends[:, :-1] = fresh[:, 1:]
    last = np.minimum.accumulate(np.where(ends, places, values.shape[1])[:, ::-1], axis=1)[:, ::-1]
    found = np.empty(values.shape)
    np.put_along_axis(found, order, (first + last) / 2 + 1, axis=1)
    return np.where(np.isfinite(values), found, np.nan)


def _standard(values: Floats) -> Floats:
    """Ranks with mean 0 and variance 1; 0 where unknown, and everywhere in a series that never changes."""
    ranked = ranks(values)
    known = np.isfinite(ranked)
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    centred = np.where(known, ranked - np.where(known, ranked, 0.0).sum(axis=1, keepdims=True) / count, 0.0)
    spread = np.sqrt((centred**2).sum(axis=1, keepdims=True) / count)
    return np.asarray(np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0))


def _over_lags(
    own: Floats, others: Floats, own_known: np.typing.NDArray[np.bool_], others_known: np.typing.NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Correlations and the numbers of buckets that they are over, by series, target and lag."""
    shape = len(own), len(others), 2 * LAG_MAX + 1
    rho, values = np.zeros(shape), np.zeros(shape)
    buckets = own.shape[1]
    for place in range(2 * LAG_MAX + 1):
        lag = place - LAG_MAX
        here = slice(max(0, lag), buckets + min(0, lag))
        there = slice(max(0, -lag), buckets + min(0, -lag))
        x, y = own[:, here], others[:, there]
        in_x, in_y = own_known[:, here].astype(float), others_known[:, there].astype(float)
        scale = np.sqrt((x**2 @ in_y.T) * (in_x @ (y**2).T))
        rho[:, :, place] = np.divide(x @ y.T, scale, out=np.zeros(shape[:2]), where=scale > 0)
        values[:, :, place] = in_x @ in_y.T
    return np.clip(rho, -1.0, 1.0), values


def _inflation(own: Floats, others: Floats) -> Floats:
    """How many values of the pair tell as much as one of a pair without memory; at least 1."""
    mine, theirs = _memory(own), _memory(others)
    buckets = own.shape[1]
    weights = 2 * (buckets - np.arange(1, mine.shape[1] + 1)) / buckets
    return np.asarray(np.maximum(1.0, 1.0 + (mine * weights) @ theirs.T))


def _memory(standard: Floats) -> Floats:
    """Autocorrelations from lag 1 on, corrected for their bias."""
    buckets = standard.shape[1]
    lags = max(1, int(MEMORY_SHARE * buckets))
    square = np.maximum((standard**2).sum(axis=1), 1e-12)
    found = np.empty((len(standard), lags))
    for lag in range(1, lags + 1):
        product = np.einsum("ij,ij->i", standard[:, lag:], standard[:, :-lag])
        found[:, lag - 1] = product / square * buckets / (buckets - lag)
    return np.clip(found, -1.0, 1.0)


def _p_values(rho: Floats, values: Floats) -> Floats:
    """Student's approximation, two-sided."""
    from scipy.special import stdtr  # noqa: PLC0415 - half a second of start-up

    degrees = np.maximum(values - 2, 1.0)
    t = np.abs(rho) * np.sqrt(degrees / np.maximum(1 - rho**2, 1e-12))
    return np.asarray(np.where(values >= VALUES_MIN, 2 * stdtr(degrees, -t), 1.0))


def _shifted_share(own: Floats, others: Floats, found: Floats) -> Floats:
    """The share of the shifts beyond the lags at which the two correlate as much."""
    buckets = own.shape[1]
    spectrum = np.fft.rfft(own, axis=1) * np.conj(np.fft.rfft(others, axis=1))
    scale = np.sqrt((own**2).sum(axis=1) * (others**2).sum(axis=1))
    at_shift = np.abs(np.fft.irfft(spectrum, n=buckets, axis=1)) / np.maximum(scale, 1e-12)[:, None]
    beyond = at_shift[:, LAG_MAX + 1 : buckets - LAG_MAX]
    return np.asarray((beyond >= np.abs(found)[:, None]).mean(axis=1))
