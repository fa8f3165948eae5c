"""Who did what in a run: people ask, tools do as told, orchestrators hand out work, workers do it."""

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise
from typing import Final

from agent_tracer.server.domain.failures.steps import TOOL_KINDS, Step, name_words


class Role(StrEnum):
    """What part a step has. Only orchestrators' and workers' steps decide anything, so only they can be to blame."""

    REQUESTER = "requester"
    TOOL = "tool"
    ORCHESTRATOR = "orchestrator"
    WORKER = "worker"


_KINDS: Final = {"user": Role.REQUESTER, "human": Role.REQUESTER, "system": Role.REQUESTER} | dict.fromkeys(
    TOOL_KINDS, Role.TOOL
)

_NAMES: Final = (
    (Role.REQUESTER, frozenset({"human", "user", "customer", "system"})),
    (Role.TOOL, frozenset({"terminal", "tool", "executor", "interpreter", "console", "sandbox", "shell"})),
    (
        Role.ORCHESTRATOR,
        frozenset(
            {"orchestrator", "manager", "planner", "supervisor", "coordinator", "router", "dispatcher", "controller"}
        ),
    ),
)

_DOER_WORDS: Final = frozenset({"expert", "agent", "assistant", "specialist", "engineer", "analyst"})
"""A "shell expert" writes for the shell, and a "user support agent" is no user."""

_HUB_SHARE_MIN: Final = 0.8
_HUB_TURNS_MIN: Final = 6
"""Who speaks first and before at least so many and such a share of the others' turns hands out the work."""


def roles(steps: Sequence[Step]) -> list[Role]:
    """The role of each step: by kind, else by a general word in the agent's name, else by how the turns alternate."""
    found = [_KINDS.get(step.kind) or role_by_name(step.actor) for step in steps]
    if Role.ORCHESTRATOR not in found:
        hub = _hub([step for step, role in zip(steps, found, strict=True) if role is Role.WORKER])
        found = [
            Role.ORCHESTRATOR if role is Role.WORKER and hub and step.actor == hub else role
            for step, role in zip(steps, found, strict=True)
        ]
    return found


def role_by_name(name: str) -> Role:
    """By a general word in it; a worker where there is none."""
    words = name_words(name)
    if words & _DOER_WORDS:
        return Role.WORKER
    return next((role for role, listed in _NAMES if words & listed), Role.WORKER)


def _hub(steps: Sequence[Step]) -> str:
    """The first agent, where it speaks before nearly every turn of at least two others; "" where there is none."""
    if not steps:
        return ""
    first = steps[0].actor
    others = Counter(step.actor for step in steps if step.actor != first)
    turns = sum(others.values())
    led = sum(one.actor == first != other.actor for one, other in pairwise(steps))
    return first if len(others) > 1 and turns >= _HUB_TURNS_MIN and led >= _HUB_SHARE_MIN * turns else ""
