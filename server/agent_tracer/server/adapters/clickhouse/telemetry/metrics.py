"""Metrics as series: the ones that moved most, each with a name that tells it from the others of its component."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from agent_tracer.server.adapters.clickhouse.engine import Engine, Row
from agent_tracer.server.adapters.clickhouse.telemetry.buckets import Buckets
from agent_tracer.server.adapters.clickhouse.telemetry.labels import Labels, SeriesLabels
from agent_tracer.server.adapters.clickhouse.telemetry.naming import NamedSeries, owner, told_apart
from agent_tracer.server.adapters.clickhouse.telemetry.points import ADDS_UP, SUFFIXES, points
from agent_tracer.server.adapters.clickhouse.telemetry.reading import read
from agent_tracer.server.adapters.clickhouse.telemetry.strength import moved
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.rca.view import MetricSeries
from agent_tracer.server.limits import TELEMETRY_METRIC_SERIES_MAX
from agent_tracer.server.ports.telemetry_window import Found

_KINDS: Final = """
SELECT DISTINCT type, {adds_up} FROM metric_points WHERE tenant = {{tenant:String}} AND {within} AND type != 'summary'
"""
_CHOSEN: Final = """
SELECT series, suffix, is_rate, positions, values, count() OVER () FROM (
  SELECT series, suffix, max(is_rate) AS is_rate, groupArray(position) AS positions, groupArray(shown) AS values, {moved}
  FROM ({points}) GROUP BY series, suffix HAVING countIf(isFinite(shown)) > 0)
ORDER BY moved DESC, series, suffix LIMIT {limit}
"""


async def metric_series(
    engine: Engine, tenant: TenantId, buckets: Buckets, labels: SeriesLabels
) -> Found[MetricSeries]:
    """Series of every attribute set and instance, at most TELEMETRY_METRIC_SERIES_MAX."""
    rows = await _chosen(engine, tenant, buckets)
    if not rows:
        return Found(())
    positions: dict[int, Sequence[int]] = {row[0]: row[3] for row in rows}
    by_series = await labels.of(tenant, buckets, positions)
    series, count = await asyncio.to_thread(_series, buckets, rows, by_series), rows[0][-1]
    return Found(series, _caveats(count, len(rows)), count - len(rows))


async def _chosen(engine: Engine, tenant: TenantId, buckets: Buckets) -> Sequence[Row]:
    """Of the types that are there: planning a statement takes longer than reading what there is none of."""
    kinds = await read(engine, _KINDS.format(adds_up=ADDS_UP, within=buckets.within("time")), {"tenant": tenant})
    shown = points(buckets, {(type_, bool(adds_up)) for type_, adds_up in kinds})
    if not shown:
        return ()
    statement = _CHOSEN.format(
        moved=moved(buckets, "position", "shown"), points=shown, limit=TELEMETRY_METRIC_SERIES_MAX
    )
    return await read(engine, statement, {"tenant": tenant}, is_arithmetic=True)


def _series(buckets: Buckets, rows: Sequence[Row], by_series: Mapping[int, Labels]) -> list[MetricSeries]:
    named = (_named(buckets, row, by_series[row[0]]) for row in rows if row[0] in by_series)
    return told_apart(each for each in named if each.component)


def _named(buckets: Buckets, row: Row, labels: Labels) -> NamedSeries:
    _, suffix, is_rate, positions, values, _ = row
    return NamedSeries(
        owner(labels.service, labels.attributes, labels.resource),
        labels.metric + SUFFIXES[suffix],
        labels.attributes,
        labels.resource,
        buckets.series(buckets.blank(()), positions, values),
        adds_up=bool(is_rate),
    )


def _caveats(count: int, read_: int) -> list[str]:
    return [] if count <= read_ else [f"metrics: of {count} series the {read_} that moved most"]
