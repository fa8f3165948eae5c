"""Benchmarks and version comparisons drawn at random: do ranks hold the truth, do verdicts come by chance?"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np

from agent_tracer.server.domain.ace.benchmark import benchmark
from agent_tracer.server.domain.ace.comparison import VersionComparison, compare_versions
from agent_tracer.server.domain.ids import AgentId
from agent_tracer.server.domain.task_sums import TaskSums
from tests.evaluation.ace_simulations import (
    TASK_TYPES,
    Agent,
    random_agent,
    recorded_judgements,
    recorded_tasks,
)

VERDICTS: Final = frozenset({"better", "worse", "mixed"})

Pair = tuple[Agent, Agent]


def sized(agent: Agent, mix: tuple[float, ...], size: int, random: np.random.Generator) -> Agent:
    """The agent with `size` tasks, drawn by `mix` over task types, all in one bucket of time."""
    return replace(agent, tasks=random.multinomial(size, np.array(mix) / sum(mix))[None, :])


def compared(pair: Pair, random: np.random.Generator, look: int = 1) -> VersionComparison:
    return compare_versions(
        recorded_tasks(pair[0], random),
        recorded_tasks(pair[1], random),
        base_judged=recorded_judgements(pair[0], random),
        candidate_judged=recorded_judgements(pair[1], random),
        look=look,
    )


def verdict_rate(
    pairs: int, seed: int, drawn: Callable[[np.random.Generator], Pair], wanted: frozenset[str] = VERDICTS
) -> float:
    """The share of pairs whose comparison ends in one of the wanted verdicts."""
    random = np.random.default_rng(seed)
    return sum(compared(drawn(random), random).verdict in wanted for _ in range(pairs)) / pairs


def same_version(random: np.random.Generator) -> Pair:
    """Two draws from one truth, from 20 to 500 tasks each."""
    agent = random_agent(random)
    sizes = random.integers(20, 500, size=2)
    return sized(agent, (1, 1, 1), int(sizes[0]), random), sized(agent, (1, 1, 1), int(sizes[1]), random)


def shifted_mix(random: np.random.Generator) -> Pair:
    """One truth, but the candidate gets mostly the task type that takes longest and costs most."""
    agent = random_agent(random)
    return sized(agent, (6, 3, 1), 400, random), sized(agent, (1, 3, 6), 400, random)


def drop_of_ten_points(random: np.random.Generator) -> Pair:
    """From .7 to .6, nothing else changed, 400 tasks a side."""
    agent = random_agent(random)
    base = sized(replace(agent, success=0.7), (1, 1, 1), 400, random)
    return base, sized(replace(agent, success=0.6), (1, 1, 1), 400, random)


def repeated_looks(pairs: int, seed: int, looks: int = 5, size: int = 100) -> float:
    """The share of pairs without a difference that get a verdict at any of several looks at growing data."""
    random = np.random.default_rng(seed)
    return sum(_any_verdict(random, looks, size) for _ in range(pairs)) / pairs


def _any_verdict(random: np.random.Generator, looks: int, size: int) -> bool:
    agent = random_agent(random)
    held: tuple[list[TaskSums], list[TaskSums]] = ([], [])
    for look in range(1, looks + 1):
        for side in held:
            side.extend(recorded_tasks(sized(agent, (1, 1, 1), size, random), random))
        if compare_versions(held[0], held[1], look=look).verdict in VERDICTS:
            return True
    return False


def rank_coverage(benchmarks: int, seed: int) -> tuple[float, float]:
    """The share of agents whose true rank lies within their rank interval, and the mean share of ranks it spans."""
    random = np.random.default_rng(seed)
    told: Counter[str] = Counter()
    spans = []
    for _ in range(benchmarks):
        # Rounded, so that ties and near ties occur; ranks go by the mean over types.
        rates = np.clip(
            random.uniform(0.1, 0.98, size=(int(random.integers(2, 12)), 1)).round(1)
            + random.normal(0, 0.05, size=(1, len(TASK_TYPES))),
            0.02,
            0.99,
        )
        sizes = random.integers(5, 150, size=rates.shape)
        agents = {
            AgentId(f"agent-{number:02}"): [
                TaskSums(kind, 0, int(size), int(random.binomial(size, rate)))
                for kind, size, rate in zip(TASK_TYPES, sizes[number], own, strict=True)
            ]
            for number, own in enumerate(rates)
        }
        means = {agent: round(float(own.mean()), 9) for agent, own in zip(agents, rates, strict=True)}
        for item in benchmark(agents).standings:
            true_rank = 1 + sum(mean > means[item.agent_id] for mean in means.values())
            told[str(item.rank_lower <= true_rank <= item.rank_upper)] += 1
            spans.append((item.rank_upper - item.rank_lower + 1) / len(agents))
    return told["True"] / told.total(), float(np.mean(spans))
