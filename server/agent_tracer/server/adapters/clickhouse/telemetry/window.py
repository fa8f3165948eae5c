"""ports.telemetry_window over the store's tables."""

from collections.abc import Sequence
from typing import Final

from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.adapters.clickhouse.telemetry.buckets import Buckets
from agent_tracer.server.adapters.clickhouse.telemetry.calls import call_series
from agent_tracer.server.adapters.clickhouse.telemetry.changes import changes
from agent_tracer.server.adapters.clickhouse.telemetry.labels import SeriesLabels
from agent_tracer.server.adapters.clickhouse.telemetry.logs import log_series
from agent_tracer.server.adapters.clickhouse.telemetry.metrics import metric_series
from agent_tracer.server.adapters.clickhouse.telemetry.reading import read
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.rca.view import Change, LogSeries, MetricSeries
from agent_tracer.server.domain.telemetry import TimeRange
from agent_tracer.server.ports.telemetry_window import Calls, Found, Observed, SeriesPlan

_HELD: Final = """
SELECT groupUniqArray(intDiv(toUnixTimestamp64Nano({column}) - {{from_ns:Int64}}, {{width_ns:Int64}})) FROM {table}
WHERE tenant = {{tenant:String}} AND {column} >= fromUnixTimestamp64Nano({{from_ns:Int64}}, 'UTC')
  AND {column} < fromUnixTimestamp64Nano({{to_ns:Int64}}, 'UTC'){hours}
"""
_SPAN_HOURS: Final = """
  AND toStartOfHour(start_time) >= toStartOfHour(fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC'))
  AND toStartOfHour(start_time) <= toStartOfHour(fromUnixTimestamp64Nano({to_ns:Int64}, 'UTC'))"""
_OBSERVED: Final = " UNION ALL ".join(
    f"SELECT {n}, * FROM ({_HELD.format(column=column, table=table, hours=hours)})"
    for n, (column, table, hours) in enumerate(
        (("start_time", "spans", _SPAN_HOURS), ("time", "logs", ""), ("time", "metric_points", ""))
    )
)


class ClickHouseTelemetry:
    """ports.telemetry_window.TelemetryWindow."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._labels = SeriesLabels(engine)

    async def observed(self, tenant: TenantId, time_range: TimeRange, width_ns: int) -> Observed:
        """See the port."""
        if width_ns <= 0:
            raise ValueError("buckets need a width")
        rows = await read(
            self._engine,
            _OBSERVED,
            {"tenant": tenant, "from_ns": time_range.start_ns, "to_ns": time_range.end_ns, "width_ns": width_ns},
        )
        starts = {n: [time_range.start_ns + at * width_ns for at in sorted(found)] for n, found in rows}
        return Observed(spans=starts[0], logs=starts[1], metrics=starts[2])

    async def calls(self, tenant: TenantId, plan: SeriesPlan) -> Calls:
        """See the port."""
        return await call_series(self._engine, tenant, Buckets.of(plan))

    async def metrics(self, tenant: TenantId, plan: SeriesPlan) -> Found[MetricSeries]:
        """See the port."""
        return await metric_series(self._engine, tenant, Buckets.of(plan), self._labels)

    async def logs(self, tenant: TenantId, plan: SeriesPlan) -> Found[LogSeries]:
        """See the port."""
        return await log_series(self._engine, tenant, Buckets.of(plan))

    async def changes(self, tenant: TenantId, time_range: TimeRange) -> Sequence[Change]:
        """See the port."""
        return await changes(self._engine, tenant, time_range)
