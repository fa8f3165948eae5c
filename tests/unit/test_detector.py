"""When the detector is to look again though nothing comes."""

import asyncio
from collections.abc import Sequence

from agent_tracer.server.domain.detection.episodes import Kind, Subject
from agent_tracer.server.domain.detection.limits import BUCKET_SECONDS, HOUR_BUCKETS
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.incidents import Incident
from agent_tracer.server.ports.watched import Changed, Refreshed
from agent_tracer.server.services.detector import Detector

CLOSED = 5_000_000
"""The last bucket that is over at first."""

SUBJECT = Subject(Kind.SERVICE, "shop", "shop")


class Watched:
    """A WatchedStore with one hour that goes on, of which there is more each time something is settled."""

    def __init__(self) -> None:
        self.is_changed = False

    async def refresh(self, live_from_hour: int, *, with_live: bool) -> Refreshed:
        del live_from_hour
        if not (with_live and self.is_changed):
            return Refreshed((), is_all=True)
        self.is_changed = False
        # Of a later bucket, so that no figures are asked for.
        told = Changed(TenantId("one"), SUBJECT, CLOSED + 2, CLOSED + HOUR_BUCKETS, CLOSED, CLOSED + 1)
        return Refreshed((told,), is_all=True)

    async def advance(self, closed_bucket: int) -> None:
        """Nothing is kept."""


class NoIncidents:
    """An IncidentStore that holds none."""

    async def incidents(self, *_: object, **__: object) -> Sequence[Incident]:
        return ()


async def nothing() -> None:
    """All is settled."""


async def test_what_came_into_an_hour_that_goes_on_is_looked_at_when_its_bucket_has_closed() -> None:
    closed, watched = CLOSED, Watched()

    def now_ns() -> int:
        return (closed + 1) * BUCKET_SECONDS * 1_000_000_000 + 299 * 1_000_000_000

    detector = Detector(watched=watched, incidents=NoIncidents(), settled=nothing, clock_ns=now_ns)  # type: ignore[arg-type]
    assert await detector._work(1) is None, "there is nothing that could close"
    watched.is_changed = True
    assert await detector._work(1) == BUCKET_SECONDS, "a bucket that was looked at before has closed in between"
    closed += 1
    await asyncio.wait_for(detector._work(1), 5)
    assert not watched.is_changed
