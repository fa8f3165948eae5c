"""Metric points as a value per series and bucket, in SQL: gauges, sums and histograms.

A counter or histogram that adds up from its start (cumulative) is differenced between the last points of two buckets;
where there is none shortly before, between the first and last of one. One that fell was set back to nought, and has
since counted to what it shows (as Prometheus' `rate` has it).
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from agent_tracer.server.adapters.clickhouse.sql import quoted
from agent_tracer.server.adapters.clickhouse.telemetry.buckets import Buckets

NEAR_BUCKETS: Final = 3
"""A counter's last value so many buckets ago still tells what was added since."""

SUFFIXES: Final = ("", ".p95", ".rate")
"""Of a metric's name, by the number that rows have."""

_PLAIN, _P95, _RATE = range(len(SUFFIXES))

_QUANTILE: Final = 0.95
_SCALE: Final = 2
"""Exponential buckets are counted in ones of this scale, a fifth wide: OpenTelemetry's own shrink as ranges grow."""
_ZERO_KEY: Final = -1_000_000
"""Of the bucket of values that are nought."""

ADDS_UP: Final = "(temporality != 1 AND (type != 'sum' OR monotonic) AND type != 'gauge')"
"""The condition that a point tells all since its series' start, which is to be differenced."""

_POINTS: Final = """
FROM metric_points WHERE tenant = {{tenant:String}} AND {within} AND type IN ({types}) AND NOT bitTest(flags, 0)
"""
_VALUE: Final = "assumeNotNull(coalesce(double_value, toFloat64(int_value), nan)) AS value"

_GAUGES: Final = """
SELECT series, toUInt8({plain}) AS suffix, max(is_delta) AS is_rate, position,
  if(is_rate, sum(value) / {seconds}, avg(value)) AS shown
FROM (
  SELECT series, {position} AS position, value, is_delta FROM (
    SELECT series, toUnixTimestamp64Nano(time) AS ns, {value}, type = 'sum' AND temporality = 1 AS is_delta
    {points} AND NOT {adds_up}))
WHERE isFinite(value) GROUP BY series, position
"""

# Since when it has been counting, in a bucket: from the last point of the one before, or from its own first.
_SINCE: Final = """
lagInFrame(position, 1, position) OVER w AS before, lagInFrame(last_ns) OVER w AS before_ns,
before < position AND first_ns - before_ns <= {near_ns} AS is_near, if(is_near, before_ns, first_ns) AS since_ns
"""
_WINDOW: Final = "WINDOW w AS (PARTITION BY series ORDER BY position ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)"
_COUNTERS: Final = """
SELECT series, toUInt8({plain}) AS suffix, true AS is_rate, position,
  1e9 * if(last >= since, last - since, last) / (last_ns - since_ns) AS shown
FROM (
  SELECT series, position, last_ns, last, {since}, if(is_near, lagInFrame(last) OVER w, first) AS since
  FROM (
    SELECT series, position, min(ns) AS first_ns, max(ns) AS last_ns, argMin(value, ns) AS first, argMax(value, ns) AS last
    FROM (
      SELECT series, toUnixTimestamp64Nano(time) AS ns, {position} AS position, {value}
      {points} AND {adds_up})
    WHERE isFinite(value) GROUP BY series, position)
  {window})
"""

# What was added in a bucket, and what the histogram's own buckets hold of it: keys and counts.
_CUMULATIVE: Final = """
SELECT series, position, bounds, last_ns - since_ns AS added_ns, last_count >= former_count AS goes_on,
  last_count - multiIf(NOT is_near, first_count, goes_on, former_count, 0) AS added,
  last_sum - multiIf(NOT is_near, first_sum, goes_on, former_sum, 0) AS added_sum,
  multiIf(NOT is_near, ([], []), goes_on, {difference}, held) AS counted
FROM (
  SELECT series, position, bounds, held, last_ns, last_count, last_sum, first_count, first_sum, {since},
    lagInFrame(last_count) OVER w AS former_count, lagInFrame(last_sum) OVER w AS former_sum,
    lagInFrame(held) OVER w AS former
  FROM (
    SELECT *, ({keys}, {counts}) AS held FROM (
      SELECT series, position, any(bounds_) AS bounds, min(ns) AS first_ns, max(ns) AS last_ns,
        argMin(count_, ns) AS first_count, argMax(count_, ns) AS last_count,
        argMin(sum_, ns) AS first_sum, argMax(sum_, ns) AS last_sum, argMax(held_, ns) AS last_held
      FROM ({rows} AND {adds_up}) GROUP BY series, position))
  {window})
"""
_DELTA: Final = """
SELECT series, position, any(bounds_) AS bounds, {width_ns} AS added_ns, sum(count_) AS added, sum(sum_) AS added_sum,
  sumMap({keys}, {counts}) AS counted
FROM ({rows} AND NOT {adds_up}) GROUP BY series, position
"""
_ROWS: Final = """
SELECT series, toUnixTimestamp64Nano(time) AS ns, {position} AS position, bounds AS bounds_, toInt64(count) AS count_,
  assumeNotNull(ifNull(sum, nan)) AS sum_, {held} AS held_
{points}
"""
_HISTOGRAMS: Final = """
SELECT series, part.1 AS suffix, suffix = {rate} AS is_rate, position, part.2 AS shown FROM (
  SELECT series, position, [(toUInt8({plain}), if(added > 0, added_sum / added, nan)),
    (toUInt8({rate}), 1e9 * added / added_ns),
    (toUInt8({p95}), if(total > 0, low + (high - low) * greatest(0, 1 - above / inside), nan))] AS parts
  FROM (
    SELECT *, {low} AS low, {high} AS high, summed[at] - wanted AS above, counted.2[at] AS inside FROM (
      SELECT *, arrayFirstIndex(c -> c >= wanted, summed) AS at, counted.1[at] AS key FROM (
        SELECT *, arrayCumSum(counted.2) AS summed, arraySum(counted.2) AS total, {quantile} * total AS wanted
        FROM ({added})))))
ARRAY JOIN parts AS part
"""


@dataclass(frozen=True, slots=True)
class _Kind:
    """Of histograms: the columns that hold their buckets, expressions over those, `{held}`, and a bucket's bounds."""

    type: str
    held: str
    keys: str
    counts: str
    difference: str
    low: str
    high: str


_NEGATED: Final = "[held.1, former.1], [held.2, arrayMap(c -> -c, former.2)]"
_KINDS: Final = (
    _Kind(
        "histogram",
        "bucket_counts",
        "arrayMap(n -> toInt32(n), range(length({held})))",
        "arrayMap(c -> toInt64(c), {held})",
        "(held.1, arrayMap((c, d) -> c - d, held.2, arrayResize(former.2, length(held.2))))",
        "multiIf(key >= length(bounds), bounds[-1], key = 0, least(bounds[1], 0.), bounds[key])",
        "bounds[least(key + 1, length(bounds))]",
    ),
    _Kind(
        "exponential_histogram",
        "(positive_offset, scale, zero_count, bucket_counts)",
        f"arrayPushFront(arrayMap(n -> toInt32(floor(({{held}}.1 + n) * exp2({_SCALE} - {{held}}.2))), "
        f"range(length({{held}}.4))), toInt32({_ZERO_KEY}))",
        "arrayMap(c -> toInt64(c), arrayPushFront({held}.4, {held}.3))",
        f"(arrayReduce('sumMap', {_NEGATED}).1, arrayReduce('sumMap', {_NEGATED}).2)",
        f"if(key = {_ZERO_KEY}, 0., exp2(key / {2**_SCALE}))",
        f"if(key = {_ZERO_KEY}, 0., exp2((key + 1) / {2**_SCALE}))",
    ),
)


def points(buckets: Buckets, kinds: Collection[tuple[str, bool]]) -> str:
    """SELECT of series, suffix (a number of `SUFFIXES`), is_rate, position, shown; empty where there are no points.

    `kinds`: the types of points that there are, and whether they add up from their start. Gauges are means, monotonic
    and delta sums a second; a histogram has three values: mean, observations a second, and the 95th percentile.
    """
    gauges = [type_ for type_ in ("gauge", "sum") if (type_, False) in kinds]
    parts = [_numbers(buckets, _GAUGES, gauges)] if gauges else []
    if ("sum", True) in kinds:
        parts.append(_numbers(buckets, _COUNTERS, ["sum"]))
    for kind in _KINDS:
        parts += [_histograms(buckets, kind, adds_up) for adds_up in (False, True) if (kind.type, adds_up) in kinds]
    return " UNION ALL ".join(parts)


def _numbers(buckets: Buckets, statement: str, types: Iterable[str]) -> str:
    return statement.format(
        plain=_PLAIN,
        seconds=buckets.width_ns / 1e9,
        since=_SINCE.format(near_ns=NEAR_BUCKETS * buckets.width_ns),
        window=_WINDOW,
        position=buckets.position("ns"),
        value=_VALUE,
        adds_up=ADDS_UP,
        points=_POINTS.format(within=buckets.within("time"), types=", ".join(map(quoted, types))),
    )


def _histograms(buckets: Buckets, kind: _Kind, adds_up: bool) -> str:  # noqa: FBT001 - one private use
    held = "last_held" if adds_up else "held_"
    rows = _ROWS.format(
        position=buckets.position("ns"),
        held=kind.held,
        points=_POINTS.format(within=buckets.within("time"), types=quoted(kind.type)),
    )
    added = (_CUMULATIVE if adds_up else _DELTA).format(
        rows=rows,
        adds_up=ADDS_UP,
        keys=kind.keys.format(held=held),
        counts=kind.counts.format(held=held),
        difference=kind.difference,
        since=_SINCE.format(near_ns=NEAR_BUCKETS * buckets.width_ns),
        window=_WINDOW,
        width_ns=buckets.width_ns,
    )
    return _HISTOGRAMS.format(
        plain=_PLAIN, rate=_RATE, p95=_P95, quantile=_QUANTILE, added=added, low=kind.low, high=kind.high
    )
