"""Keeps scores, benchmarks and looks at comparisons: rows of JSON, read back whole."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from clickhouse_connect.driver.client import Client
from pydantic import TypeAdapter

from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.ports.archive import ArchiveCursor, KeptBenchmark, KeptScore

_SCORE: Final = TypeAdapter(KeptScore)
_BENCHMARK: Final = TypeAdapter(KeptBenchmark)

_KEEP: Final = """
INSERT INTO {table} (tenant, received_at, agent_id, {name}_id, content)
SELECT {{tenant:String}}, fromUnixTimestamp64Nano({{created:Int64}}, 'UTC'), {{agent:String}}, {{id:String}}, {{content:String}}
"""
_LIST: Final = """
SELECT content FROM {table} WHERE tenant = {{tenant:String}} AND {{agent:String}} IN ('', agent_id)
  AND (toUnixTimestamp64Nano(received_at), {name}_id) < ({{created:Int64}}, {{id:String}})
ORDER BY received_at DESC, {name}_id DESC LIMIT {{limit:UInt32}}
"""
_FIND: Final = "SELECT content FROM benchmarks WHERE tenant = {tenant:String} AND benchmark_id = {id:String} LIMIT 1"
_LOOKS: Final = """
SELECT tasks, min(received_at) AS first FROM looks
WHERE tenant = {tenant:String} AND comparison = unhex({comparison:String}) GROUP BY tasks ORDER BY first, tasks
"""
_LOOK: Final = """
INSERT INTO looks SELECT {tenant:String}, fromUnixTimestamp64Nano({now:Int64}, 'UTC'), unhex({comparison:String}), {tasks:UInt64}
"""
_END: Final = ArchiveCursor(2**63 - 1, "")


class ClickHouseArchive:
    """ports.archive.ScoreArchive."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def keep_score(self, tenant: TenantId, kept: KeptScore) -> None:
        """See the port."""
        await self._keep("scores", "score", tenant, kept, kept.score_id, _SCORE.dump_json(kept))

    async def scores(
        self, tenant: TenantId, agent_id: str, *, limit: int, after: ArchiveCursor | None
    ) -> Sequence[KeptScore]:
        """See the port."""
        return list(map(_SCORE.validate_json, await self._list("scores", "score", tenant, agent_id, limit, after)))

    async def keep_benchmark(self, tenant: TenantId, kept: KeptBenchmark) -> None:
        """See the port."""
        await self._keep("benchmarks", "benchmark", tenant, kept, kept.benchmark_id, _BENCHMARK.dump_json(kept))

    async def benchmark(self, tenant: TenantId, benchmark_id: str) -> KeptBenchmark | None:
        """See the port."""
        found = await self._engine.rows(_FIND, {"tenant": tenant, "id": benchmark_id})
        return _BENCHMARK.validate_json(found[0][0]) if found else None

    async def benchmarks(
        self, tenant: TenantId, agent_id: str, *, limit: int, after: ArchiveCursor | None
    ) -> Sequence[KeptBenchmark]:
        """See the port."""
        found = await self._list("benchmarks", "benchmark", tenant, agent_id, limit, after)
        return list(map(_BENCHMARK.validate_json, found))

    async def look(self, tenant: TenantId, comparison: bytes, tasks: int, now_ns: int) -> int:
        """See the port."""
        values = {"tenant": tenant, "comparison": comparison.hex(), "tasks": tasks, "now": now_ns}

        def note(client: Client) -> int:
            found = client.query(_LOOKS, values)
            seen = [int(row[0]) for row in found.result_rows]
            if tasks in seen:
                return seen.index(tasks) + 1
            client.command(_LOOK, values)
            return len(seen) + 1

        # On the writing thread, so that two looks at once are two.
        return await self._engine.write(note)

    async def _keep(
        self, table: str, name: str, tenant: TenantId, kept: KeptScore | KeptBenchmark, item_id: str, content: bytes
    ) -> None:
        values = {
            "tenant": tenant,
            "created": kept.create_time_ns,
            "agent": kept.agent_id,
            "id": item_id,
            "content": content.decode(),
        }
        statement = _KEEP.format(table=table, name=name)
        await self._engine.write(lambda client: client.command(statement, values))

    async def _list(
        self, table: str, name: str, tenant: TenantId, agent_id: str, limit: int, after: ArchiveCursor | None
    ) -> Sequence[bytes]:
        at = after or _END
        values: Mapping[str, Any] = {
            "tenant": tenant,
            "agent": agent_id,
            "created": at.create_time_ns,
            "id": at.item_id,
            "limit": limit,
        }
        return [content for (content,) in await self._engine.rows(_LIST.format(table=table, name=name), values)]
