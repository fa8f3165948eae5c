"""Calls by bucket, of services and between them: counts of all spans, own time and time lost of a sample."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agent_tracer.server.adapters.clickhouse.engine import Engine, Row
from agent_tracer.server.adapters.clickhouse.telemetry.buckets import Buckets
from agent_tracer.server.adapters.clickhouse.telemetry.families import OF_TENANT, Sample, families, sample_of
from agent_tracer.server.adapters.clickhouse.telemetry.reading import read
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.rca.view import EdgeSeries, Series, ServiceSeries
from agent_tracer.server.ports.telemetry_window import Calls, Found

MINUTE_NS: Final = 60_000_000_000

_OUTLASTS_NS: Final = 300_000_000_000
"""How long after the buckets a failed child may begin of which a span in them failed."""

_WORKING_KINDS: Final = "1, 2, 5"
"""INTERNAL, SERVER and CONSUMER of OTLP's span kinds."""

# A client's span with children in other services waits for them over the network: that time is no work of its own, and
# shows as the edge's gap instead. So does a span that tells no kind. One of a kind that works holds its own work beside
# the wait where no client's span is in between: what is left of it is its own time, and nothing is known of the gap.
_FAMILY: Final = f"""
anyIf(service, own) AS owner, anyIf(duration_ns, own) AS owner_ns, anyIf(position, own) AS began,
anyIf(is_failed, own) AS has_failed, countIf(NOT own AND is_failed) > 0 AS is_passed_on,
anyIf(otel_kind, own) IN ({_WORKING_KINDS}) AS works,
(toInt64(owner_ns) - toInt64(sumIf(duration_ns, NOT own))) / 1e6 AS own_ms,
arrayFilter(c -> c.1 != owner, groupArrayIf((service, position, is_failed, duration_ns), NOT own)) AS callees
"""
# One pass for both: a family is a call of its owner (callee ''), and one of each callee. Of the former the milliseconds
# are its own time, of the latter those that were lost in between.
_SAMPLED: Final = """
SELECT owner, callee, groupArray(position), groupArray(ms), {counts} FROM (
  SELECT owner, call.1 AS callee, call.2 AS position, count() AS calls, countIf(call.3) AS errors,
    countIf(call.4) AS own_errors,
    if(callee = '', avgIf(greatest(call.5, 0), isFinite(call.5)), quantileExactInclusiveIf(0.5)(call.5, isFinite(call.5))) AS ms
  FROM (
    SELECT owner, arrayPushFront(
      arrayMap(c -> (c.1, c.2, c.3, false, if(works, nan, (toInt64(owner_ns) - toInt64(c.4)) / 1e6)), callees),
      ('', began, has_failed, has_failed AND NOT is_passed_on, if(works OR empty(callees), own_ms, nan))) AS known
    FROM ({families}))
  ARRAY JOIN known AS call GROUP BY owner, callee, position)
GROUP BY owner, callee ORDER BY owner, callee
"""
_COUNTS: Final = "groupArray(calls), groupArray(errors), groupArray(own_errors)"
_CALLS: Final = """
SELECT service, groupArray(position), groupArray(calls), groupArray(errors) FROM (
  SELECT service, {position} AS position, count() AS calls, countIf(status = 2) AS errors FROM (
    SELECT service, status, toUnixTimestamp64Nano(start_time) AS ns FROM spans WHERE {of} AND {within})
  GROUP BY service, position)
GROUP BY service ORDER BY service
"""
_OWN_ERRORS: Final = """
SELECT service, groupArray(position), groupArray(own_errors) FROM (
  SELECT service, {position} AS position, count() AS own_errors FROM (
    SELECT service, toUnixTimestamp64Nano(start_time) AS ns FROM spans
    WHERE {of} AND {within} AND status = 2 AND cityHash64(trace_id, span_id) NOT IN (
      SELECT cityHash64(trace_id, parent_span_id) FROM spans WHERE {of} AND {later} AND status = 2))
  GROUP BY service, position)
GROUP BY service
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


@dataclass(frozen=True, slots=True)
class _Values:
    """What is known of a service or an edge at some of the positions."""

    positions: Sequence[int] = ()
    ms: Sequence[float] = ()
    calls: Sequence[float] = ()
    errors: Sequence[float] = ()
    own_errors: Sequence[float] = ()


_Edge = tuple[bytes, bytes]
"""Caller and callee."""


async def call_series(engine: Engine, tenant: TenantId, buckets: Buckets) -> Calls:
    """Of few spans all from one reading of them; of many, what the sample cannot tell is counted."""
    places = {"of": OF_TENANT, "position": buckets.position("ns"), "within": buckets.within_hours("start_time")}
    counted = await read(engine, _CALLS.format(**places), {"tenant": tenant})
    if not counted:
        return Calls(Found(()), Found(()))
    sample = sample_of(sum(sum(row[2]) for row in counted), (at for row in counted for at in row[1]))
    statement = _SAMPLED.format(
        families=families(buckets, sample, _FAMILY), counts=_COUNTS if sample.is_whole else "[], [], []"
    )
    known = {(row[0], row[1]): _Values(*row[2:]) for row in await read(engine, statement, {"tenant": tenant})}
    services: Mapping[bytes, _Values]
    edges: Mapping[_Edge, _Values]
    if sample.is_whole:
        services = {owner: each for (owner, callee), each in known.items() if not callee}
        edges = {edge: each for edge, each in known.items() if edge[1]}
    else:
        services = await _all_services(engine, tenant, buckets, counted)
        edges = await _all_edges(engine, tenant, buckets)
    return await asyncio.to_thread(_series, buckets, sample, services, edges, known)


async def _all_services(
    engine: Engine, tenant: TenantId, buckets: Buckets, counted: Sequence[Row]
) -> Mapping[bytes, _Values]:
    statement = _OWN_ERRORS.format(
        of=OF_TENANT,
        position=buckets.position("ns"),
        within=buckets.within_hours("start_time"),
        later=buckets.within_hours("start_time", later_ns=_OUTLASTS_NS),
    )
    own = {row[0]: row[1:] for row in await read(engine, statement, {"tenant": tenant})}
    return {
        service: _Values(positions, (), calls, errors, _beside(positions, own.get(service)))
        for service, positions, calls, errors in counted
    }


def _beside(positions: Sequence[int], found: Row | None) -> Sequence[float]:
    """Values at the positions, 0 where none was found."""
    values = dict(zip(*found, strict=True)) if found else {}
    return [values.get(position, 0.0) for position in positions]


async def _all_edges(engine: Engine, tenant: TenantId, buckets: Buckets) -> Mapping[_Edge, _Values]:
    """As they are settled, by minute."""
    statement = _SETTLED.format(position=buckets.position("ns"), within=buckets.within("minute"))
    rows = await read(engine, statement, {"tenant": tenant})
    return {
        (caller, callee): _Values(positions, (), calls, errors) for caller, callee, positions, calls, errors in rows
    }


def _series(
    buckets: Buckets,
    sample: Sample,
    services: Mapping[bytes, _Values],
    edges: Mapping[_Edge, _Values],
    known: Mapping[_Edge, _Values],
) -> Calls:
    between = sample.observed if sample.is_whole else [at for at in sample.observed if _holds_minute(buckets, at)]
    blank, edge_blank, unknown = buckets.blank(sample.observed), buckets.blank(between), buckets.blank(())

    def milliseconds(of: _Edge) -> Series:
        sampled = known.get(of, _Values())
        return buckets.series(unknown, sampled.positions, sampled.ms)

    of_services = [
        ServiceSeries(
            _text(name),
            buckets.series(blank, each.positions, each.calls),
            buckets.series(blank, each.positions, each.errors),
            buckets.series(blank, each.positions, each.own_errors),
            milliseconds((name, b"")),
        )
        for name, each in services.items()
    ]
    of_edges = [
        EdgeSeries(
            _text(caller),
            _text(callee),
            buckets.series(edge_blank, each.positions, each.calls),
            buckets.series(edge_blank, each.positions, each.errors),
            milliseconds((caller, callee)),
        )
        for (caller, callee), each in edges.items()
    ]
    return Calls(
        Found(of_services, sample.caveats("services' own time")),
        Found(of_edges, sample.caveats("time lost between services")),
    )


def _holds_minute(buckets: Buckets, position: int) -> bool:
    """Calls are kept by minute, and counted in the bucket in which the minute begins."""
    start_ns = buckets.starts_ns[position]
    return -(-start_ns // MINUTE_NS) * MINUTE_NS < start_ns + buckets.width_ns


def _text(name: bytes) -> str:
    return name.decode(errors="replace")
