"""Metrics as series: the ones that moved most, each with a name that tells it from the others of its component."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from agent_tracer.server.adapters.clickhouse.engine import Engine, Row
from agent_tracer.server.adapters.clickhouse.telemetry.buckets import Buckets
from agent_tracer.server.adapters.clickhouse.telemetry.naming import NamedSeries, owner, told_apart
from agent_tracer.server.adapters.clickhouse.telemetry.points import histogram_series, number_series
from agent_tracer.server.adapters.clickhouse.telemetry.strength import moved
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.rca.view import MetricSeries
from agent_tracer.server.limits import TELEMETRY_METRIC_SERIES_MAX
from agent_tracer.server.ports.telemetry_window import Found

_CHOSEN: Final = """
SELECT series, suffix, is_rate, positions, values, count() OVER ()
FROM (SELECT series, suffix, is_rate, positions, values, {moved} FROM ({numbers} UNION ALL {histograms}))
ORDER BY moved DESC, series, suffix LIMIT {limit}
"""
_LABELS: Final = """
SELECT series, any(metric), any(service), any(mapKeys(attributes)), any(mapValues(attributes)), any(mapKeys(resource)),
  any(mapValues(resource))
FROM metric_points WHERE tenant = {{tenant:String}} AND {within} AND series IN {{series:Array(UInt64)}}
GROUP BY series
"""


async def metric_series(engine: Engine, tenant: TenantId, buckets: Buckets) -> Found[MetricSeries]:
    """Series of every attribute set and instance, at most TELEMETRY_METRIC_SERIES_MAX."""
    statement = _CHOSEN.format(
        moved=moved(buckets, "positions", "values"),
        numbers=number_series(buckets),
        histograms=histogram_series(buckets),
        limit=TELEMETRY_METRIC_SERIES_MAX,
    )
    rows = await engine.rows(statement, {"tenant": tenant})
    if not rows:
        return Found(())
    by_series = await _labels(engine, tenant, buckets, rows)
    named = [_named(buckets, row, by_series[row[0]]) for row in rows if row[0] in by_series]
    count = rows[0][-1]
    series = told_apart(each for each in named if each.component)
    return Found(series, _caveats(count, len(rows)), count - len(rows))


async def _labels(
    engine: Engine, tenant: TenantId, buckets: Buckets, rows: Sequence[Row]
) -> Mapping[int, Sequence[object]]:
    """What the series are called, by number: of most a single bucket tells it, which is read faster than all."""
    found: dict[int, Sequence[object]] = {}
    widest = Counter(position for row in rows for position in row[3]).most_common(1)[0][0]
    for part in (buckets.only(widest), buckets):
        unknown = sorted({row[0] for row in rows} - found.keys())
        if unknown:
            statement = _LABELS.format(within=part.within("time"))
            labels = await engine.rows(statement, {"tenant": tenant, "series": unknown})
            found.update({row[0]: row[1:] for row in labels})
    return found


def _named(buckets: Buckets, row: Row, labels: Sequence[object]) -> NamedSeries:
    _, suffix, is_rate, positions, values, _ = row
    metric, service, *pairs = labels
    attributes, resource = _texts(*pairs[:2]), _texts(*pairs[2:])  # type: ignore[arg-type]
    return NamedSeries(
        owner(_text(service), attributes, resource),  # type: ignore[arg-type]
        _text(metric) + _text(suffix),  # type: ignore[arg-type]
        attributes,
        resource,
        buckets.series(buckets.blank(()), positions, values),
        adds_up=bool(is_rate),
    )


def _caveats(count: int, read: int) -> list[str]:
    return [] if count <= read else [f"metrics: of {count} series the {read} that moved most"]


def _texts(keys: Sequence[bytes], texts: Sequence[bytes]) -> Mapping[str, str]:
    return {_text(key): _text(text) for key, text in zip(keys, texts, strict=True)}


def _text(name: bytes) -> str:
    return name.decode(errors="replace")
