"""What is asked of the store about incidents. Times are UTC nanoseconds; every call is of one tenant."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.incidents import Incident
from agent_tracer.server.domain.telemetry import TimeRange


class IncidentCursor(NamedTuple):
    """Where a list goes on: strictly before this start, ids breaking ties in descending order."""

    start_ns: int
    incident_id: str


class IncidentStore(Protocol):
    """Incidents by id. What was kept is read back equal. Raises StoreDownError, QueryTimeoutError."""

    async def keep(self, tenant: TenantId, incidents: Sequence[Incident]) -> None:
        """Durable on return; one of an id that is kept already takes the place of the former."""
        ...

    async def incident(self, tenant: TenantId, incident_id: str) -> Incident | None:
        """The one of that id."""
        ...

    async def latest(self, tenant: TenantId, prefix: str, by_ns: int) -> Incident | None:
        """Of those whose ids begin so and which had started by then, the one that started last."""
        ...

    async def incidents(
        self, tenant: TenantId, *, status: str, service: str, limit: int, after: IncidentCursor | None
    ) -> Sequence[Incident]:
        """Newest start first; of any status or service where that is empty."""
        ...

    async def overlapping(self, tenant: TenantId, time_range: TimeRange) -> Sequence[Incident]:
        """Those that were going on at some time of the range, by start; at most INCIDENTS_READ_MAX, the latest."""
        ...
