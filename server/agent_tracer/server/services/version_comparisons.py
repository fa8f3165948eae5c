"""Use case: is one version of an agent, a model or a prompt better than another on recorded tasks?"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from agent_tracer.server.domain.ace.comparison import VersionComparison, compare_versions
from agent_tracer.server.domain.checks import check_id, check_length
from agent_tracer.server.domain.conditions import analysis_range
from agent_tracer.server.domain.errors import Violations
from agent_tracer.server.domain.ids import AgentId, TenantId
from agent_tracer.server.domain.task_sums import QualitySums, TaskSums
from agent_tracer.server.domain.telemetry import TimeRange
from agent_tracer.server.limits import TEXT_LENGTH_MAX
from agent_tracer.server.ports.archive import ScoreArchive
from agent_tracer.server.ports.task_statistics import TaskReader
from agent_tracer.server.services.settled_reads import CatchUp
from agent_tracer.server.services.task_reading import AgentTasks, all_quality

PERIOD_DEFAULT: Final = "30d"
ATTRIBUTE_DEFAULT: Final = "agent_version"

_Sums = TypeVar("_Sums", TaskSums, QualitySums)


@dataclass(frozen=True, slots=True)
class ComparisonRequest:
    """As the caller wrote it. `attribute` tells the versions apart."""

    agent_id: str
    base: str
    candidate: str
    attribute: str = ""
    period: str = ""
    end_ns: int | None = None
    task_type: str = ""


class VersionComparisons:
    """Raises InvalidFieldsError, AgentNotFoundError, and what the ports raise."""

    def __init__(
        self,
        *,
        reader: TaskReader,
        archive: ScoreArchive,
        catch_up: CatchUp,
        clock_ns: Callable[[], int],
    ) -> None:
        self._reader = reader
        self._archive = archive
        self._catch_up = catch_up
        self._clock_ns = clock_ns

    async def compare(self, tenant: TenantId, request: ComparisonRequest) -> VersionComparison:
        """The candidate against the base. Repeated looks at growing data are counted, and corrected for."""
        now_ns = self._clock_ns()
        time_range = _range(request, now_ns)
        behind = await self._catch_up()
        agent = AgentTasks(self._reader, tenant, AgentId(request.agent_id), time_range)
        attribute, values = request.attribute or ATTRIBUTE_DEFAULT, (request.base, request.candidate)
        tasks, judged = await asyncio.gather(
            agent.by_variant(attribute, values, request.task_type),
            agent.quality(attribute, values, request.task_type),
        )
        if not tasks:
            await agent.must_be_known()
        quality = all_quality(tasks, judged)
        look = await self._archive.look(tenant, _name(request, attribute), sum(of.tasks for of in tasks), now_ns)
        compared = await asyncio.to_thread(
            compare_versions,
            _of(tasks, request.base),
            _of(tasks, request.candidate),
            base_judged=_of(quality, request.base),
            candidate_judged=_of(quality, request.candidate),
            look=look,
        )
        return replace(compared, caveats=(*compared.caveats, *behind))


def _of(sums: Sequence[_Sums], variant: str) -> list[_Sums]:
    return [of for of in sums if of.variant == variant]


def _name(request: ComparisonRequest, attribute: str) -> bytes:
    """What makes two looks looks at the same comparison: 16 bytes."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (request.agent_id, attribute, request.base, request.candidate, request.task_type):
        digest.update(len(part.encode()).to_bytes(8, "big") + part.encode())
    return digest.digest()


def _range(request: ComparisonRequest, now_ns: int) -> TimeRange:
    found = Violations()
    for name in ("agent_id", "base", "candidate"):
        check_id(found, name, getattr(request, name))
    if request.base and request.base == request.candidate:
        found.add("candidate", "must be another version than base")
    check_length(found, "attribute", request.attribute, TEXT_LENGTH_MAX)
    check_length(found, "task_type", request.task_type, TEXT_LENGTH_MAX)
    time_range = analysis_range(found, request.period, PERIOD_DEFAULT, request.end_ns, now_ns)
    found.raise_any()
    return time_range
