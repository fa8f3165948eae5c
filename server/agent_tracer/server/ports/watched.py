"""What the detector asks of the store: figures of services and agents by buckets of five minutes, of all tenants."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from agent_tracer.server.domain.detection.episodes import Kind, Subject
from agent_tracer.server.domain.detection.figures import Alarm, Figures
from agent_tracer.server.domain.ids import TenantId, TraceId


@dataclass(frozen=True, slots=True)
class Changed:
    """A subject of which buckets were made anew, the first and the last of them (counted since 1970).

    `oldest` is the first bucket that is stored of it at all. `judged_to`: the last bucket that `advance` was told to be
    done with; None where there is none.
    """

    tenant: TenantId
    subject: Subject
    first: int
    last: int
    oldest: int
    judged_to: int | None


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What one refresh changed. `is_all`: nothing else was settled by then."""

    changed: Sequence[Changed]
    is_all: bool


class WatchedStore(Protocol):
    """Buckets out of what is settled. One call at a time.

    Raises StoreDownError, QueryTimeoutError, TooMuchDataError.
    """

    async def refresh(self, live_from_hour: int, *, with_live: bool) -> Refreshed:
        """Make the buckets anew of the hours that were settled since the last time; some of the hours, if many.

        Without `with_live`, those wait that were at or after the `live_from_hour` (since 1970) of the last refresh with
        them. Readable on return. After a restart that comes before `advance` the same is found again.
        """
        ...

    async def figures(
        self, tenant: TenantId, subjects: Sequence[tuple[Kind, str]], from_hour: int, to_hour: int
    ) -> Mapping[tuple[Kind, str], Figures]:
        """Of the hours from_hour <= h < to_hour; of every subject asked for."""
        ...

    async def samples(self, tenant: TenantId, subject: Subject, alarm: Alarm) -> Sequence[TraceId]:
        """Some traces of the alarm's bucket that show it best: failed ones, the slowest, the dearest."""
        ...

    async def advance(self, closed_bucket: int) -> None:
        """Remember that everything refreshed is judged, buckets up to this one. Durable on return."""
        ...
