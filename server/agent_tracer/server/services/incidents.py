"""Use cases: incidents as callers write them, as Alertmanager sends them, and lists of both."""

import asyncio
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from agent_tracer.server.domain.checks import check_choice, check_id, check_length
from agent_tracer.server.domain.errors import IncidentNotFoundError, Violations
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.incident_alerts import (
    AlertGroup,
    check_alerts,
    goes_on,
    group_prefix,
    incident_of,
    told_until,
)
from agent_tracer.server.domain.incident_drafts import IncidentDraft, characters, check_draft, made_of
from agent_tracer.server.domain.incidents import Incident, IncidentStatus
from agent_tracer.server.domain.paging import (
    Page,
    PageRequest,
    decode_token,
    encode_token,
    fitting,
    page_size,
    token_error,
)
from agent_tracer.server.limits import PAGE_BYTES_MAX, TEXT_LENGTH_MAX
from agent_tracer.server.ports.incidents import IncidentCursor, IncidentStore

STATUSES: Final = tuple(str(status) for status in IncidentStatus)
_STARTED: Final = struct.Struct(">q")
"""Head of a position: the last incident's start; its id follows."""


@dataclass(frozen=True, slots=True)
class IncidentsRequest:
    """What a list is asked for, as the caller wrote it; an empty text means no condition."""

    status: str = ""
    service: str = ""
    page: PageRequest = field(default_factory=PageRequest)


class Incidents:
    """Raises InvalidFieldsError, IdConflictError, IncidentNotFoundError, and what the store raises."""

    def __init__(
        self,
        *,
        store: IncidentStore,
        catch_up: Callable[[], Awaitable[object]],
        clock_ns: Callable[[], int],
        new_id: Callable[[], str],
        writing: asyncio.Lock | None = None,
    ) -> None:
        """`catch_up` waits a moment for what was acknowledged before to be watched.

        `writing`: held by whoever writes an incident that depends on what is kept of it.
        """
        self._store = store
        self._catch_up = catch_up
        self._clock_ns = clock_ns
        self._new_id = new_id
        # What is written depends on what is kept: one after another, or the second does not see the first.
        self._writing = writing or asyncio.Lock()

    async def create(self, tenant: TenantId, draft: IncidentDraft) -> Incident:
        """Keep it, durably; the same again is no error, and an end resolves one that was open."""
        now_ns = self._clock_ns()
        check_draft(draft, now_ns)
        async with self._writing:
            former = await self._store.incident(tenant, draft.incident_id) if draft.incident_id else None
            made = made_of(draft, former, self._new_id(), now_ns)
            await self._keep(tenant, former, made)
        return made

    async def receive(self, tenant: TenantId, group: AlertGroup) -> Incident:
        """Keep what a notification of Alertmanager's makes of its group's incident, durably."""
        now_ns = self._clock_ns()
        check_alerts(group, now_ns)
        async with self._writing:
            former = await self._store.latest(tenant, group_prefix(group), told_until(group, now_ns))
            if former is not None and not goes_on(group, former, now_ns):
                former = None
            made = incident_of(group, former, now_ns)
            await self._keep(tenant, former, made)
        return made

    async def get(self, tenant: TenantId, incident_id: str) -> Incident:
        """The one of that id."""
        found = Violations()
        check_id(found, "incident_id", incident_id)
        found.raise_any()
        kept = await self._store.incident(tenant, incident_id)
        if kept is None:
            raise IncidentNotFoundError(incident_id)
        return kept

    async def list(self, tenant: TenantId, request: IncidentsRequest) -> Page[Incident]:
        """Newest start first. A page may hold fewer than asked for and still go on."""
        found = Violations()
        check_choice(found, "status", request.status, STATUSES)
        check_length(found, "service", request.service, TEXT_LENGTH_MAX)
        found.raise_any()
        size = page_size(request.page)
        binding = ("ListIncidents", tenant, request.status, request.service)
        after = _cursor(decode_token(binding, request.page.token)) if request.page.token else None
        if after is None:
            await self._catch_up()
        read = await self._store.incidents(
            tenant, status=request.status, service=request.service, limit=size + 1, after=after
        )
        shown = fitting(read[:size], _weight, PAGE_BYTES_MAX)
        if len(shown) == len(read):
            return Page(shown)
        return Page(shown, encode_token(binding, _position(shown[-1])))

    async def _keep(self, tenant: TenantId, former: Incident | None, made: Incident) -> None:
        """Nothing is written where nothing has changed: Alertmanager repeats itself every few hours."""
        if made != former:
            await self._store.keep(tenant, [made])


def _weight(incident: Incident) -> int:
    """Characters, roughly."""
    return sum((characters(incident.labels), characters(incident.annotations), *map(len, incident.trace_ids)))


def _position(incident: Incident) -> bytes:
    return _STARTED.pack(incident.start_ns) + incident.incident_id.encode()


def _cursor(position: bytes) -> IncidentCursor:
    try:
        (start_ns,) = _STARTED.unpack_from(position)
        return IncidentCursor(start_ns, position[_STARTED.size :].decode())
    except (struct.error, UnicodeDecodeError):
        raise token_error() from None
