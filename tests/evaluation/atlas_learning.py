"""Agents that learn by a known amount, and agents that do not."""

from collections import Counter
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent_tracer.server.domain.atlas.learning import analyze_learning
from agent_tracer.server.domain.task_sums import DURATION_MS_MIN, Moments, TaskSums

DAY_NS: Final = 86_400_000_000_000
START_NS: Final = 1_700_000_000_000_000_000

Numbers = NDArray[np.float64]


def bucket(kind: str, day: int, durations: Numbers, successes: Numbers, costs: Numbers | None = None) -> TaskSums:
    """The tasks of one type and day; durations in milliseconds, costs in US dollars."""
    return TaskSums(
        kind,
        START_NS + day * DAY_NS,
        len(durations),
        int(successes.sum()),
        durations_ms=Moments.of(durations.tolist()),
        log_durations=Moments.of(np.log(np.maximum(durations, DURATION_MS_MIN)).tolist()),
        costs=Moments() if costs is None else Moments.of(costs.tolist()),
    )


@dataclass(frozen=True, slots=True)
class Drawn:
    """Single tasks in the order of time. Durations in milliseconds, costs in US dollars; successes are 0 or 1."""

    kinds: NDArray[np.int64]
    durations: Numbers
    successes: Numbers
    costs: Numbers


def learner(
    seed: int, tasks: int, buckets: int, *, speed_up: float = 0.0, cost_factor: float = 1.0, factor: float = 1.0
) -> list[TaskSums]:
    """Tasks of three types in any order, whose durations fall by `speed_up` and costs by `cost_factor` to the end."""
    drawn = learner_tasks(seed, tasks, speed_up=speed_up, cost_factor=cost_factor, factor=factor)
    return _buckets(drawn.kinds, drawn.durations, drawn.successes, drawn.costs, buckets)


def learner_tasks(
    seed: int, tasks: int, *, speed_up: float = 0.0, cost_factor: float = 1.0, factor: float = 1.0
) -> Drawn:
    """The same as single tasks."""
    draw = np.random.default_rng(seed)
    kinds = draw.integers(0, 3, tasks)
    way = np.linspace(0, 1, tasks)
    durations = factor * np.exp(kinds + 5 + draw.normal(0, 0.4, tasks)) * (1 - speed_up * way)
    successes = (draw.random(tasks) < np.array([0.95, 0.8, 0.6])[kinds]).astype(np.float64)
    costs = np.exp(kinds - 4 + draw.normal(0, 0.5, tasks)) * (1 + (cost_factor - 1) * way)
    return Drawn(kinds, durations, successes, costs)


def shuffled_tasks(seed: int, tasks: int, *, drift: float = 3.0) -> Drawn:
    """The tasks of an agent that became `drift` times as fast, in random order."""
    draw = np.random.default_rng(seed)
    kinds = draw.integers(0, 3, tasks)
    durations = np.exp(kinds + 5 + draw.normal(0, 0.7, tasks)) * np.linspace(drift, 1, tasks)
    successes = (draw.random(tasks) < np.array([0.9, 0.7, 0.5])[kinds] * np.linspace(0.8, 1, tasks)).astype(np.float64)
    costs = durations / 1e6 * np.exp(draw.normal(0, 0.5, tasks))
    order = draw.permutation(tasks)
    return Drawn(kinds[order], durations[order], successes[order], costs[order])


def shuffled(seed: int, tasks: int, buckets: int, *, drift: float = 3.0) -> list[TaskSums]:
    """The same as buckets."""
    drawn = shuffled_tasks(seed, tasks, drift=drift)
    return _buckets(drawn.kinds, drawn.durations, drawn.successes, drawn.costs, buckets)


def shuffled_verdicts(runs: int, tasks: int, buckets: int) -> Counter[str]:
    """How often each verdict is given where there is nothing to find."""
    return Counter(analyze_learning(shuffled(seed, tasks, buckets)).verdict for seed in range(runs))


def _buckets(
    kinds: NDArray[np.int64], durations: Numbers, successes: Numbers, costs: Numbers, buckets: int
) -> list[TaskSums]:
    made = []
    for day, chosen in enumerate(np.array_split(np.arange(len(kinds)), buckets)):
        for kind in np.unique(kinds[chosen]):
            held = chosen[kinds[chosen] == kind]
            made.append(bucket(f"type {kind}", day, durations[held], successes[held], costs[held]))
    return made
