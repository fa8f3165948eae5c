"""Names of metric series: read once, kept within a bound, and never told to another tenant."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from agent_tracer.server.adapters.clickhouse.engine import Engine, Row
from agent_tracer.server.adapters.clickhouse.telemetry import ClickHouseTelemetry, labels
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.rca.view import Window
from agent_tracer.server.ports.telemetry_window import SeriesPlan, TelemetryWindow
from tests.fixtures.telemetry_shop import MINUTE, START, Shop, gauge, number, resource_of

PLAN = SeriesPlan(Window([START - MINUTE], MINUTE), Window([START], MINUTE))
NAMES = {"load{route=/a}", "load{route=/b}"}


@pytest.fixture
def read_labels(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many series each reading of labels asked for."""
    asked: list[int] = []
    rows = engine.rows

    async def counted(statement: str, parameters: Mapping[str, Any] | None = None) -> Sequence[Row]:
        if "series" in (parameters or {}):
            asked.append(len((parameters or {})["series"]))
        return await rows(statement, parameters)

    monkeypatch.setattr(engine, "rows", counted)
    return asked


async def _put(engine: Engine, tenant: TenantId, *routes: str) -> None:
    points = [number(at, 1.0, route=route) for route in routes for at in (-MINUTE, 0)]
    await Shop(engine, tenant).metrics(resource_of("front"), gauge("load", *points))


async def _names(window: TelemetryWindow, tenant: TenantId) -> set[str]:
    return {each.name for each in (await window.metrics(tenant, PLAN)).series}


async def test_names_are_read_once_because_that_takes_as_long_as_the_values(
    engine: Engine, tenant: TenantId, read_labels: list[int]
) -> None:
    window = ClickHouseTelemetry(engine)
    await _put(engine, tenant, "/a", "/b")

    assert await _names(window, tenant) == await _names(window, tenant) == NAMES
    await _put(engine, tenant, "/c")
    assert await _names(window, tenant) == {*NAMES, "load{route=/c}"}

    assert read_labels == [2, 1]


async def test_names_that_find_no_room_are_read_again(
    engine: Engine, tenant: TenantId, read_labels: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labels, "SERIES_LABELS_KEPT_BYTES_MAX", 1)
    window = ClickHouseTelemetry(engine)
    await _put(engine, tenant, "/a", "/b")

    assert await _names(window, tenant) == await _names(window, tenant) == NAMES

    assert read_labels == [2, 2]


async def test_what_one_tenant_read_is_not_kept_for_another(
    engine: Engine, tenant: TenantId, read_labels: list[int]
) -> None:
    window = ClickHouseTelemetry(engine)
    other = TenantId(f"{tenant}-other")
    await _put(engine, tenant, "/a", "/b")
    await _put(engine, other, "/a", "/b")

    assert await _names(window, tenant) == await _names(window, other) == NAMES

    assert read_labels == [2, 2]
