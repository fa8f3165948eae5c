"""Incidents, and what caused them, in the graph of components."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog

from agent_tracer.server.domain.graph.records import GraphFact, NodeKey, NodeKind
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.incidents import Incident
from agent_tracer.server.domain.rca.analysis import RootCause
from agent_tracer.server.domain.telemetry import TimeRange
from agent_tracer.server.ports.incidents import IncidentCursor, IncidentStore
from agent_tracer.server.ports.store import QueryTimeoutError, StoreDownError, TooMuchDataError

_log: Final = structlog.get_logger("graph")


class IncidentGraph:
    """`keep` is the graph's: each fact takes the place of the former one of its node."""

    def __init__(self, keep: Callable[[Sequence[GraphFact]], Awaitable[None]]) -> None:
        self._keep = keep

    async def note(self, tenant: TenantId, incident: Incident, cause: RootCause | None = None) -> None:
        """Show the incident in the graph, with its cause where one was found; again when anything of it changes.

        One that is not known to be of any service has no place there. Never raises: an incident is kept, and a cause
        told, whether it can be shown or not.
        """
        facts = []
        if incident.service:
            facts.append(_fact(tenant, incident, NodeKind.INCIDENT, incident.service, incident.title))
        if cause is not None and cause.component:
            facts.append(_fact(tenant, incident, NodeKind.CAUSE, cause.component, cause.issue, cause.confidence))
        try:
            if facts:
                await self._keep(facts)
        except (StoreDownError, QueryTimeoutError, TooMuchDataError) as error:
            _log.warning("an incident is not in the graph", reason=type(error).__name__)


class NotedIncidents:
    """ports.incidents.IncidentStore. Whoever brings an incident, it gets its place in the graph."""

    def __init__(self, store: IncidentStore, graph: IncidentGraph) -> None:
        self._store = store
        self._graph = graph

    async def keep(self, tenant: TenantId, incidents: Sequence[Incident]) -> None:
        """See the port."""
        await self._store.keep(tenant, incidents)
        for incident in incidents:
            await self._graph.note(tenant, incident)

    async def incident(self, tenant: TenantId, incident_id: str) -> Incident | None:
        """See the port."""
        return await self._store.incident(tenant, incident_id)

    async def incidents(
        self, tenant: TenantId, *, status: str, service: str, limit: int, after: IncidentCursor | None
    ) -> Sequence[Incident]:
        """See the port."""
        return await self._store.incidents(tenant, status=status, service=service, limit=limit, after=after)

    async def latest(self, tenant: TenantId, prefix: str, by_ns: int) -> Incident | None:
        """See the port."""
        return await self._store.latest(tenant, prefix, by_ns)

    async def overlapping(self, tenant: TenantId, time_range: TimeRange) -> Sequence[Incident]:
        """See the port."""
        return await self._store.overlapping(tenant, time_range)


def _fact(  # noqa: PLR0913, PLR0917 - the parts of a record
    tenant: TenantId, incident: Incident, kind: NodeKind, component: str, title: str, confidence: float = 0.0
) -> GraphFact:
    return GraphFact(
        tenant,
        NodeKey(kind, incident.incident_id),
        NodeKey(NodeKind.SERVICE, component),
        title,
        incident.start_ns,
        incident.end_ns,
        confidence,
    )
