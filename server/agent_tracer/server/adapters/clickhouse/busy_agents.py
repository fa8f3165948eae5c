"""Agents whose tasks were settled of late."""

from collections.abc import Sequence
from typing import Final

from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.domain.ids import AgentId, TenantId
from agent_tracer.server.ports.busy_agents import BusyAgent

_BUSY: Final = """
SELECT tenant, agent_id, toUnixTimestamp64Nano(max(settled_at)) FROM tasks
WHERE settled_at > fromUnixTimestamp64Nano({after:Int64}, 'UTC')
  AND start_time >= fromUnixTimestamp64Nano({from:Int64}, 'UTC') AND agent_id != ''
GROUP BY tenant, agent_id ORDER BY max(start_time) DESC LIMIT {limit:UInt32}
"""


class ClickHouseBusyAgents:
    """ports.busy_agents.BusyAgents."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def busy(self, *, settled_after_ns: int, started_from_ns: int, limit: int) -> Sequence[BusyAgent]:
        """See the port."""
        parameters = {"after": settled_after_ns, "from": started_from_ns, "limit": limit}
        return [
            BusyAgent(TenantId(tenant.decode()), AgentId(agent_id.decode(errors="replace")), settled_ns)
            for tenant, agent_id, settled_ns in await self._engine.rows(_BUSY, parameters)
        ]
