"""The use cases of incidents over the embedded store."""

import asyncio
import itertools
from collections.abc import Mapping
from typing import Any

import pytest
from google.protobuf import json_format

from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.adapters.clickhouse.incidents import ClickHouseIncidents
from agent_tracer.server.api.incident_convert import alerts_from
from agent_tracer.server.domain.errors import IdConflictError, IncidentNotFoundError, InvalidFieldsError
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.incident_drafts import IncidentDraft
from agent_tracer.server.domain.incidents import Incident, IncidentStatus
from agent_tracer.server.domain.paging import PageRequest
from agent_tracer.server.limits import PAGE_BYTES_MAX
from agent_tracer.server.services.incidents import Incidents, IncidentsRequest
from agent_tracer.v1 import correlation_pb2 as pb
from tests.fixtures.alertmanager import alert, notification

S = 1_000_000_000
NOON = 1_790_000_000


@pytest.fixture
def incidents(engine: Engine) -> Incidents:
    ids = itertools.count(1)

    async def watched() -> None:
        """Nothing is watched here."""

    return Incidents(
        store=ClickHouseIncidents(engine),
        catch_up=watched,
        clock_ns=lambda: (NOON + 86_400) * S,
        new_id=lambda: f"made-{next(ids)}",
    )


async def receive(incidents: Incidents, tenant: TenantId, *alerts: Mapping[str, Any], **more: Any) -> Incident:
    request = json_format.ParseDict(notification(alerts, **more), pb.ReceiveAlertsRequest())
    return await incidents.receive(tenant, alerts_from(request))


async def listed(incidents: Incidents, tenant: TenantId, **more: Any) -> list[Incident]:
    return list((await incidents.list(tenant, IncidentsRequest(**more))).items)


async def test_a_created_one_is_found_by_its_id(incidents: Incidents, tenant: TenantId) -> None:
    made = await incidents.create(tenant, IncidentDraft(title="slow"))
    assert made.incident_id == "made-1"
    assert await incidents.get(tenant, "made-1") == made


async def test_the_same_id_twice_at_once_with_other_content_is_kept_once(
    incidents: Incidents, tenant: TenantId
) -> None:
    drafts = [IncidentDraft(incident_id="a", title=f"title {n}") for n in range(4)]
    answers = await asyncio.gather(*(incidents.create(tenant, of) for of in drafts), return_exceptions=True)
    assert sum(isinstance(answer, IdConflictError) for answer in answers) == 3
    assert len(await listed(incidents, tenant)) == 1


async def test_an_unknown_id_is_said_to_be_unknown(incidents: Incidents, tenant: TenantId) -> None:
    with pytest.raises(IncidentNotFoundError) as unknown:
        await incidents.get(tenant, "nobody")
    assert unknown.value.details == {"incident_id": "nobody"}
    with pytest.raises(InvalidFieldsError, match="incident_id"):
        await incidents.get(tenant, "")


async def test_one_group_over_its_life_is_one_incident_and_the_next_time_another(
    incidents: Incidents, tenant: TenantId
) -> None:
    a, b = {"pod": "a"}, {"pod": "b"}
    first = await receive(incidents, tenant, alert(NOON, labels=a))
    assert await receive(incidents, tenant, alert(NOON, labels=a)) == first
    await receive(incidents, tenant, alert(NOON, labels=a), alert(NOON + 60, labels=b))
    await receive(incidents, tenant, alert(NOON, NOON + 90, labels=a), alert(NOON + 60, labels=b))
    await receive(incidents, tenant, alert(NOON + 60, labels=b))
    last = await receive(incidents, tenant, alert(NOON + 60, NOON + 600, labels=b))
    assert await listed(incidents, tenant) == [last]
    assert (last.incident_id, last.start_ns, last.end_ns) == (first.incident_id, NOON * S, (NOON + 600) * S)

    again = await receive(incidents, tenant, alert(NOON + 900, labels=a))
    other = await receive(incidents, tenant, alert(NOON + 901, labels=a), key="other")
    assert await receive(incidents, tenant, alert(NOON + 60, NOON + 600, labels=b)) == last, "a late copy"
    assert await listed(incidents, tenant) == [other, again, last]
    assert await listed(incidents, tenant, status="open") == [other, again]
    assert await listed(incidents, tenant, status="resolved", service="checkout") == [last]


async def test_an_incident_of_alerts_is_ended_by_hand_where_no_end_is_sent(
    incidents: Incidents, tenant: TenantId
) -> None:
    firing = await receive(incidents, tenant, alert(NOON))
    ended = await incidents.create(tenant, IncidentDraft(firing.incident_id, end_ns=(NOON + 60) * S))
    assert ended.status == IncidentStatus.RESOLVED
    again = await receive(incidents, tenant, alert(NOON + 100))
    assert again.incident_id != ended.incident_id


async def test_repeats_are_not_written(incidents: Incidents, tenant: TenantId, engine: Engine) -> None:
    for _ in range(3):
        await receive(incidents, tenant, alert(NOON))
        await incidents.create(tenant, IncidentDraft(incident_id="a", start_ns=NOON * S))
    rows = await engine.rows("SELECT count() FROM incidents WHERE tenant = {tenant:String}", {"tenant": tenant})
    assert rows[0][0] == 2


async def test_pages_go_on_where_the_last_one_ended(incidents: Incidents, tenant: TenantId) -> None:
    for number in range(5):
        await incidents.create(tenant, IncidentDraft(f"i{number}", start_ns=(NOON + number // 2) * S))
    seen, token = [], ""
    while True:
        page = await incidents.list(tenant, IncidentsRequest(page=PageRequest(2, token)))
        seen += [of.incident_id for of in page.items]
        token = page.next_token
        if not token:
            break
    assert seen == ["i4", "i3", "i2", "i1", "i0"]


async def test_a_token_of_another_list_is_refused(incidents: Incidents, tenant: TenantId) -> None:
    for number in range(2):
        await incidents.create(tenant, IncidentDraft(f"i{number}", service="web"))
    token = (await incidents.list(tenant, IncidentsRequest(page=PageRequest(1)))).next_token
    with pytest.raises(InvalidFieldsError, match="page_token"):
        await incidents.list(tenant, IncidentsRequest(service="web", page=PageRequest(1, token)))


async def test_a_page_of_long_incidents_ends_early_and_loses_none(incidents: Incidents, tenant: TenantId) -> None:
    long = {str(n): "v" * 4000 for n in range(15)}
    count = PAGE_BYTES_MAX // 60_000 + 3
    for number in range(count):
        await incidents.create(tenant, IncidentDraft(f"i{number:03}", annotations=long, start_ns=NOON * S))
    first = await incidents.list(tenant, IncidentsRequest(page=PageRequest(count)))
    assert 0 < len(first.items) < count
    rest = await incidents.list(tenant, IncidentsRequest(page=PageRequest(count, first.next_token)))
    assert len(first.items) + len(rest.items) == count
    assert rest.next_token == ""


async def test_wrong_conditions_are_told(incidents: Incidents, tenant: TenantId) -> None:
    with pytest.raises(InvalidFieldsError) as refused:
        await incidents.list(tenant, IncidentsRequest(status="closed", service="s" * 1025))
    assert [violation.field for violation in refused.value.violations] == ["status", "service"]
