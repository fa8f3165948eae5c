"""Which agents have done something that scores do not tell of yet."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from agent_tracer.server.domain.ids import AgentId, TenantId


@dataclass(frozen=True, slots=True)
class BusyAgent:
    """An agent, and when a task of it was settled last, in UTC nanoseconds."""

    tenant: TenantId
    agent_id: AgentId
    settled_ns: int


class BusyAgents(Protocol):
    """Sees what has been settled. Raises StoreDownError, StoreBusyError, QueryTimeoutError, TooMuchDataError."""

    async def busy(self, *, settled_after_ns: int, started_from_ns: int, limit: int) -> Sequence[BusyAgent]:
        """Agents of tasks that began at `started_from_ns` or later and were settled after `settled_after_ns`.

        Of every tenant, whose last task began last first, up to `limit` of them.
        """
        ...
