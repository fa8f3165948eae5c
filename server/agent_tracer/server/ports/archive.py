"""What ACE asks of the store for the answers that it keeps. Every call is of one tenant; all raise StoreDownError."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from agent_tracer.server.domain.ace.benchmark import Benchmark
from agent_tracer.server.domain.ace.scores import AgentScore
from agent_tracer.server.domain.ids import AgentId, TenantId


@dataclass(frozen=True, slots=True)
class KeptScore:
    """A score as it was given, with when it was made (UTC nanoseconds) and the period it is of."""

    score_id: str
    agent_id: AgentId
    period: str
    create_time_ns: int
    score: AgentScore


@dataclass(frozen=True, slots=True)
class KeptBenchmark:
    """A benchmark as it was given; `agent_id` is whom it was asked for."""

    benchmark_id: str
    agent_id: AgentId
    period: str
    create_time_ns: int
    benchmark: Benchmark


class ArchiveCursor(NamedTuple):
    """Where a list goes on: strictly before this time, ids breaking ties in descending order."""

    create_time_ns: int
    item_id: str


class ScoreArchive(Protocol):
    """Scores, benchmarks and looks at comparisons. What was kept is read back equal."""

    async def keep_score(self, tenant: TenantId, kept: KeptScore) -> None:
        """Durable on return."""
        ...

    async def scores(
        self, tenant: TenantId, agent_id: str, *, limit: int, after: ArchiveCursor | None
    ) -> Sequence[KeptScore]:
        """Newest first; of all agents where the id is empty."""
        ...

    async def keep_benchmark(self, tenant: TenantId, kept: KeptBenchmark) -> None:
        """Durable on return."""
        ...

    async def benchmark(self, tenant: TenantId, benchmark_id: str) -> KeptBenchmark | None:
        """The one of that id."""
        ...

    async def benchmarks(
        self, tenant: TenantId, agent_id: str, *, limit: int, after: ArchiveCursor | None
    ) -> Sequence[KeptBenchmark]:
        """Newest first; of all agents where the id is empty."""
        ...

    async def look(self, tenant: TenantId, comparison: bytes, tasks: int, now_ns: int) -> int:
        """Note a look at a comparison (16 bytes name it) that stands on so many tasks; which look this is, from 1.

        The same comparison on as many tasks is the same look.
        """
        ...
