"""Log records are told apart by the place in the code that wrote them, where they tell it."""

from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs

from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.adapters.clickhouse.telemetry.window import ClickHouseTelemetry
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.rca.view import Window
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.ports.telemetry_window import SeriesPlan
from tests.fixtures.engine import load

MINUTE_NS = 60 * 10**9
START_NS = 1_790_000_040 * 10**9
PLAN = SeriesPlan(Window([START_NS], MINUTE_NS), Window([START_NS + MINUTE_NS], MINUTE_NS))


def record(text: str, **attributes: str) -> dict[str, Any]:
    told = [{"key": key.replace("__", "."), "value": {"string_value": value}} for key, value in attributes.items()]
    return {"body": {"string_value": text}, "severity_number": 9, "attributes": told}


async def templates(engine: Engine, tenant: TenantId, *records: dict[str, Any]) -> list[tuple[str, float]]:
    """Of the records, a second from each other, with their counts."""
    service = [{"key": "service.name", "value": {"string_value": "cart"}}]
    timed = [{**each, "time_unix_nano": START_NS + at * 10**9} for at, each in enumerate(records)]
    block: dict[str, Any] = {"resource": {"attributes": service}, "scope_logs": [{"log_records": timed}]}
    await load(
        engine,
        tenant,
        Signal.LOGS,
        [ExportLogsServiceRequest(resource_logs=[ResourceLogs(**block)]).SerializeToString()],
    )
    found = await ClickHouseTelemetry(engine).logs(tenant, PLAN)
    return [(log.template, log.counts.before[0]) for log in found.series]


@pytest.mark.parametrize(
    ("first", "second", "place"),
    [
        (record("i.c.Cart#17 id 4f21 is read"), record("i.c.Cart#99 id 77aa is read"), "i.c.Cart#17"),
        (record("pkg/cart.go:17 id 4f21 is read"), record("pkg/cart.go:99 id 77aa is read"), "pkg/cart.go:17"),
        (
            record("id 4f21 is read", code__file__path="cart.py", code__line__number="17"),
            record("id 77aa is read", code__file__path="cart.py", code__line__number="99"),
            "cart.py#17",
        ),
    ],
)
async def test_lines_of_two_places_are_two_templates(
    engine: Engine, tenant: TenantId, first: dict[str, Any], second: dict[str, Any], place: str
) -> None:
    found = await templates(engine, tenant, first, first, second)
    assert sorted(count for _, count in found) == [1.0, 2.0]
    assert next(text for text, count in found if count == 2.0).startswith(place)


async def test_one_place_with_other_values_is_one_template(engine: Engine, tenant: TenantId) -> None:
    texts = ["i.c.Cart#17 read the cart of one customer: Ann", "i.c.Cart#17 read the cart of one customer: Bob the 2nd"]
    assert [count for _, count in await templates(engine, tenant, *map(record, texts))] == [2.0]


async def test_a_logger_that_tells_its_own_line_does_not_hide_what_is_said(engine: Engine, tenant: TenantId) -> None:
    texts = ["log.go:12 connection to the ledger was refused", "log.go:12 cart is read"]
    assert len(await templates(engine, tenant, *map(record, texts))) == 2


async def test_addresses_and_numbers_are_no_places(engine: Engine, tenant: TenantId) -> None:
    texts = ["asked ledger:8080 for order #17", "asked ledger:8081 for order #18"]
    assert [count for _, count in await templates(engine, tenant, *map(record, texts))] == [2.0]
