"""Calls between services by bucket, with the time lost between caller and callee."""

from collections.abc import Mapping, Sequence
from typing import Final

from agent_tracer.server.adapters.clickhouse.engine import Engine, Row
from agent_tracer.server.adapters.clickhouse.telemetry.buckets import Buckets
from agent_tracer.server.adapters.clickhouse.telemetry.families import families, sample_of
from agent_tracer.server.adapters.clickhouse.telemetry.reading import read
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.rca.view import EdgeSeries
from agent_tracer.server.ports.telemetry_window import Found

MINUTE_NS: Final = 60_000_000_000

# Whatever kind the caller's span has: where it is no client's, its time holds other work besides, which is the same
# before and during unless that work is what became slow.
_CALLS: Final = """
anyIf(service, own) AS caller, anyIf(duration_ns, own) AS caller_ns,
arrayFilter(c -> c.1 != caller, groupArrayIf((service, position, is_failed, duration_ns), NOT own)) AS callees
"""
_SAMPLED: Final = """
SELECT caller, callee, groupArray(position), groupArray(calls), groupArray(errors), groupArray(gap_ms) FROM (
  SELECT caller, c.1 AS callee, c.2 AS position, count() AS calls, countIf(c.3) AS errors,
    quantileExactInclusive(0.5)((toInt64(caller_ns) - toInt64(c.4)) / 1e6) AS gap_ms
  FROM ({families}) ARRAY JOIN callees AS c GROUP BY caller, callee, position)
GROUP BY caller, callee ORDER BY caller, callee
"""
_SETTLED: Final = """
SELECT caller, callee, groupArray(position), groupArray(calls_), groupArray(errors_) FROM (
  SELECT caller, callee, {position} AS position, sum(calls) AS calls_, sum(errors) AS errors_
  FROM (
    SELECT caller, callee, calls, errors, toInt64(toUnixTimestamp(minute)) * 1000000000 AS ns
    FROM service_edges FINAL WHERE tenant = {{tenant:String}} AND {within})
  GROUP BY caller, callee, position)
GROUP BY caller, callee ORDER BY caller, callee
"""


async def edge_series(engine: Engine, tenant: TenantId, buckets: Buckets) -> Found[EdgeSeries]:
    """All edges. Of many spans, calls as they are settled, and gaps of a sample."""
    sample = await sample_of(engine, tenant, buckets)
    if not sample.spans:
        return Found(())
    statement = _SAMPLED.format(families=families(buckets, sample, _CALLS))
    sampled = await read(engine, statement, {"tenant": tenant})
    gaps = {(row[0], row[1]): (row[2], row[5]) for row in sampled}
    if sample.is_whole:
        return Found(_edges(buckets, sample.observed, sampled, gaps))
    settled = await read(
        engine, _SETTLED.format(position=buckets.position("ns"), within=buckets.within("minute")), {"tenant": tenant}
    )
    observed = [at for at in sample.observed if _holds_minute(buckets, at)]
    return Found(_edges(buckets, observed, settled, gaps), sample.caveats("time lost between services"))


def _edges(
    buckets: Buckets,
    observed: Sequence[int],
    rows: Sequence[Row],
    gaps: Mapping[tuple[bytes, bytes], tuple[Sequence[int], Sequence[float]]],
) -> list[EdgeSeries]:
    """`rows`: caller, callee, positions, calls, errors; `gaps`: positions and medians of an edge."""
    blank, unknown = buckets.blank(observed), buckets.blank(())
    found = []
    for caller, callee, positions, calls, errors, *_ in rows:
        found.append(
            EdgeSeries(
                _text(caller),
                _text(callee),
                buckets.series(blank, positions, calls),
                buckets.series(blank, positions, errors),
                buckets.series(unknown, *gaps.get((caller, callee), ((), ()))),
            )
        )
    return found


def _holds_minute(buckets: Buckets, position: int) -> bool:
    """Calls are kept by minute, and counted in the bucket in which the minute begins."""
    start_ns = buckets.starts_ns[position]
    return -(-start_ns // MINUTE_NS) * MINUTE_NS < start_ns + buckets.width_ns


def _text(name: bytes) -> str:
    return name.decode(errors="replace")
