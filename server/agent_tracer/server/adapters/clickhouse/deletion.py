"""Removes a trace: its rows as they came, and all that was made of them. Logs stay, and so do points of metrics."""

from typing import Any, Final

from clickhouse_connect.driver.client import Client

from agent_tracer.server.adapters.clickhouse import graph_settling
from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.adapters.clickhouse.spans import OF_TRACE
from agent_tracer.server.domain.detection.limits import BUCKET_SECONDS
from agent_tracer.server.domain.ids import OtelTraceId, TenantId

_AS_IT_CAME: Final = ("spans", "traces", "evaluations")
_MADE: Final = ("tasks", "service_edges", "component_calls", "failures", "units")
"""By the last one a deletion is found that was interrupted, and can be asked for again."""

_IS_THERE: Final = f"""
SELECT 1 FROM traces WHERE {OF_TRACE} UNION ALL SELECT 1 FROM units WHERE {OF_TRACE} LIMIT 1
"""
# Sums of hours are made on the thread that this runs on: one note before the rows go is enough.
_HOURS_CHANGED: Final = f"""
INSERT INTO settled_hours (tenant, hour, received_at, settled_at)
SELECT DISTINCT tenant, hour, now64(9), greatest(now64(9), (SELECT max(rolled_at) FROM settled_hours) + toIntervalNanosecond(1))
FROM units WHERE {OF_TRACE}
"""
# What the detector made of them is made anew with the hours, but for buckets of which nothing is left.
_BUCKETS_EMPTIED: Final = f"""
INSERT INTO watched_buckets (tenant, kind, name, bucket, received_at, settled_at)
SELECT tenant, if(unit = 'entry', 'service', 'agent'), if(unit = 'entry', service, agent_id) AS of,
  toStartOfInterval(start_time, INTERVAL {BUCKET_SECONDS} SECOND) AS at, now64(9), now64(9)
FROM units FINAL
WHERE is_unit AND (tenant, unit, hour) IN (
  SELECT tenant, unit, hour FROM units WHERE {OF_TRACE} AND unit IN ('entry', 'task'))
GROUP BY tenant, unit, of, at HAVING min(trace_id = unhex({{trace:String}})) AND of != ''
SETTINGS do_not_merge_across_partitions_select_final = 1, max_partitions_per_insert_block = 0
"""


async def delete_trace(engine: Engine, tenant: TenantId, trace_id: OtelTraceId) -> bool:
    """See ports.store.TraceWriter."""
    parameters = {"tenant": tenant, "trace": trace_id.hex()}
    if not await engine.rows(_IS_THERE, parameters):
        return False
    await engine.write(lambda client: _delete(client, _AS_IT_CAME, parameters))
    await forget_trace(engine, tenant, trace_id)
    return True


async def forget_trace(engine: Engine, tenant: TenantId, trace_id: OtelTraceId) -> None:
    """Remove what was made of a trace. Call it when the trace's rows in `spans` and `traces` are gone.

    Runs between settling batches, so that none which had read the spans before brings the trace back.
    """
    parameters: dict[str, Any] = {"tenant": tenant, "trace": trace_id.hex()}

    def forget(client: Client) -> None:
        starts = [row[0] for row in client.query(graph_settling.BUCKETS_OF_TRACE, parameters).result_rows]
        changed = {"tenant": tenant, "starts": starts}
        for statement in (_BUCKETS_EMPTIED, _HOURS_CHANGED):
            client.command(statement, parameters=parameters)
        # Before, lest a crash keeps it from the graph; after, since the graph may be made anew in between.
        client.command(graph_settling.BUCKETS_CHANGED, parameters=changed)
        _delete(client, _MADE, parameters)
        client.command(graph_settling.BUCKETS_CHANGED, parameters=changed)

    await engine.settle(forget)


def _delete(client: Client, tables: tuple[str, ...], parameters: dict[str, Any]) -> None:
    for table in tables:
        client.command(f"DELETE FROM {table} WHERE {OF_TRACE}", parameters=parameters)
