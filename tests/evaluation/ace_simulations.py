"""Agents drawn at random, whose true scores are known: do the intervals hold them, and do verdicts come by chance?"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np

from agent_tracer.server.domain.ace.scores import AgentScore, Component
from agent_tracer.server.domain.ace.scoring import score_agent
from agent_tracer.server.domain.task_sums import Moments, QualitySums, TaskSums

BUCKETS: Final = 24
HOUR_NS: Final = 3_600_000_000_000
TASK_TYPES: Final = ("answer", "search", "code")
COST_DURATION_CORRELATION: Final = 0.5
PEER_TASKS: Final = 600


@dataclass(frozen=True, slots=True)
class Agent:
    """The truth of an agent: what its tasks are drawn from. Arrays have one entry a task type."""

    tasks: np.ndarray  # tasks by bucket of time and type
    success: float
    timeout: float  # of failures
    retry: float
    log_duration: np.ndarray
    log_cost: np.ndarray
    deviation: float
    judgement: tuple[float, float]  # of a beta distribution


def random_agent(random: np.random.Generator, least: int = 5, most: int = 500) -> Agent:
    """From `least` to `most` tasks (log-uniform), success from .05 to .98."""
    size = round(math.exp(random.uniform(math.log(least), math.log(most))))
    mix = random.dirichlet(np.full(BUCKETS * len(TASK_TYPES), 2.0))
    concentration = random.uniform(2, 20)
    quality = random.uniform(0.1, 0.95)
    return Agent(
        tasks=random.multinomial(size, mix).reshape(BUCKETS, len(TASK_TYPES)),
        success=random.uniform(0.05, 0.98),
        timeout=random.uniform(0, 0.5),
        retry=random.uniform(0.02, 0.4),
        log_duration=np.array([7.0, 8.0, 9.5]) + random.normal(0, 0.4),
        log_cost=np.array([-6.0, -5.0, -3.0]) + random.normal(0, 0.4),
        deviation=random.uniform(0.2, 0.9),
        judgement=(quality * concentration, (1 - quality) * concentration),
    )


def recorded_tasks(agent: Agent, random: np.random.Generator) -> list[TaskSums]:
    """Its tasks, drawn anew, as sums by bucket."""
    return [_bucket(agent, random, hour, kind, int(size)) for (hour, kind), size in np.ndenumerate(agent.tasks) if size]


@dataclass(frozen=True, slots=True)
class Drawn:
    """Single tasks of one type; durations in log milliseconds, costs in log US dollars."""

    succeeded: np.ndarray
    log_durations: np.ndarray
    log_costs: np.ndarray


def drawn(agent: Agent, random: np.random.Generator, kind: int, size: int) -> Drawn:
    """So many of the agent's tasks of a type."""
    succeeded = random.random(size) < agent.success
    first, second = random.normal(size=(2, size))
    correlated = COST_DURATION_CORRELATION * first + math.sqrt(1 - COST_DURATION_CORRELATION**2) * second
    durations = agent.log_duration[kind] + agent.deviation * first
    return Drawn(succeeded, durations, agent.log_cost[kind] + agent.deviation * correlated)


def _bucket(agent: Agent, random: np.random.Generator, hour: int, kind: int, size: int) -> TaskSums:
    tasks = drawn(agent, random, kind, size)
    return TaskSums(
        task_type=TASK_TYPES[kind],
        start_ns=hour * HOUR_NS,
        tasks=size,
        successes=int(tasks.succeeded.sum()),
        timeouts=int(((random.random(size) < agent.timeout) & ~tasks.succeeded).sum()),
        retried=int((random.random(size) < agent.retry).sum()),
        durations_ms=moments(np.exp(tasks.log_durations)),
        log_durations=moments(tasks.log_durations),
        success_log_durations=moments(tasks.log_durations[tasks.succeeded]),
        costs=moments(np.exp(tasks.log_costs)),
        success_log_costs=moments(tasks.log_costs[tasks.succeeded]),
    )


def moments(values: np.ndarray) -> Moments:
    return Moments(values.size, float(values.sum()), float((values * values).sum()))


def recorded_judgements(agent: Agent, random: np.random.Generator) -> list[QualitySums]:
    return [QualitySums("correctness", "answer", 0, moments(random.beta(*agent.judgement, int(agent.tasks.sum()))))]


def random_peers(random: np.random.Generator) -> tuple[Agent, list[TaskSums]]:
    """A peer with as many tasks of each type, and what was recorded of it."""
    tasks = np.zeros((BUCKETS, len(TASK_TYPES)), int)
    tasks[0] = PEER_TASKS // len(TASK_TYPES)
    drawn = random_agent(random)
    peer = Agent(tasks, 0.8, 0.1, 0.1, np.array([7.0, 8.0, 9.5]), np.array([-6.0, -5.0, -3.0]), drawn.deviation, (1, 1))
    return peer, recorded_tasks(peer, random)


def true_components(agent: Agent, peer: Agent, seen: Sequence[TaskSums]) -> dict[str, float]:
    """What each component would be at the agent's true parameters, for the tasks by bucket and success that it had."""
    phi = NormalDist().cdf
    spread = math.hypot(agent.deviation, peer.deviation)
    successes: Counter[str] = Counter()
    for bucket in seen:
        successes[bucket.task_type] += bucket.successes
    mix = np.array([successes[kind] for kind in TASK_TYPES]) / max(1, successes.total())
    faster = [phi(difference / spread) for difference in peer.log_duration - agent.log_duration]
    cheaper = [phi(difference / spread) for difference in peer.log_cost - agent.log_cost]
    return {
        "success_rate": agent.success,
        "success_floor": agent.success,
        "duration_stability": math.erf(math.log(2) / (agent.deviation * math.sqrt(2))),
        "no_retries": 1 - agent.retry,
        "no_timeouts": 1 - (1 - agent.success) * agent.timeout,
        "duration_vs_peers": float(mix @ faster),
        "cost_vs_peers": float(mix @ cheaper),
        "correctness": agent.judgement[0] / sum(agent.judgement),
    }


def true_scores(score: AgentScore, truth: Mapping[str, float]) -> dict[str, float]:
    """The functional that the score is, at the true components."""
    by_dimension: dict[str, list[Component]] = {}
    for component in score.components:
        by_dimension.setdefault(component.dimension, []).append(component)
    values = {
        name: sum(item.weight * truth[item.name] for item in components) for name, components in by_dimension.items()
    }
    weights = {"quality": 0.4, "efficiency": 0.3, "reliability": 0.3}
    total = sum(weights[name] for name in values)
    overall = sum(weights[name] * value for name, value in values.items()) / total
    return {**values, "overall": overall, "success_rate": truth["success_rate"]}


def score_coverage(agents: int, seed: int, least: int = 5, most: int = 500) -> dict[str, float]:
    """The share of agents whose true score lies in its interval, by the interval's name."""
    random = np.random.default_rng(seed)
    held: Counter[str] = Counter()
    told: Counter[str] = Counter()
    for _ in range(agents):
        agent = random_agent(random, least, most)
        peer, peers = random_peers(random)
        tasks = recorded_tasks(agent, random)
        score = score_agent(tasks, peers=peers, judged=recorded_judgements(agent, random))
        components = true_components(agent, peer, tasks)
        truth = true_scores(score, components)
        shown = {**score.intervals, **{f"component {item.name}": item.interval for item in score.components}}
        truth |= {f"component {name}": value for name, value in components.items()}
        told.update(shown.keys())
        held.update(name for name, interval in shown.items() if truth[name] in interval)
    return {name: held[name] / told[name] for name in sorted(told)}
