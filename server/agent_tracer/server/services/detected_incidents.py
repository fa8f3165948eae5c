"""Incidents out of what the detector notices: which there are, which go on, and which are over."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby

from agent_tracer.server.domain.detection.episodes import (
    Episode,
    Subject,
    episode_of,
    episodes,
    given_end_ns,
    incident_of,
)
from agent_tracer.server.domain.detection.figures import Alarm
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.incidents import Incident, IncidentSource, IncidentStatus
from agent_tracer.server.limits import DETECT_EPISODES_MAX, WATCHED_SUBJECTS_MAX
from agent_tracer.server.ports.incidents import IncidentCursor, IncidentStore
from agent_tracer.server.ports.watched import WatchedStore


class DetectedIncidents:
    """Those of the store, as far as they matter to what is noticed next. `closed` is the last bucket that is over."""

    def __init__(self, watched: WatchedStore, incidents: IncidentStore, writing: asyncio.Lock | None = None) -> None:
        """`writing`: held by whoever writes an incident that depends on what is kept of it."""
        self._watched = watched
        self._incidents = incidents
        self._writing = writing or asyncio.Lock()
        self._episodes: dict[tuple[TenantId, str], list[Episode]] = {}
        self._open: dict[str, tuple[TenantId, Episode]] = {}
        self._tenants: set[TenantId] = set()

    @property
    def is_any_open(self) -> bool:
        """Whether an incident goes on, as far as is known."""
        return bool(self._open)

    async def recall_open(self, tenant: TenantId) -> None:
        """Those that were open at the last stop, of a tenant that was not heard of since."""
        if tenant in self._tenants:
            return
        for episode in await self._all_open(tenant):
            known = await self._recall(tenant, episode.subject)
            if all(one.incident_id != episode.incident_id for one in known):  # older than all that is recalled
                both = sorted((*known, episode), key=lambda one: one.first)
                self._episodes[tenant, episode.subject.place] = both
            self._open[episode.incident_id] = (tenant, episode)
        self._tenants.add(tenant)

    async def tell(self, tenant: TenantId, found: Iterable[tuple[Subject, Alarm]], closed: int) -> None:
        """Make incidents of alarms, in the order of the places where they are."""
        ordered = sorted(found, key=lambda one: one[0].place)
        for place, some in groupby(ordered, key=lambda one: one[0].place):
            its = list(some)
            former = [
                await self._with_given_end(tenant, one) if one.incident_id in self._open else one
                for one in await self._recall(tenant, its[0][0])
            ]
            known, changed = episodes(tenant, former, its)
            sampled = [await self._sampled(tenant, one, former) for one in changed]
            kept = {one.incident_id: one for one in await self._keep(tenant, sampled, closed)}
            known = [kept.get(one.incident_id, one) for one in known]
            self._remember(tenant, place, known, list(kept.values()), closed)

    async def _sampled(self, tenant: TenantId, episode: Episode, former: Sequence[Episode]) -> Episode:
        if any(one.incident_id == episode.incident_id and one.worst == episode.worst for one in former):
            return episode
        traces = await self._watched.samples(tenant, episode.subject, episode.worst)
        return replace(episode, trace_ids=tuple(traces)) if traces else episode

    async def close(self, closed: int) -> None:
        """Say of those that are over that they are."""
        for tenant, episode in list(self._open.values()):
            if episode.is_over(closed):
                (kept,) = await self._keep(tenant, [episode], closed)
                at = (tenant, episode.subject.place)
                if at in self._episodes:
                    its = self._episodes[at]
                    self._episodes[at] = [kept if one.incident_id == kept.incident_id else one for one in its]
                del self._open[episode.incident_id]

    async def _keep(self, tenant: TenantId, changed: Sequence[Episode], closed: int) -> Sequence[Episode]:
        """As incidents. Returns them with the ends that somebody gave them: these stay."""
        async with self._writing:
            made = [await self._with_given_end(tenant, one) for one in changed]
            await self._incidents.keep(tenant, [incident_of(one, closed) for one in made])
        return made

    async def _with_given_end(self, tenant: TenantId, episode: Episode) -> Episode:
        kept = await self._incidents.incident(tenant, episode.incident_id)
        return episode if kept is None else replace(episode, ended_ns=given_end_ns(kept))

    async def _all_open(self, tenant: TenantId) -> Sequence[Episode]:
        """However many others are open, of whatever source."""
        found: list[Episode] = []
        after = None
        while True:
            page = await self._incidents.incidents(
                tenant, status=IncidentStatus.OPEN, service="", limit=DETECT_EPISODES_MAX, after=after
            )
            found += _episodes_of(page)
            if len(page) < DETECT_EPISODES_MAX:
                return found
            after = IncidentCursor(page[-1].start_ns, page[-1].incident_id)

    async def _recall(self, tenant: TenantId, subject: Subject) -> Sequence[Episode]:
        """What was detected there before, by time; of one without a service, if not too much came since elsewhere."""
        if (tenant, subject.place) not in self._episodes:
            kept = await self._incidents.incidents(
                tenant, status="", service=subject.service, limit=DETECT_EPISODES_MAX, after=None
            )
            its = [one for one in _episodes_of(kept) if one.subject.place == subject.place]
            self._episodes[tenant, subject.place] = sorted(its, key=lambda one: one.first)
        return self._episodes[tenant, subject.place]

    def _remember(
        self, tenant: TenantId, place: str, known: Sequence[Episode], kept: Sequence[Episode], closed: int
    ) -> None:
        if len(self._episodes) > WATCHED_SUBJECTS_MAX:
            busy = {(its, one.subject.place) for its, one in self._open.values()}
            self._episodes = {at: its for at, its in self._episodes.items() if at in busy}
        self._episodes[tenant, place] = list(known)[-DETECT_EPISODES_MAX:]
        for one in known:
            if not one.is_over(closed):
                self._open[one.incident_id] = (tenant, one)
            elif one in kept:
                self._open.pop(one.incident_id, None)


def _episodes_of(kept: Iterable[Incident]) -> list[Episode]:
    found = (episode_of(one) for one in kept if one.source is IncidentSource.DETECTOR)
    return [one for one in found if one is not None]
