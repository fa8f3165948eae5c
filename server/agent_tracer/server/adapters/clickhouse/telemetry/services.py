"""Services by bucket: calls and errors of all spans, own time of a sample."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from agent_tracer.server.adapters.clickhouse.engine import Engine, Row
from agent_tracer.server.adapters.clickhouse.telemetry.buckets import Buckets
from agent_tracer.server.adapters.clickhouse.telemetry.families import OF_TENANT, families, sample_of
from agent_tracer.server.adapters.clickhouse.telemetry.reading import read
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.rca.view import ServiceSeries
from agent_tracer.server.ports.telemetry_window import Found

_Own = Mapping[bytes, tuple[Sequence[int], Sequence[float]]]
"""By service, positions and values."""

_OUTLASTS_NS: Final = 300_000_000_000
"""How long after the buckets a failed child may begin of which a span in them failed."""

# A span with children in other services waits for them over the network: that time is no work of its own, and shows as
# the edge's gap instead.
_MEMBERS: Final = """
anyIf(service, own) AS owner, anyIf(position, own) AS began, anyIf(is_failed, own) AS has_failed,
countIf(NOT own AND is_failed) > 0 AS is_passed_on,
(toInt64(anyIf(duration_ns, own)) - toInt64(sumIf(duration_ns, NOT own))) / 1e6 AS own_ms,
countIf(NOT own) > 0 AND (minIf(cityHash64(service), NOT own) != cityHash64(anyIf(service, own))
  OR maxIf(cityHash64(service), NOT own) != cityHash64(anyIf(service, own))) AS is_caller
"""
_SAMPLED: Final = """
SELECT service, groupArray(position), groupArray(calls), groupArray(errors), groupArray(own_errors), groupArray(self_ms)
FROM (
  SELECT owner AS service, began AS position, count() AS calls, countIf(has_failed) AS errors,
    countIf(has_failed AND NOT is_passed_on) AS own_errors, avgIf(greatest(own_ms, 0), NOT is_caller) AS self_ms
  FROM ({families}) GROUP BY owner, began)
GROUP BY service ORDER BY service
"""
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


async def service_series(engine: Engine, tenant: TenantId, buckets: Buckets) -> Found[ServiceSeries]:
    """Calls and errors of every service; where there are many spans, own time of a sample."""
    sample = await sample_of(engine, tenant, buckets)
    if not sample.spans:
        return Found(())
    parameters = {"tenant": tenant}
    sampled = await read(engine, _SAMPLED.format(families=families(buckets, sample, _MEMBERS)), parameters)
    own_ms = {row[0]: (row[1], row[5]) for row in sampled}
    if sample.is_whole:
        counted, own_errors = sampled, {row[0]: (row[1], row[4]) for row in sampled}
    else:
        places = {
            "of": OF_TENANT,
            "position": buckets.position("ns"),
            "within": buckets.within_hours("start_time"),
            "later": buckets.within_hours("start_time", later_ns=_OUTLASTS_NS),
        }
        counted = await read(engine, _CALLS.format(**places), parameters)
        own_errors = {row[0]: (row[1], row[2]) for row in await read(engine, _OWN_ERRORS.format(**places), parameters)}
    series = await asyncio.to_thread(_series, buckets, sample.observed, counted, own_errors, own_ms)
    return Found(series, sample.caveats("services' own time"))


def _series(
    buckets: Buckets, observed: Sequence[int], counted: Sequence[Row], own_errors: _Own, own_ms: _Own
) -> list[ServiceSeries]:
    blank, unknown = buckets.blank(observed), buckets.blank(())
    return [
        ServiceSeries(
            _text(row[0]),
            buckets.series(blank, row[1], row[2]),
            buckets.series(blank, row[1], row[3]),
            buckets.series(blank, *_at(own_errors, row)),
            buckets.series(unknown, *_at(own_ms, row)),
        )
        for row in counted
    ]


def _at(by_service: _Own, row: Row) -> tuple[Sequence[int], Sequence[float]]:
    return by_service.get(row[0], ([], []))


def _text(name: bytes) -> str:
    return name.decode(errors="replace")
