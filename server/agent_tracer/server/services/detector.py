"""Notices incidents by itself: judges what services and agents did, five minutes at a time, in the order of time."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

from agent_tracer.server.domain.detection.episodes import (
    RESOLVED_BUCKETS,
    Episode,
    Kind,
    Subject,
    episode_of,
    episodes,
    incident_of,
)
from agent_tracer.server.domain.detection.figures import Alarm, Bounds, Figures, alarms, bounds
from agent_tracer.server.domain.detection.limits import (
    BUCKET_SECONDS,
    HOUR_BUCKETS,
    LOOK_BACK_HOURS,
    WINDOW_MAX,
)
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.incidents import IncidentSource, IncidentStatus
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.limits import (
    DETECT_COST_FACTOR,
    DETECT_EPISODES_MAX,
    DETECT_INTERVAL_SECONDS_MAX,
    DETECT_INTERVAL_SECONDS_MIN,
    DETECT_LATE_SECONDS,
    DETECT_PARTIAL_SECONDS,
    DETECT_RETRY_SECONDS,
    DETECT_SLICE_SECONDS,
    DETECT_STRAGGLING_SECONDS,
    DETECTED_WAIT_SECONDS_MAX,
    WATCHED_READ_HOURS_MAX,
    WATCHED_SUBJECTS_MAX,
)
from agent_tracer.server.ports.incidents import IncidentStore
from agent_tracer.server.ports.journal import Record
from agent_tracer.server.ports.store import QueryTimeoutError, StoreDownError, TooMuchDataError
from agent_tracer.server.ports.watched import Changed, WatchedStore
from agent_tracer.server.services.pacing import Pace

_DOWN: Final = (StoreDownError, QueryTimeoutError, TooMuchDataError)
_PACE: Final = Pace(
    part="detector",
    what="services are judged",
    expected=_DOWN,
    cost_factor=DETECT_COST_FACTOR,
    retry_seconds=DETECT_RETRY_SECONDS,
    seconds_min=DETECT_INTERVAL_SECONDS_MIN,
    seconds_max=DETECT_INTERVAL_SECONDS_MAX,
)
"""Later it may work."""
_STRAGGLING_BUCKETS: Final = DETECT_STRAGGLING_SECONDS // BUCKET_SECONDS
_LIVE_HOURS: Final = 2
_READ_BACK_HOURS: Final = LOOK_BACK_HOURS + 7 * 24
"""What was usual is known of the first of those two weeks as well."""
_SHORT_HOURS: Final = WINDOW_MAX // HOUR_BUCKETS
_JUDGED_HOURS_MAX: Final = 28 * 24
"""Judged at once of one subject: its arrays are 10 MB."""

_Key = tuple[TenantId, Kind, str]


@dataclass(slots=True)
class _Watch:
    """A subject: the last bucket that is judged, and what is noticed in an hour that is judged bit by bit."""

    subject: Subject
    judged_to: int
    bounds: Bounds | None = None


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Up to which bucket a subject is to be judged, and when something came for it."""

    last: int
    noted_at: float


@dataclass(frozen=True, slots=True)
class _Job:
    """Buckets of a subject to judge, first <= b < end."""

    key: _Key
    first: int
    end: int

    @property
    def hours(self) -> tuple[int, int]:
        return self.first // HOUR_BUCKETS, -(-self.end // HOUR_BUCKETS)


class Detector:
    """CommitListener; `run` is its task. A read that needs the latest incidents awaits `settled` first."""

    def __init__(
        self,
        *,
        watched: WatchedStore,
        incidents: IncidentStore,
        settled: Callable[[], Awaitable[None]],
        clock_ns: Callable[[], int],
    ) -> None:
        """`settled`: returns when everything that is loaded is settled."""
        self._watched = watched
        self._incidents = incidents
        self._settled = settled
        self._clock_ns = clock_ns
        self._turn = asyncio.Lock()
        self._wake = asyncio.Event()
        self._wake.set()  # what was loaded before a stop may not have been judged
        self._committed_at = -DETECT_PARTIAL_SECONDS
        # The last bucket up to which hours that go on are made, and up to which that is remembered.
        self._closed = self._advanced = -1
        self._watches: OrderedDict[_Key, _Watch] = OrderedDict()
        self._waiting: dict[_Key, _Waiting] = {}
        self._episodes: dict[tuple[TenantId, str], list[Episode]] = {}
        self._open: dict[str, tuple[TenantId, str]] = {}
        self._tenants: set[TenantId] = set()

    async def committed(self, records: Sequence[Record]) -> None:
        """These records can be read now."""
        if any(record.signal is Signal.TRACES for record in records):
            self._committed_at = time.monotonic()
            self._wake.set()

    async def run(self) -> None:
        """Judge until cancelled, in a fourth of the time at most. What is down is asked again; nothing is skipped."""
        pause_seconds = DETECT_INTERVAL_SECONDS_MIN
        while True:
            await asyncio.sleep(pause_seconds)
            pause_seconds = await _PACE.pause_after(self._in_turn, self._wake)
            with suppress(TimeoutError):
                # Buckets close, and incidents are over, without anything coming.
                async with asyncio.timeout(BUCKET_SECONDS if self._waiting or self._open else None):
                    await self._wake.wait()

    async def settled(self, seconds: float = DETECTED_WAIT_SECONDS_MAX) -> None:
        """Judge what is loaded now, for about so long. What is down stays for later."""
        with suppress(*_DOWN):
            async with self._turn:
                await self._work(seconds)

    async def _in_turn(self) -> None:
        async with self._turn:
            self._wake.clear()
            await self._work(DETECT_SLICE_SECONDS)

    async def _work(self, seconds: float) -> None:
        """Everything that is due, or as much as can be begun in about so long."""
        await self._settled()
        closed = (self._clock_ns() // 1_000_000_000 - DETECT_LATE_SECONDS) // BUCKET_SECONDS - 1
        # Hours that go on are made anew when a bucket has closed: that costs the more the busier they are.
        is_due, is_all = closed > self._closed, False
        until = None
        while not is_all:
            refreshed = await self._watched.refresh(closed // HOUR_BUCKETS - _LIVE_HOURS, with_live=is_due)
            is_all = refreshed.is_all
            for changed in refreshed.changed:
                await self._note(changed, closed)
            # What was made is judged for a while, however long making it took.
            until = until or time.monotonic() + seconds
            await self._judge_all(closed, until)
            if time.monotonic() > until:
                break
        self._closed = closed if is_all else self._closed
        await self._close(closed)
        self._forget()
        is_judged = all(one.last > closed for one in self._waiting.values())
        if is_judged and self._advanced < self._closed:
            await self._watched.advance(self._closed)
            self._advanced = self._closed
        if not (is_all and is_judged):
            self._wake.set()

    async def _note(self, changed: Changed, closed: int) -> None:
        if changed.tenant not in self._tenants:
            await self._recall_open(changed.tenant)
        key = (changed.tenant, changed.subject.kind, changed.subject.name)
        watch = self._watches.get(key)
        if watch is None:
            judged_to = changed.oldest - 1 if changed.judged_to is None else changed.judged_to
            watch = self._watches[key] = _Watch(changed.subject, judged_to)
        elif changed.subject.service and changed.subject.service != watch.subject.service:
            watch.subject = changed.subject
        self._watches.move_to_end(key)
        last = max(changed.last, self._waiting[key].last if key in self._waiting else changed.last)
        if changed.first <= watch.judged_to and changed.first < closed - _STRAGGLING_BUCKETS:
            last = max(last, watch.judged_to)
            watch.judged_to, watch.bounds = changed.first - 1, None
        self._waiting[key] = _Waiting(last, time.monotonic())

    async def _judge_all(self, closed: int, until: float) -> None:
        """Everything that waits and is over, as far as there is time."""
        while jobs := self._jobs(closed):
            for tenant, some in groupby(jobs, key=lambda job: job.key[0]):
                for batch in self._batches(list(some)):
                    await self._judge(tenant, batch, closed)
                    if time.monotonic() > until:
                        return

    def _forget(self) -> None:
        """Of more subjects than are to be kept, those that something came of the longest ago."""
        for key in list(self._watches)[: max(0, len(self._watches) - WATCHED_SUBJECTS_MAX)]:
            if key not in self._waiting:
                del self._watches[key]

    def _jobs(self, closed: int) -> list[_Job]:
        """By tenant, those of the same hours together."""
        now = time.monotonic()
        is_coming = now - self._committed_at < DETECT_PARTIAL_SECONDS
        jobs = []
        for key, waiting in self._waiting.items():
            first = self._watches[key].judged_to + 1
            is_import = waiting.last < closed - HOUR_BUCKETS
            is_partial = is_coming and is_import and now - waiting.noted_at < DETECT_PARTIAL_SECONDS
            last = waiting.last - 1 if is_partial else waiting.last
            end = min(last + 1, closed + 1, first + _JUDGED_HOURS_MAX * HOUR_BUCKETS)
            if first < end:
                jobs.append(_Job(key, first, end))
        return sorted(jobs, key=lambda job: (job.key[0], self._read_hours(job), job.key))

    def _read_hours(self, job: _Job) -> tuple[int, int]:
        """From and to which hour figures are needed."""
        from_hour, to_hour = job.hours
        known = self._watches[job.key].bounds
        is_known = known is not None and known.first_hour == from_hour and known.hours == to_hour - from_hour
        return from_hour - (_SHORT_HOURS if is_known else _READ_BACK_HOURS), to_hour

    def _batches(self, jobs: Sequence[_Job]) -> Iterator[Sequence[_Job]]:
        """Together of WATCHED_READ_HOURS_MAX hours, or one alone."""
        for _, alike in groupby(jobs, key=self._read_hours):
            some = list(alike)
            from_hour, to_hour = self._read_hours(some[0])
            count = max(1, WATCHED_READ_HOURS_MAX // (to_hour - from_hour))
            for start in range(0, len(some), count):
                yield some[start : start + count]

    async def _judge(self, tenant: TenantId, jobs: Sequence[_Job], closed: int) -> None:
        from_hour, to_hour = self._read_hours(jobs[0])
        found = await self._watched.figures(
            tenant, [(kind, name) for _, kind, name in (j.key for j in jobs)], from_hour, to_hour
        )
        pairs = [(job, self._watches[job.key], found[job.key[1:]]) for job in jobs]
        judged = await asyncio.to_thread(lambda: [_judged(*pair) for pair in pairs])
        told = [(watch.subject, alarm) for (_, watch, _), (_, its) in zip(pairs, judged, strict=True) for alarm in its]
        await self._tell(tenant, told, closed)
        for (job, watch, _), (known, _) in zip(pairs, judged, strict=True):
            watch.judged_to = job.end - 1
            watch.bounds = known if known.hours == 1 else None
            if self._waiting[job.key].last <= watch.judged_to:
                del self._waiting[job.key]

    async def _tell(self, tenant: TenantId, found: Iterable[tuple[Subject, Alarm]], closed: int) -> None:
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

    async def _close(self, closed: int) -> None:
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

    async def _recall_open(self, tenant: TenantId) -> None:
        """Those that were open at the last stop."""
        kept = await self._incidents.incidents(
            tenant, status=IncidentStatus.OPEN, service="", limit=DETECT_EPISODES_MAX, after=None
        )
        for incident in kept:
            episode = episode_of(incident) if incident.source is IncidentSource.DETECTOR else None
            if episode is not None:
                await self._recall(tenant, episode.subject)
                self._open[episode.incident_id] = (tenant, episode.subject.place)
        self._tenants.add(tenant)

    def _remember(self, tenant: TenantId, place: str, known: Sequence[Episode], closed: int) -> None:
        if len(self._episodes) > WATCHED_SUBJECTS_MAX:
            self._episodes = {at: self._episodes[at] for at in self._open.values()}
        # Open ones are the last, and so among those that are remembered.
        self._episodes[tenant, place] = list(known)[-DETECT_EPISODES_MAX:]
        for one in known:
            if closed - one.last < RESOLVED_BUCKETS:
                self._open[one.incident_id] = (tenant, place)


def _judged(job: _Job, watch: _Watch, figures: Figures) -> tuple[Bounds, list[Alarm]]:
    from_hour, to_hour = job.hours
    known = watch.bounds
    if known is None or known.first_hour != from_hour or known.hours != to_hour - from_hour:
        known = bounds(figures, from_hour)
    return known, alarms(figures, known, job.first, job.end)
