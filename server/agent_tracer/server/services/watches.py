"""What the detector has to judge: how far each subject is judged, and up to where there is something of it."""

import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from agent_tracer.server.domain.detection.episodes import Kind, Subject
from agent_tracer.server.domain.detection.figures import Bounds
from agent_tracer.server.domain.detection.limits import (
    BUCKET_SECONDS,
    HOUR_BUCKETS,
    LOOK_BACK_HOURS,
    WINDOW_MAX,
)
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.limits import (
    DETECT_PARTIAL_SECONDS,
    DETECT_STRAGGLING_SECONDS,
    WATCHED_READ_HOURS_MAX,
    WATCHED_SUBJECTS_MAX,
)
from agent_tracer.server.ports.watched import Changed

_STRAGGLING_BUCKETS: Final = DETECT_STRAGGLING_SECONDS // BUCKET_SECONDS
_READ_BACK_HOURS: Final = LOOK_BACK_HOURS + 7 * 24
"""What was usual is known of the first of those two weeks as well."""
_SHORT_HOURS: Final = WINDOW_MAX // HOUR_BUCKETS
_JUDGED_HOURS_MAX: Final = 28 * 24
"""Judged at once of one subject: its arrays are 10 MB."""

Key = tuple[TenantId, Kind, str]


@dataclass(slots=True)
class Watch:
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
class Job:
    """Buckets of a subject to judge, first <= b < end."""

    key: Key
    first: int
    end: int

    @property
    def hours(self) -> tuple[int, int]:
        """In which they are, the second one exclusive."""
        return self.first // HOUR_BUCKETS, -(-self.end // HOUR_BUCKETS)


class Watches:
    """The subjects that something came of lately, at most WATCHED_SUBJECTS_MAX and those that wait.

    `closed` is the last bucket that is over; times are of time.monotonic.
    """

    def __init__(self) -> None:
        self._watches: OrderedDict[Key, Watch] = OrderedDict()
        self._waiting: dict[Key, _Waiting] = {}

    def __getitem__(self, key: Key) -> Watch:
        return self._watches[key]

    @property
    def is_waiting(self) -> bool:
        """Whether anything is to be judged, be it later."""
        return bool(self._waiting)

    def is_judged(self, closed: int) -> bool:
        """Whether everything that is over is judged."""
        return all(self._watches[key].judged_to >= closed for key in self._waiting)

    def note(self, changed: Changed, closed: int) -> None:
        """Something came of a subject."""
        key = (changed.tenant, changed.subject.kind, changed.subject.name)
        watch = self._watches.get(key)
        if watch is None:
            judged_to = changed.oldest - 1 if changed.judged_to is None else changed.judged_to
            watch = self._watches[key] = Watch(changed.subject, judged_to)
        elif changed.subject.service and changed.subject.service != watch.subject.service:
            watch.subject = changed.subject
        self._watches.move_to_end(key)
        last = max(changed.last, self._waiting[key].last if key in self._waiting else changed.last)
        if changed.first <= watch.judged_to and changed.first < closed - _STRAGGLING_BUCKETS:
            last = max(last, watch.judged_to)
            watch.judged_to, watch.bounds = changed.first - 1, None
        self._waiting[key] = _Waiting(last, time.monotonic())

    def jobs(self, closed: int, committed_at: float) -> list[Job]:
        """What waits and is over: by tenant, those of the same hours together. `committed_at`: when something came."""
        now = time.monotonic()
        is_coming = now - committed_at < DETECT_PARTIAL_SECONDS
        jobs = []
        for key, waiting in self._waiting.items():
            first = self._watches[key].judged_to + 1
            is_import = waiting.last < closed - HOUR_BUCKETS
            is_partial = is_coming and is_import and now - waiting.noted_at < DETECT_PARTIAL_SECONDS
            last = waiting.last - 1 if is_partial else waiting.last
            end = min(last + 1, closed + 1, first + _JUDGED_HOURS_MAX * HOUR_BUCKETS)
            if first < end:
                jobs.append(Job(key, first, end))
        return sorted(jobs, key=lambda job: (job.key[0], self.read_hours(job), job.key))

    def read_hours(self, job: Job) -> tuple[int, int]:
        """From and to which hour figures are needed."""
        from_hour, to_hour = job.hours
        is_known = known_bounds(job, self._watches[job.key]) is not None
        return from_hour - (_SHORT_HOURS if is_known else _READ_BACK_HOURS), to_hour

    def batches(self, jobs: Sequence[Job]) -> Iterator[Sequence[Job]]:
        """Together of WATCHED_READ_HOURS_MAX hours, or one alone."""
        for (from_hour, to_hour), alike in groupby(jobs, key=self.read_hours):
            some = list(alike)
            count = max(1, WATCHED_READ_HOURS_MAX // (to_hour - from_hour))
            for start in range(0, len(some), count):
                yield some[start : start + count]

    def judged(self, job: Job, bounds: Bounds) -> None:
        """A job is done, by these bounds."""
        watch = self._watches[job.key]
        watch.judged_to = job.end - 1
        watch.bounds = bounds if bounds.hours == 1 else None
        if self._waiting[job.key].last <= watch.judged_to:
            del self._waiting[job.key]

    def forget(self) -> None:
        """Of more subjects than are to be kept, those that something came of the longest ago."""
        for key in list(self._watches)[: max(0, len(self._watches) - WATCHED_SUBJECTS_MAX)]:
            if key not in self._waiting:
                del self._watches[key]


def known_bounds(job: Job, watch: Watch) -> Bounds | None:
    """Those of the job's hours, where they were made before."""
    from_hour, to_hour = job.hours
    known = watch.bounds
    is_known = known is not None and known.first_hour == from_hour and known.hours == to_hour - from_hour
    return known if is_known else None
