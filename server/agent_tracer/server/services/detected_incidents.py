"""Incidents out of what the detector notices: which there are, which go on, and which are over."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby

from agent_tracer.server.domain.detection.episodes import (
    RESOLVED_BUCKETS,
    Episode,
    Subject,
    episode_of,
    episodes,
    incident_of,
)
from agent_tracer.server.domain.detection.figures import Alarm
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.incidents import IncidentSource, IncidentStatus
from agent_tracer.server.limits import DETECT_EPISODES_MAX, WATCHED_SUBJECTS_MAX
from agent_tracer.server.ports.incidents import IncidentStore
from agent_tracer.server.ports.watched import WatchedStore


class DetectedIncidents:
    """Those of the store, as far as they matter to what is noticed next. `closed` is the last bucket that is over."""

    def __init__(self, watched: WatchedStore, incidents: IncidentStore) -> None:
        self._watched = watched
        self._incidents = incidents
        self._episodes: dict[tuple[TenantId, str], list[Episode]] = {}
        self._open: dict[str, tuple[TenantId, str]] = {}
        self._tenants: set[TenantId] = set()

    @property
    def is_any_open(self) -> bool:
        """Whether an incident goes on, as far as is known."""
        return bool(self._open)

    async def recall_open(self, tenant: TenantId) -> None:
        """Those that were open at the last stop, of a tenant that was not heard of since."""
        if tenant in self._tenants:
            return
        kept = await self._incidents.incidents(
            tenant, status=IncidentStatus.OPEN, service="", limit=DETECT_EPISODES_MAX, after=None
        )
        for incident in kept:
            episode = episode_of(incident) if incident.source is IncidentSource.DETECTOR else None
            if episode is not None:
                await self._recall(tenant, episode.subject)
                self._open[episode.incident_id] = (tenant, episode.subject.place)
        self._tenants.add(tenant)

    async def tell(self, tenant: TenantId, found: Iterable[tuple[Subject, Alarm]], closed: int) -> None:
        """Make incidents of alarms, in the order of the places where they are."""
        ordered = sorted(found, key=lambda one: one[0].place)
        for place, some in groupby(ordered, key=lambda one: one[0].place):
            its = list(some)
            former = await self._recall(tenant, its[0][0])
            known, changed = episodes(tenant, former, its)
            sampled = {one.incident_id: await self._sampled(tenant, one, former) for one in changed}
            await self._incidents.keep(tenant, [incident_of(one, closed) for one in sampled.values()])
            self._remember(tenant, place, [sampled.get(one.incident_id, one) for one in known], closed)

    async def _sampled(self, tenant: TenantId, episode: Episode, former: Sequence[Episode]) -> Episode:
        if any(one.incident_id == episode.incident_id and one.worst == episode.worst for one in former):
            return episode
        traces = await self._watched.samples(tenant, episode.subject, episode.worst)
        return replace(episode, trace_ids=tuple(traces)) if traces else episode

    async def close(self, closed: int) -> None:
        """Say of those that are over that they are."""
        for incident_id, (tenant, place) in list(self._open.items()):
            (episode,) = (one for one in self._episodes[tenant, place] if one.incident_id == incident_id)
            if closed - episode.last >= RESOLVED_BUCKETS:
                await self._incidents.keep(tenant, [incident_of(episode, closed)])
                del self._open[incident_id]

    async def _recall(self, tenant: TenantId, subject: Subject) -> Sequence[Episode]:
        """What was detected there before, by time."""
        if (tenant, subject.place) not in self._episodes:
            kept = await self._incidents.incidents(
                tenant, status="", service=subject.service, limit=DETECT_EPISODES_MAX, after=None
            )
            known = [episode_of(one) for one in kept if one.source is IncidentSource.DETECTOR]
            its = [one for one in known if one is not None and one.subject.place == subject.place]
            self._episodes[tenant, subject.place] = sorted(its, key=lambda one: one.first)
        return self._episodes[tenant, subject.place]

    def _remember(self, tenant: TenantId, place: str, known: Sequence[Episode], closed: int) -> None:
        if len(self._episodes) > WATCHED_SUBJECTS_MAX:
            self._episodes = {at: self._episodes[at] for at in self._open.values()}
        # Open ones are the last, and so among those that are remembered.
        self._episodes[tenant, place] = list(known)[-DETECT_EPISODES_MAX:]
        for one in known:
            if closed - one.last < RESOLVED_BUCKETS:
                self._open[one.incident_id] = (tenant, place)
