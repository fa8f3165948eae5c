"""What every IncidentStore promises, bound to the embedded store."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.adapters.clickhouse.incidents import ClickHouseIncidents
from agent_tracer.server.domain.ids import TenantId, TraceId
from agent_tracer.server.domain.incidents import Incident, IncidentSource, IncidentStatus
from agent_tracer.server.domain.telemetry import TimeRange
from agent_tracer.server.limits import INCIDENTS_READ_MAX
from agent_tracer.server.ports.incidents import IncidentCursor, IncidentStore

S = 1_000_000_000
NOON = 1_790_000_000 * S
AWKWARD = 'it\'s "quoted" \\ back\\nslash {tenant:String} \x00\x07 tab\there ünï 😀'


@pytest.fixture
def store(engine: Engine) -> IncidentStore:
    return ClickHouseIncidents(engine)


def incident(incident_id: str, start_s: int = 0, end_s: int | None = None, **more: Any) -> Incident:
    made = Incident(
        incident_id=incident_id,
        title="checkout is slow",
        status=IncidentStatus.OPEN if end_s is None else IncidentStatus.RESOLVED,
        severity="critical",
        service="checkout",
        start_ns=NOON + start_s * S,
        end_ns=None if end_s is None else NOON + end_s * S,
        source=IncidentSource.API,
    )
    return replace(made, **more)


async def ids(store: IncidentStore, tenant: TenantId, status: str = "", service: str = "") -> list[str]:
    found = await store.incidents(tenant, status=status, service=service, limit=100, after=None)
    return [of.incident_id for of in found]


async def test_what_was_kept_is_read_back_equal(store: IncidentStore, tenant: TenantId) -> None:
    kept = incident(
        AWKWARD.replace("\x00", ""),
        title=AWKWARD,
        service=AWKWARD,
        start_ns=NOON + 123_456_789,
        end_ns=NOON + 223_456_789,
        source=IncidentSource.ALERTMANAGER,
        labels={"a": AWKWARD, AWKWARD: ""},
        annotations={"runbook": "https://example.test/?a=1&b='2'"},
        trace_ids=(TraceId("t-1"), TraceId(AWKWARD)),
    )
    await store.keep(tenant, [kept, incident("plain")])
    assert await store.incident(tenant, kept.incident_id) == kept
    assert await store.incident(tenant, "plain") == incident("plain")
    assert await store.incidents(tenant, status="", service=AWKWARD, limit=9, after=None) == [kept]


async def test_an_id_that_is_kept_already_takes_the_place_of_the_former(store: IncidentStore, tenant: TenantId) -> None:
    await store.keep(tenant, [incident("a", 5)])
    await store.keep(tenant, [incident("a", 5, title="first"), incident("a", 5, 9, title="last")])
    assert await store.incident(tenant, "a") == incident("a", 5, 9, title="last")
    assert await ids(store, tenant) == ["a"]
    assert await ids(store, tenant, status="open") == [], "the former version must not be found by what it was"


async def test_the_last_of_many_quick_writes_wins(store: IncidentStore, tenant: TenantId) -> None:
    for turn in range(8):
        await store.keep(tenant, [incident("a", title=str(turn))])
    found = await store.incident(tenant, "a")
    assert found is not None
    assert found.title == "7"


async def test_nothing_to_keep_is_no_error(store: IncidentStore, tenant: TenantId) -> None:
    await store.keep(tenant, [])
    assert await ids(store, tenant) == []


async def test_a_list_is_newest_first_with_ids_breaking_ties(store: IncidentStore, tenant: TenantId) -> None:
    await store.keep(tenant, [incident("b", 1), incident("c", 2), incident("a", 1), incident("d", 0)])
    assert await ids(store, tenant) == ["c", "b", "a", "d"]


async def test_a_list_goes_on_strictly_after_its_cursor(store: IncidentStore, tenant: TenantId) -> None:
    await store.keep(tenant, [incident(f"i{n}", n // 3) for n in range(10)])
    seen: list[str] = []
    after = None
    while page := await store.incidents(tenant, status="", service="", limit=2, after=after):
        assert len(page) <= 2
        seen += [of.incident_id for of in page]
        after = IncidentCursor(page[-1].start_ns, page[-1].incident_id)
    assert seen == [f"i{n}" for n in reversed(range(10))]


async def test_status_and_service_narrow_a_list(store: IncidentStore, tenant: TenantId) -> None:
    await store.keep(
        tenant, [incident("a", 1), incident("b", 2, 3), incident("c", 3, service="pay"), incident("d", 4, service="")]
    )
    assert await ids(store, tenant, status="open") == ["d", "c", "a"]
    assert await ids(store, tenant, service="checkout") == ["b", "a"]
    assert await ids(store, tenant, status="resolved", service="checkout") == ["b"]
    assert await ids(store, tenant, status="open", service="nobody") == []


async def test_overlapping_is_what_went_on_at_some_time_of_the_range(store: IncidentStore, tenant: TenantId) -> None:
    await store.keep(
        tenant,
        [
            incident("before", 0, 9),
            incident("reaches in", 1, 10),
            incident("within", 12, 13),
            incident("around", 2, 50),
            incident("not over", 3),
            incident("at its end", 20, 30),
            incident("after", 21),
        ],
    )
    found = await store.overlapping(tenant, TimeRange(NOON + 10 * S, NOON + 20 * S))
    assert [of.incident_id for of in found] == ["reaches in", "around", "not over", "within"]


async def test_of_too_many_overlapping_the_latest_are_given(store: IncidentStore, tenant: TenantId) -> None:
    most = INCIDENTS_READ_MAX
    await store.keep(tenant, [incident(f"i{n:05}", n) for n in range(most + 2)])
    found = await store.overlapping(tenant, TimeRange(NOON, NOON + 10**6 * S))
    assert [of.incident_id for of in found] == [f"i{n:05}" for n in range(2, most + 2)]


async def test_the_latest_of_a_prefix_is_the_one_that_started_last(store: IncidentStore, tenant: TenantId) -> None:
    await store.keep(tenant, [incident("g%1-z", 1), incident("g%1-a", 2), incident("g%2-a", 3), incident("g", 9)])
    assert await store.latest(tenant, "g%1-", NOON + 9 * S) == incident("g%1-a", 2)
    assert await store.latest(tenant, "g%1-", NOON + 2 * S) == incident("g%1-a", 2)
    assert await store.latest(tenant, "g%1-", NOON + 2 * S - 1) == incident("g%1-z", 1)
    assert await store.latest(tenant, "g%1-", NOON) is None
    assert await store.latest(tenant, "h", NOON + 9 * S) is None


async def test_tenants_do_not_see_each_other(store: IncidentStore, tenant: TenantId) -> None:
    other = TenantId(f"{tenant}-other")
    await asyncio.gather(
        store.keep(tenant, [incident("a", title="mine")]), store.keep(other, [incident("a", title="theirs")])
    )
    found = await store.incident(other, "a")
    assert found is not None
    assert found.title == "theirs"
    assert await store.incident(tenant, "b") is None
    assert await store.latest(TenantId("nobody"), "a", 2**62) is None
    everything = TimeRange(0, 2**63 - 1)
    assert [of.title for of in await store.overlapping(tenant, everything)] == ["mine"]
