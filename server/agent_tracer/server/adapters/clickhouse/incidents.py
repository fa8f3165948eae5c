"""Keeps incidents: the last version of each, as JSON, with what lists filter and order by beside it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from pydantic import TypeAdapter

from agent_tracer.server.adapters.clickhouse.engine import Engine, Row
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.incidents import Incident
from agent_tracer.server.domain.telemetry import TimeRange
from agent_tracer.server.limits import INCIDENTS_READ_MAX
from agent_tracer.server.ports.incidents import IncidentCursor

_INCIDENT: Final = TypeAdapter(Incident)

# Numbered and not timed, so that a clock that was set back does not bring a former version to light. The one thread
# that writes makes the numbers rise.
_KEEP: Final = """
INSERT INTO incidents (tenant, received_at, incident_id, version, status, service, start_ns, end_ns, content)
SELECT {tenant:String}, now64(9, 'UTC'), item.1, (SELECT max(version) + 1 FROM incidents), item.2, item.3, item.4,
  item.5, item.6
FROM (SELECT arrayJoin(arrayZip({ids:Array(String)}, {statuses:Array(String)}, {services:Array(String)},
  {starts:Array(Int64)}, {ends:Array(Int64)}, {contents:Array(String)})) AS item)
"""
_ONE: Final = "SELECT content FROM incidents FINAL WHERE tenant = {tenant:String} AND incident_id = {id:String}"
_LATEST: Final = """
SELECT content FROM incidents FINAL WHERE tenant = {tenant:String} AND startsWith(incident_id, {prefix:String})
  AND start_ns <= {by:Int64}
ORDER BY start_ns DESC, incident_id DESC LIMIT 1
"""
_LIST: Final = """
SELECT content FROM incidents FINAL WHERE tenant = {tenant:String}
  AND {status:String} IN ('', status) AND {service:String} IN ('', service)
  AND (start_ns, incident_id) < ({start:Int64}, {id:String})
ORDER BY start_ns DESC, incident_id DESC LIMIT {limit:UInt32}
"""
_OVERLAPPING: Final = """
SELECT content FROM incidents FINAL WHERE tenant = {tenant:String} AND start_ns < {to:Int64} AND end_ns >= {from:Int64}
ORDER BY start_ns DESC, incident_id DESC LIMIT {limit:UInt32}
"""
_NEVER_NS: Final = 2**63 - 1
_FIRST: Final = IncidentCursor(_NEVER_NS, "")


class ClickHouseIncidents:
    """ports.incidents.IncidentStore."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def keep(self, tenant: TenantId, incidents: Sequence[Incident]) -> None:
        """See the port."""
        last = list({incident.incident_id: incident for incident in incidents}.values())
        if not last:
            return
        values: dict[str, Any] = {
            "tenant": tenant,
            "ids": [incident.incident_id for incident in last],
            "statuses": [str(incident.status) for incident in last],
            "services": [incident.service for incident in last],
            "starts": [incident.start_ns for incident in last],
            "ends": [_NEVER_NS if incident.end_ns is None else incident.end_ns for incident in last],
            "contents": [_INCIDENT.dump_json(incident).decode() for incident in last],
        }
        await self._engine.write(lambda client: client.command(_KEEP, values))

    async def incident(self, tenant: TenantId, incident_id: str) -> Incident | None:
        """See the port."""
        found = await self._engine.rows(_ONE, {"tenant": tenant, "id": incident_id})
        return _incident(found[0]) if found else None

    async def latest(self, tenant: TenantId, prefix: str, by_ns: int) -> Incident | None:
        """See the port."""
        found = await self._engine.rows(_LATEST, {"tenant": tenant, "prefix": prefix, "by": by_ns})
        return _incident(found[0]) if found else None

    async def incidents(
        self, tenant: TenantId, *, status: str, service: str, limit: int, after: IncidentCursor | None
    ) -> Sequence[Incident]:
        """See the port."""
        at = after or _FIRST
        values = {"tenant": tenant, "status": status, "service": service, "limit": limit}
        found = await self._engine.rows(_LIST, {**values, "start": at.start_ns, "id": at.incident_id})
        return list(map(_incident, found))

    async def overlapping(self, tenant: TenantId, time_range: TimeRange) -> Sequence[Incident]:
        """See the port."""
        values = {"from": time_range.start_ns, "to": time_range.end_ns, "limit": INCIDENTS_READ_MAX}
        found = await self._engine.rows(_OVERLAPPING, {"tenant": tenant, **values})
        return list(map(_incident, reversed(found)))


def _incident(row: Row) -> Incident:
    incident = _INCIDENT.validate_json(row[0])
    return replace(incident, trace_ids=tuple(incident.trace_ids))
