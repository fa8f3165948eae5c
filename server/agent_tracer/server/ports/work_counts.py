"""What is counted of the agents' work, for Prometheus: calls of models and tasks, each once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

CALL_SECONDS: Final = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Upper bounds of the buckets in which calls of models are counted by duration."""

TASK_SECONDS: Final = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
"""Those of tasks: from one call of a tool to an hour's work."""


@dataclass(frozen=True, slots=True)
class Durations:
    """`within`: how many took at most as long as each bound, each bound's including those of the lower ones."""

    count: int
    seconds: float
    within: Sequence[int]


@dataclass(frozen=True, slots=True)
class CallGroup:
    """Calls of a model that ended alike. `cost` is of those that have a price, in US dollars; None where none has."""

    provider: str
    model: str
    status: str
    durations: Durations
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class TaskGroup:
    """Tasks of agents of one type that ended alike."""

    agent_type: str
    status: str
    durations: Durations


@dataclass(frozen=True, slots=True)
class SeenTask:
    """A task as the trace's spans tell it by now.

    `is_certain`: no span that is still to come can make it part of another task. `is_known`: it was there when its
    trace was settled before.
    """

    span_id: bytes
    is_certain: bool
    is_known: bool
    agent_type: str
    status: str
    seconds: float


@dataclass(frozen=True, slots=True)
class SeenTrace:
    """All tasks of a trace that was settled again, or those that are not certain. `key` tells traces apart."""

    key: bytes
    tasks: Sequence[SeenTask]


@dataclass(frozen=True, slots=True)
class SettledWork:
    """What settling brought to light: work that was not known before, and traces whose tasks have to be looked at."""

    calls: Sequence[CallGroup] = ()
    tasks: Sequence[TaskGroup] = ()
    traces: Sequence[SeenTrace] = ()


class WorkCounter(Protocol):
    """Told by the store of what it settled. Called on the store's thread; must be quick and must not raise."""

    @property
    def is_waiting(self) -> bool:
        """Whether it has to be told of all tasks of traces that are settled again."""
        ...

    def settled(self, work: SettledWork) -> None:
        """This is stored; nobody is told of it a second time."""
        ...


class WorkMetrics(Protocol):
    """Adds up; from any thread. Names that are too many or too long become one that stands for all others."""

    def called(self, calls: CallGroup) -> None:
        """Calls that have not been counted before."""
        ...

    def worked(self, tasks: TaskGroup) -> None:
        """Tasks that have not been counted before."""
        ...
