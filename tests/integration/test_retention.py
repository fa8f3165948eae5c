"""Retention: counted from receipt, and it really frees the rows."""

import time

import pytest

from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.adapters.clickhouse.load import ClickHouseLoader
from agent_tracer.server.adapters.clickhouse.schema import Retention, prepare
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.signals import Signal
from tests.fixtures.engine import record
from tests.fixtures.otlp_requests import span, trace_request

DAY_NS = 86_400 * 10**9
ROWS = "SELECT count() FROM {table} WHERE tenant = {{tenant:String}}"


async def rows_left(engine: Engine, tenant: TenantId, table: str) -> int:
    await engine.write(lambda client: client.command(f"OPTIMIZE TABLE {table} FINAL"))
    ((count,),) = await engine.rows(ROWS.format(table=table), {"tenant": tenant})
    return int(count)


@pytest.mark.parametrize("table", ["spans", "traces"])
async def test_what_was_received_too_long_ago_is_gone_and_the_rest_stays(
    engine: Engine, tenant: TenantId, table: str
) -> None:
    loader = ClickHouseLoader(engine)
    now_ns = time.time_ns()
    for days in (0, 29, 31, 400):
        received = [
            record(tenant, Signal.TRACES, trace_request(span(days + 1)).SerializeToString(), now_ns - days * DAY_NS)
        ]
        await loader.insert(Signal.TRACES, received, f"{tenant}-{days}")
    assert await rows_left(engine, tenant, table) == 2


async def test_the_days_are_those_of_the_settings(engine: Engine) -> None:
    def ttl(days: int) -> str:
        engine.writer.call(lambda client: prepare(client, Retention(raw_days=days)))
        statement = "SELECT create_table_query FROM system.tables WHERE name = 'spans'"
        return str(engine.writer.call(lambda client: client.query(statement).result_rows[0][0]))

    assert "toIntervalDay(7)" in ttl(7)
    assert "toIntervalDay(30)" in ttl(30)


@pytest.mark.parametrize("table", ["spans", "traces", "logs", "metric_points", "evaluations", "quarantine"])
async def test_what_the_journal_lets_go_of_is_synced(engine: Engine, table: str) -> None:
    ((statement,),) = await engine.rows(
        "SELECT create_table_query FROM system.tables WHERE database = currentDatabase() AND name = {table:String}",
        {"table": table},
    )
    assert b"fsync_after_insert = 1, fsync_part_directory = 1" in statement
