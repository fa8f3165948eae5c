"""Keeps the published scores of agents at work up to date, so that dashboards have them without anybody asking."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, Protocol

from agent_tracer.server.domain.errors import RefusedError
from agent_tracer.server.domain.ids import AgentId, TenantId
from agent_tracer.server.limits import (
    SCORE_PUBLISH_AGENTS,
    SCORE_PUBLISH_COST_FACTOR,
    SCORE_PUBLISH_RETRY_SECONDS,
    SCORE_PUBLISH_SECONDS_MIN,
    SCORED_AGENTS_MAX,
)
from agent_tracer.server.ports.busy_agents import BusyAgents
from agent_tracer.server.ports.journal import Record
from agent_tracer.server.ports.store import QueryTimeoutError, StoreBusyError, StoreDownError, TooMuchDataError
from agent_tracer.server.services.follower import LEFT, Follower
from agent_tracer.server.services.pacing import Pace

_PERIOD_NS: Final = 24 * 3600 * 1_000_000_000
"""That of a score for which no period is given."""

_PACE: Final = Pace(
    part="scores",
    what="scores are published",
    expected=(StoreDownError, StoreBusyError, QueryTimeoutError, TooMuchDataError),
    cost_factor=SCORE_PUBLISH_COST_FACTOR,
    seconds_min=SCORE_PUBLISH_SECONDS_MIN,
    retry_seconds=SCORE_PUBLISH_RETRY_SECONDS,
)


class Scorer(Protocol):
    """services.agent_scores.AgentScores, of which this is used."""

    async def publish(self, tenant: TenantId, agent_id: AgentId) -> None:
        """Publish an agent's score of the last day."""
        ...


class ScorePublisher:
    """CommitListener; `run` is its task. Scores the agents that worked since it looked last, some at a time.

    Where more of them work than it has time for, each has its turn; past SCORED_AGENTS_MAX that wait, further ones have
    to work again before they are found.
    """

    def __init__(
        self,
        *,
        agents: BusyAgents,
        scorer: Scorer,
        settled: Callable[[], Awaitable[None]],
        clock_ns: Callable[[], int],
    ) -> None:
        """`settled` returns once what is loaded is settled."""
        self._agents = agents
        self._scorer = scorer
        self._settled = settled
        self._clock_ns = clock_ns
        self._seen_ns = 0
        self._waiting: dict[tuple[TenantId, AgentId], None] = {}
        self._follower = Follower(_PACE, self.publish_some)

    async def committed(self, records: Sequence[Record]) -> None:
        """These records can be read now."""
        await self._follower.committed(records)

    async def run(self) -> None:
        """Publish until cancelled, in a fiftieth of the time; nothing while nothing comes."""
        await self._follower.run()

    async def publish_some(self) -> float | None:
        """One look, and the scores of some agents; LEFT where more of them wait. Raises what the ports raise."""
        await self._settled()
        await self._look()
        for tenant, agent_id in list(self._waiting)[:SCORE_PUBLISH_AGENTS]:
            with suppress(RefusedError):  # What cannot be scored has no series; who asks for it is told why.
                await self._scorer.publish(tenant, agent_id)
            self._waiting.pop((tenant, agent_id), None)
        return LEFT if self._waiting else None

    async def _look(self) -> None:
        busy = await self._agents.busy(
            settled_after_ns=self._seen_ns,
            started_from_ns=self._clock_ns() - _PERIOD_NS,
            limit=SCORED_AGENTS_MAX,
        )
        for agent in busy:
            self._seen_ns = max(self._seen_ns, agent.settled_ns)
            if len(self._waiting) < SCORED_AGENTS_MAX:
                self._waiting.setdefault((agent.tenant, agent.agent_id))
