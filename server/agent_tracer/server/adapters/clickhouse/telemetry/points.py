"""Metric points as a value per series and bucket, in SQL: gauges, sums and histograms.

A counter or histogram that adds up from its start (cumulative) is differenced between the last points of two buckets;
where there is none shortly before, between the first and last of one. One that fell was set back to nought, and has
since counted to what it shows (as Prometheus' `rate` has it).
"""

from collections.abc import Container
from typing import Final

from agent_tracer.server.adapters.clickhouse.telemetry.buckets import Buckets

NEAR_BUCKETS: Final = 3
"""A counter's last value so many buckets ago still tells what was added since."""

_QUANTILE: Final = 0.95
_SCALE: Final = 2
"""Exponential buckets are counted in ones of this scale, a fifth wide: OpenTelemetry's own shrink as ranges grow."""
_ZERO_KEY: Final = -1_000_000
"""Of the bucket of values that are nought."""

_POINTS: Final = """
FROM metric_points WHERE tenant = {{tenant:String}} AND {within} AND type IN ({types}) AND NOT bitTest(flags, 0)
"""
_NEAR: Final = "q.1 < p.1 AND p.2 - q.3 <= {near_ns}"
_PREVIOUS: Final = "points, arrayPushFront(arrayPopBack(points), points[1])"
"""The second argument of a lambda (p, q): the bucket before p, or p itself."""

_VALUE: Final = "assumeNotNull(coalesce(double_value, toFloat64(int_value), nan)) AS value"

_GAUGES: Final = """
SELECT series, '' AS suffix, max(is_sum) AS is_rate, groupArray(position) AS positions, groupArray(shown) AS values FROM (
  SELECT series, position, max(is_delta) AS is_sum, if(is_sum, sum(value) / {seconds}, avg(value)) AS shown FROM (
    SELECT series, toUnixTimestamp64Nano(time) AS ns, {position} AS position, {value},
      type = 'sum' AND temporality = 1 AS is_delta
    {points} AND (type = 'gauge' OR NOT monotonic OR temporality = 1))
  WHERE isFinite(value) GROUP BY series, position)
GROUP BY series
"""
_COUNTERS: Final = """
SELECT series, '' AS suffix, true AS is_rate, groupArray(position) AS positions, groupArray(rate) AS values FROM (
  SELECT series, position, 1e9 * if(last >= since, last - since, last) / (last_ns - since_ns) AS rate FROM (
    SELECT series, position, first_ns, last_ns, first, last, lagInFrame(position, 1, position) OVER w AS before,
      lagInFrame(last_ns) OVER w AS before_ns, before < position AND first_ns - before_ns <= {near_ns} AS is_near,
      if(is_near, lagInFrame(last) OVER w, first) AS since, if(is_near, before_ns, first_ns) AS since_ns
    FROM (
      SELECT series, position, min(ns) AS first_ns, max(ns) AS last_ns, argMin(value, ns) AS first, argMax(value, ns) AS last
      FROM (
        SELECT series, toUnixTimestamp64Nano(time) AS ns, {position} AS position, {value}
        {points} AND type = 'sum' AND monotonic AND temporality != 1)
      WHERE isFinite(value) GROUP BY series, position)
    WINDOW w AS (PARTITION BY series ORDER BY position ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)))
GROUP BY series
"""

# Points: position, first and last time, first and last (count, sum), and what their buckets hold at the last: keys and
# counts. Of a delta histogram the sums.
_HISTOGRAMS: Final = """
SELECT series, part.1 AS suffix, part.1 = '.rate' AS is_rate, positions, part.2 AS values FROM (
  SELECT series, bounds, arrayMap(p -> p.1, points) AS positions,
    arrayMap((p, q) -> multiIf(is_delta, (p.7.1, p.7.2, {width_ns}, p.6.1, p.6.2),
      {near}, if(p.5.1 >= q.5.1, (p.5.1 - q.5.1, p.5.2 - q.5.2, p.3 - q.3, {difference}),
        (p.5.1, p.5.2, p.3 - q.3, p.6.1, p.6.2)),
      (p.5.1 - p.4.1, p.5.2 - p.4.2, p.3 - p.2, [], [])), {previous}) AS added,
    [('', arrayMap(a -> if(a.1 > 0, a.2 / a.1, nan), added)), ('.rate', arrayMap(a -> 1e9 * a.1 / a.3, added)),
     ('.p95', arrayMap(a -> {p95}, added))] AS parts
  FROM (
    SELECT series, any(bounds_) AS bounds, max(is_sum) AS is_delta,
      arraySort(p -> p.1, groupArray((position, first_ns, last_ns, first, last, if(is_sum, total_held, held), total))) AS points
    FROM (
      SELECT series, position, any(bounds) AS bounds_, max(is_delta) AS is_sum, min(ns) AS first_ns, max(ns) AS last_ns,
        argMin(counted, ns) AS first, argMax(counted, ns) AS last, {held} AS held,
        sumMapIf(keys, held_counts, is_delta) AS total_held, (sum(counted.1), sum(counted.2)) AS total
      FROM (
        SELECT series, toUnixTimestamp64Nano(time) AS ns, {position} AS position, bounds, temporality = 1 AS is_delta,
          (toInt64(count), assumeNotNull(ifNull(sum, nan))) AS counted,
          {keys} AS keys, arrayMap(c -> toInt64(c), {counts}) AS held_counts
        {points})
      GROUP BY series, position)
    GROUP BY series))
ARRAY JOIN parts AS part
WHERE arrayExists(v -> isFinite(v), values)
"""
_EXPLICIT: Final = {
    "types": "'histogram'",
    "keys": "arrayMap(n -> toInt32(n), range(length(bucket_counts)))",
    "counts": "bucket_counts",
    # The keys follow from the counts: an array alone costs a third of a pair of them to keep.
    "held": (
        "argMaxIf(held_counts, ns, NOT is_delta) AS last_counts, "
        "(arrayMap(n -> toInt32(n), range(length(last_counts))), last_counts)"
    ),
    "difference": "p.6.1, arrayMap((c, d) -> c - d, p.6.2, arrayResize(q.6.2, length(p.6.2)))",
}
_NEGATED: Final = "[p.6.1, q.6.1], [p.6.2, arrayMap(c -> -c, q.6.2)]"
_EXPONENTIAL: Final = {
    "types": "'exponential_histogram'",
    "keys": (
        f"arrayPushFront(arrayMap(n -> toInt32(floor((positive_offset + n) * exp2({_SCALE} - scale))), "
        f"range(length(bucket_counts))), toInt32({_ZERO_KEY}))"
    ),
    "counts": "arrayPushFront(bucket_counts, zero_count)",
    "held": "argMaxIf((keys, held_counts), ns, NOT is_delta)",
    "difference": f"arrayReduce('sumMap', {_NEGATED}).1, arrayReduce('sumMap', {_NEGATED}).2",
}
_AT: Final = f"arrayFirstIndex(c -> c >= {_QUANTILE} * arraySum(a.5), arrayCumSum(a.5))"
_EDGES: Final = f"""multiIf(a.4[{{at}}] = {_ZERO_KEY}, (0., 0.),
  empty(bounds), (exp2(a.4[{{at}}] / {2**_SCALE}), exp2((a.4[{{at}}] + 1) / {2**_SCALE})),
  a.4[{{at}}] >= length(bounds), (bounds[-1], bounds[-1]),
  (if(a.4[{{at}}] = 0, least(bounds[1], 0.), bounds[a.4[{{at}}]]), bounds[a.4[{{at}}] + 1]))"""
_P95: Final = """if(arraySum(a.5) <= 0, nan, arrayMap(at -> arrayMap(e -> e.1 + (e.2 - e.1)
  * greatest(0, 1 - (arrayCumSum(a.5)[at] - {quantile} * arraySum(a.5)) / a.5[at]), [{edges}])[1], [{at}])[1])""".format(
    quantile=_QUANTILE, edges=_EDGES.format(at="at"), at=_AT
)


def series_of_types(buckets: Buckets, types: Container[str]) -> str:
    """SELECT of series, suffix, is_rate, positions, values, of the types of points that there are; else empty.

    Gauges as means, monotonic and delta sums a second; three rows a histogram: mean, observations a second, and the
    95th percentile.
    """
    parts = []
    if "gauge" in types or "sum" in types:
        parts.append(_numbers(buckets, _GAUGES))
    if "sum" in types:
        parts.append(_numbers(buckets, _COUNTERS))
    if "histogram" in types:
        parts.append(_histograms(buckets, **_EXPLICIT))
    if "exponential_histogram" in types:
        parts.append(_histograms(buckets, **_EXPONENTIAL))
    return " UNION ALL ".join(parts)


def _numbers(buckets: Buckets, statement: str) -> str:
    return statement.format(
        seconds=buckets.width_ns / 1e9,
        near_ns=NEAR_BUCKETS * buckets.width_ns,
        position=buckets.position("ns"),
        value=_VALUE,
        points=_POINTS.format(within=buckets.within("time"), types="'gauge', 'sum'"),
    )


def _histograms(buckets: Buckets, types: str, keys: str, counts: str, held: str, difference: str) -> str:
    return _HISTOGRAMS.format(
        width_ns=buckets.width_ns,
        near=_NEAR.format(near_ns=NEAR_BUCKETS * buckets.width_ns),
        previous=_PREVIOUS,
        position=buckets.position("ns"),
        keys=keys,
        counts=counts,
        held=held,
        difference=difference,
        p95=_P95,
        points=_POINTS.format(within=buckets.within("time"), types=types),
    )
