"""Notices incidents by itself: judges what services and agents did, five minutes at a time, in the order of time."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import groupby
from typing import Final

from agent_tracer.server.domain.detection.figures import Alarm, Bounds, Figures, alarms, bounds
from agent_tracer.server.domain.detection.limits import BUCKET_SECONDS, HOUR_BUCKETS
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.limits import (
    DETECT_COST_FACTOR,
    DETECT_INTERVAL_SECONDS_MAX,
    DETECT_INTERVAL_SECONDS_MIN,
    DETECT_LATE_SECONDS,
    DETECT_RETRY_SECONDS,
    DETECT_SLICE_SECONDS,
    DETECTED_WAIT_SECONDS_MAX,
)
from agent_tracer.server.ports.incidents import IncidentStore
from agent_tracer.server.ports.journal import Record
from agent_tracer.server.ports.store import QueryTimeoutError, StoreDownError, TooMuchDataError
from agent_tracer.server.ports.watched import WatchedStore
from agent_tracer.server.services.detected_incidents import DetectedIncidents
from agent_tracer.server.services.follower import LEFT, Follower
from agent_tracer.server.services.pacing import Pace
from agent_tracer.server.services.watches import Job, Watch, Watches, known_bounds

_PACE: Final = Pace(
    part="detector",
    what="services are judged",
    expected=(StoreDownError, QueryTimeoutError, TooMuchDataError),
    cost_factor=DETECT_COST_FACTOR,
    seconds_min=DETECT_INTERVAL_SECONDS_MIN,
    seconds_max=DETECT_INTERVAL_SECONDS_MAX,
    retry_seconds=DETECT_RETRY_SECONDS,
    seconds_first=DETECT_INTERVAL_SECONDS_MIN,
    gathers=True,
)
_LIVE_HOURS: Final = 2


class Detector:
    """CommitListener; `run` is its task. A read that needs the latest incidents awaits `settled` first."""

    def __init__(
        self,
        *,
        watched: WatchedStore,
        incidents: IncidentStore,
        settled: Callable[[], Awaitable[None]],
        clock_ns: Callable[[], int],
        writing: asyncio.Lock | None = None,
    ) -> None:
        """`settled`: returns when everything that is loaded is settled. `writing`: see DetectedIncidents."""
        self._watched = watched
        self._settled = settled
        self._clock_ns = clock_ns
        self._follower = Follower(_PACE, partial(self._work, DETECT_SLICE_SECONDS))
        # The last bucket up to which hours that go on are made, and up to which that is remembered.
        self._closed = self._advanced = -1
        self._watches = Watches()
        self._incidents = DetectedIncidents(watched, incidents, writing)

    async def committed(self, records: Sequence[Record]) -> None:
        """These records can be read now."""
        await self._follower.committed(records)

    async def run(self) -> None:
        """Judge until cancelled, in a fourth of the time at most. What is down is asked again; nothing is skipped."""
        await self._follower.run()

    async def settled(self, seconds: float = DETECTED_WAIT_SECONDS_MAX) -> None:
        """Judge what is loaded now, for about so long. What is down stays for later."""
        await self._follower.now(partial(self._work, seconds))

    async def _work(self, seconds: float) -> float | None:
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
                await self._incidents.recall_open(changed.tenant)
                self._watches.note(changed, closed)
            # What was made is judged for a while, however long making it took.
            until = until or time.monotonic() + seconds
            await self._judge_all(closed, until)
            if time.monotonic() > until:
                break
        self._closed = closed if is_all else self._closed
        await self._incidents.close(closed)
        self._watches.forget()
        is_judged = self._watches.is_judged(closed)
        if is_judged and self._advanced < self._closed:
            await self._watched.advance(self._closed)
            self._advanced = self._closed
        if not (is_all and is_judged):
            return LEFT
        # Buckets close, and incidents are over, without anything coming; so do hours that were not made anew this time.
        is_left = not is_due or self._watches.is_waiting or self._incidents.is_any_open
        return BUCKET_SECONDS if is_left else None

    async def _judge_all(self, closed: int, until: float) -> None:
        """Everything that waits and is over, as far as there is time."""
        while jobs := self._watches.jobs(closed, self._follower.woken_at):
            for tenant, some in groupby(jobs, key=lambda job: job.key[0]):
                for batch in self._watches.batches(list(some)):
                    await self._judge(tenant, batch, closed)
                    if time.monotonic() > until:
                        return

    async def _judge(self, tenant: TenantId, jobs: Sequence[Job], closed: int) -> None:
        from_hour, to_hour = self._watches.read_hours(jobs[0])
        found = await self._watched.figures(
            tenant, [(kind, name) for _, kind, name in (j.key for j in jobs)], from_hour, to_hour
        )
        pairs = [(job, self._watches[job.key], found[job.key[1:]]) for job in jobs]
        judged = await asyncio.to_thread(lambda: [_judged(*pair) for pair in pairs])
        told = [(watch.subject, alarm) for (_, watch, _), (_, its) in zip(pairs, judged, strict=True) for alarm in its]
        await self._incidents.tell(tenant, told, closed)
        for job, (known, _) in zip(jobs, judged, strict=True):
            self._watches.judged(job, known)


def _judged(job: Job, watch: Watch, figures: Figures) -> tuple[Bounds, list[Alarm]]:
    known = known_bounds(job, watch) or bounds(figures, job.hours[0])
    return known, alarms(figures, known, job.first, job.end)
