"""A failed run as its attribution looks at it: who may be to blame, what each step led to, which shape the run has."""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Final, Self

from agent_tracer.server.domain.atlas.content import writes
from agent_tracer.server.domain.failures.dependencies import Dependencies, dependencies, tokens
from agent_tracer.server.domain.failures.roles import Role, roles
from agent_tracer.server.domain.failures.steps import Step, bounded
from agent_tracer.server.domain.failures.wording import has_error, objects

OBJECTION_STEPS_MAX: Final = 4
"""A person objects after the call, its answer and the report of it; later objections are to other things."""

_LOOK_BACK_MAX: Final = 12
"""Earlier turns of an agent that a turn is compared with: loops are shorter."""

_DECIDING: Final = (Role.WORKER, Role.ORCHESTRATOR)


class Shape(StrEnum):
    """How the run's turns go: handed out by an orchestrator, with a person who answers, or among equals."""

    LED = "led"
    SERVED = "served"
    OPEN = "open"


@dataclass(frozen=True)
class Run:
    """Positions are those in `steps`, which are in time order. `candidates`: the steps that can be to blame."""

    steps: Sequence[Step]
    roles: Sequence[Role]
    candidates: Sequence[int]

    @classmethod
    def of(cls, steps: Sequence[Step]) -> Self:
        """The run of some steps in any order. Deciding steps are candidates; where there are none, tools are.

        A span around other deciding steps only repeats what they did, and is no candidate.
        """
        ordered = bounded(steps)
        found = roles(ordered)
        deciding = [at for at, role in enumerate(found) if role in _DECIDING]
        around = {ordered[at].parent for at in deciding if ordered[at].parent != ordered[at].span_id}
        candidates = [at for at in deciding if ordered[at].span_id not in around]
        if not candidates:
            candidates = deciding or [at for at, role in enumerate(found) if role is Role.TOOL]
        return cls(ordered, found, candidates)

    @cached_property
    def shape(self) -> Shape:
        """The run's shape; a person's turn after the first deciding step makes it a served one."""
        if any(self.roles[at] is Role.ORCHESTRATOR for at in self.candidates):
            return Shape.LED
        begin = self.candidates[0] if self.candidates else 0
        return Shape.SERVED if Role.REQUESTER in self.roles[begin:] else Shape.OPEN

    @cached_property
    def rank(self) -> Mapping[int, int]:
        """The number of each candidate among the candidates, from 0."""
        return {at: rank for rank, at in enumerate(self.candidates)}

    @cached_property
    def worker_rank(self) -> Mapping[int, int]:
        """The number of each candidate that is no orchestrator's among those, from 0."""
        workers = (at for at in self.candidates if self.roles[at] is not Role.ORCHESTRATOR)
        return {at: rank for rank, at in enumerate(workers)}

    @cached_property
    def graph(self) -> Dependencies:
        """Which step used which."""
        return dependencies(self.steps)

    @cached_property
    def write_rank(self) -> Mapping[int, int]:
        """The number of each candidate that called a tool whose name says that it changes something, from 0."""
        return {at: rank for rank, at in enumerate(at for at in self.candidates if writes(self.tool(at)))}

    @cached_property
    def turns(self) -> Mapping[str, Sequence[int]]:
        """The candidates of each agent."""
        found: dict[str, list[int]] = {}
        for at in self.candidates:
            found.setdefault(self.steps[at].actor, []).append(at)
        return found

    @cached_property
    def failed_calls(self) -> Sequence[int]:
        """The candidates that called a tool which failed, in time order."""
        return [
            at for at in self.candidates for answer in [self.answer(at)] if answer is not None and self.failed(answer)
        ]

    @cached_property
    def _failed_writes(self) -> Sequence[int]:
        return [at for at in self.failed_calls if at in self.write_rank]

    def failed(self, at: int) -> bool:
        """Whether the step failed or what it put out reports an error."""
        step = self.steps[at]
        return step.failed or bool(step.error_type) or has_error(step.text)

    def answer(self, at: int) -> int | None:
        """The tool's step right after this one, which did what this one said."""
        after = at + 1
        return after if after < len(self.steps) and self.roles[after] is Role.TOOL else None

    def tool(self, at: int) -> str:
        """The name of the tool that this step called, "" where none is known."""
        answer = self.answer(at)
        return self.steps[answer].tool_name if answer is not None else ""

    def objection(self, at: int) -> int | None:
        """The next turn of a person, where it is near and says that something was wrong."""
        near = range(at + 1, min(at + 1 + OBJECTION_STEPS_MAX, len(self.steps)))
        said = next((after for after in near if self.roles[after] is Role.REQUESTER), None)
        return said if said is not None and objects(self.steps[said].text) else None

    def later_failure(self, at: int) -> int | None:
        """Of a candidate that changed something: the next one that failed to."""
        failed = self._failed_writes
        after = bisect_right(failed, at)
        return failed[after] if at in self.write_rank and after < len(failed) else None

    def earlier(self, at: int) -> Sequence[int]:
        """The last few candidates of the same agent before this one."""
        turns = self.turns[self.steps[at].actor]
        own = bisect_left(turns, at)
        return turns[max(0, own - _LOOK_BACK_MAX) : own]

    def repeated(self, at: int) -> tuple[float, int]:
        """The largest overlap of words (Jaccard) with an earlier step of the same agent, and which; 0 where none."""
        own = tokens(self.steps[at].text)
        overlaps = [
            (len(own & said) / (len(own | said) or 1), one)
            for one in self.earlier(at)
            for said in [tokens(self.steps[one].text)]
        ]
        return max(overlaps, default=(0.0, at))
