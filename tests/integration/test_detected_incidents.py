"""What the detector makes of its incidents: people end them too, and the store holds those of others."""

import asyncio
from collections.abc import Sequence

import pytest

from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.adapters.clickhouse.incidents import ClickHouseIncidents
from agent_tracer.server.adapters.clickhouse.watched import ClickHouseWatched
from agent_tracer.server.domain.detection.episodes import BUCKET_NS, Kind, Subject
from agent_tracer.server.domain.detection.figures import Alarm, Measure
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.incident_drafts import IncidentDraft
from agent_tracer.server.domain.incidents import Incident, IncidentSource, IncidentStatus
from agent_tracer.server.services.detected_incidents import DetectedIncidents
from agent_tracer.server.services.incidents import Incidents

FIRST = 1_700_000_000 // 300
SHOP = Subject(Kind.SERVICE, "shop", "shop")
PLANNER = Subject(Kind.AGENT, "planner", "")


class Noticing:
    """The detector's incidents in the real store, of the alarms that a test thinks up, and people beside it."""

    def __init__(self, engine: Engine, tenant: TenantId) -> None:
        self._engine, self._tenant = engine, tenant
        self.store = ClickHouseIncidents(engine)
        self._writing = asyncio.Lock()
        self._people = Incidents(
            store=self.store, catch_up=self._nothing, clock_ns=lambda: (FIRST + 200) * BUCKET_NS, new_id=str,
            writing=self._writing,
        )  # fmt: skip
        self.restart()

    async def _nothing(self) -> None: ...

    def restart(self) -> None:
        self.detected = DetectedIncidents(ClickHouseWatched(self._engine), self.store, self._writing)

    async def tell(self, subject: Subject, *buckets: int, closed: int) -> None:
        alarms = [(subject, Alarm(FIRST + bucket, Measure.LATENCY, 1, 4.0, 900.0, 100.0)) for bucket in buckets]
        await self.detected.tell(self._tenant, alarms, FIRST + closed)

    async def close(self, closed: int) -> None:
        await self.detected.close(FIRST + closed)

    async def end(self, incident: Incident, bucket: int) -> Incident:
        draft = IncidentDraft(incident_id=incident.incident_id, end_ns=(FIRST + bucket) * BUCKET_NS)
        return await self._people.create(self._tenant, draft)

    async def kept(self) -> Sequence[Incident]:
        """By start, those that the detector noticed."""
        found = await self.store.incidents(self._tenant, status="", service="", limit=5000, after=None)
        return sorted((one for one in found if one.source is IncidentSource.DETECTOR), key=lambda one: one.start_ns)


@pytest.fixture
def noticing(engine: Engine, tenant: TenantId) -> Noticing:
    return Noticing(engine, tenant)


def span_of(incident: Incident) -> tuple[int, int | None]:
    """First bucket, and the one after the last."""
    end = None if incident.end_ns is None else incident.end_ns // BUCKET_NS - FIRST
    return incident.start_ns // BUCKET_NS - FIRST, end


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("end", [1, 4])
async def test_the_end_that_a_person_gave_stays(
    noticing: Noticing, tenant: TenantId, end: int, *, restarts: bool
) -> None:
    await noticing.tell(SHOP, 0, closed=1)
    ended = await noticing.end((await noticing.kept())[0], end)
    if restarts:
        noticing.restart()
        await noticing.detected.recall_open(tenant)
    await noticing.tell(SHOP, 0, closed=2)  # as after a stop: the same is found again
    await noticing.close(7)
    (kept,) = await noticing.kept()
    assert kept == ended
    assert await noticing.end(kept, end) == kept, "the same again is no error"


@pytest.mark.parametrize("is_closed", [False, True])
async def test_what_comes_after_a_persons_end_is_an_incident_of_its_own(noticing: Noticing, *, is_closed: bool) -> None:
    await noticing.tell(SHOP, 0, closed=1)
    await noticing.end((await noticing.kept())[0], 2)
    if is_closed:
        await noticing.close(8)
    await noticing.tell(SHOP, 1, closed=9)
    assert [span_of(one) for one in await noticing.kept()] == [(0, 2)], "before that end it belongs to it"
    await noticing.tell(SHOP, 9, closed=9)
    assert [span_of(one) for one in await noticing.kept()] == [(0, 2), (9, None)]
    await noticing.tell(SHOP, 0, 1, 10, closed=11)
    await noticing.close(17)
    assert [span_of(one) for one in await noticing.kept()] == [(0, 2), (9, 11)]


async def test_the_detectors_own_end_is_open_to_more(noticing: Noticing) -> None:
    await noticing.tell(SHOP, 0, closed=1)
    await noticing.close(6)
    assert [span_of(one) for one in await noticing.kept()] == [(0, 1)]
    await noticing.tell(SHOP, 10, closed=10)
    (again,) = await noticing.kept()
    assert (again.status, span_of(again)) == (IncidentStatus.OPEN, (0, None))
    await noticing.close(16)
    assert [span_of(one) for one in await noticing.kept()] == [(0, 11)]


async def test_others_incidents_however_many_do_not_hold_up_the_detector(noticing: Noticing, tenant: TenantId) -> None:
    await noticing.tell(PLANNER, 0, closed=1)
    await noticing.store.keep(tenant, [alerted(number) for number in range(1100)])
    noticing.restart()
    await noticing.detected.recall_open(tenant)
    await noticing.close(2)
    assert noticing.detected.is_any_open
    await noticing.tell(PLANNER, 3, closed=3)
    await noticing.close(20)
    assert [span_of(one) for one in await noticing.kept()] == [(0, 4)], "one, with what came after the start"
    assert not noticing.detected.is_any_open


def alerted(number: int) -> Incident:
    """One of Alertmanager's, that started later and goes on, of another service."""
    start_ns = (FIRST + 1) * BUCKET_NS + number
    return Incident(
        f"a-{number}", "t", IncidentStatus.OPEN, "", f"s-{number}", start_ns, None, IncidentSource.ALERTMANAGER
    )
