"""Simulated agents whose true rates are known: do the intervals of scores, task types and ranks hold them?"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from agent_tracer.v1 import ace_pb2
from tests.evaluation.ace_simulations import TASK_TYPES, score_coverage
from tests.evaluation.options import Options
from tests.evaluation.product import CALL_SECONDS, Product, product, timestamp
from tests.evaluation.rows import Row, share
from tests.evaluation.tasks import BASE_NS, DAY_NS, Task, spans_of

AGENTS: Final = 2_000
GROUP_AGENTS: Final = 100
"""As many as one benchmark takes. A group has a day of its own, so that its agents are each other's peers."""

TASKS_LEAST, TASKS_MOST = 5, 500
RATE_LEAST, RATE_MOST = 0.05, 0.98
WITHIN: Final = (0.93, 0.97)
"""What 95 % intervals should hold of 2,000: chance alone makes half a percent more or less."""

BENCHMARKS: Final = 200
RANK_TYPES: Final = TASK_TYPES[:2]
HELD_LEAST: Final = 0.95


@dataclass(frozen=True, slots=True)
class Agent:
    """The truth: how often a task is of each type, and how often one of it succeeds."""

    agent_id: str
    mix: np.ndarray
    rates: np.ndarray

    @property
    def rate(self) -> float:
        return float(self.mix @ self.rates)


def scores(options: Options) -> Iterator[Row]:
    """ScoreAgent of every agent, and benchmarks of a hundred each."""
    random = np.random.default_rng(1)
    groups = [
        [_agent(random, f"agent-{group}-{number}") for number in range(GROUP_AGENTS)]
        for group in range(options.seeds * AGENTS // GROUP_AGENTS)
    ]
    with product(options.folder) as server:
        server.send(spans_of(task for at, group in enumerate(groups) for task in _day_of(random, at, group)))
        asked = [(at, agent) for at, group in enumerate(groups) for agent in group]
        held = server.ask(lambda pair: _is_held(server, *pair), asked)
        yield _coverage("coverage: intervals of ScoreAgent's success_rate", held)
        held = [found for at, group in enumerate(groups) for found in _are_held(server, at, group)]
        yield _coverage("coverage: intervals of a benchmark's task types", held)
    yield from _of_the_method(options)


def _of_the_method(options: Options) -> Iterator[Row]:
    """What a score is put together from cannot all be sent in: retries, peers and judgements are drawn as sums."""
    agents = options.seeds * AGENTS
    found = score_coverage(agents, seed=1)
    for name in ("reliability", "efficiency", "quality", "overall"):
        low, high = WITHIN
        yield share(
            f"coverage: intervals of {name} (method alone)", round(found[name] * agents), agents, least=low, most=high
        )


def _coverage(name: str, held: Sequence[bool]) -> Row:
    return share(name, sum(held), len(held), least=WITHIN[0], most=WITHIN[1])


def _agent(random: np.random.Generator, agent_id: str) -> Agent:
    kinds = len(TASK_TYPES)
    return Agent(agent_id, random.dirichlet(np.full(kinds, 2.0)), random.uniform(RATE_LEAST, RATE_MOST, kinds))


def _day_of(random: np.random.Generator, day: int, agents: Sequence[Agent]) -> Iterator[Task]:
    for agent in agents:
        size = round(math.exp(random.uniform(math.log(TASKS_LEAST), math.log(TASKS_MOST))))
        kinds = random.choice(len(TASK_TYPES), size, p=agent.mix)
        starts = _day_ns(day) + random.integers(0, DAY_NS, size)
        solved = random.random(size) < agent.rates[kinds]
        for kind, start_ns, is_success in zip(kinds, starts, solved, strict=True):
            yield Task(agent.agent_id, TASK_TYPES[kind], int(start_ns), bool(is_success))


def _day_ns(day: int) -> int:
    return BASE_NS + 7 * day * DAY_NS


def _is_held(server: Product, day: int, agent: Agent) -> bool:
    end = timestamp(_day_ns(day) + DAY_NS)
    request = ace_pb2.ScoreAgentRequest(agent_id=agent.agent_id, period="24h", end_time=end)
    return _holds(server.ace.ScoreAgent(request, timeout=CALL_SECONDS).intervals["success_rate"], agent.rate)


def _are_held(server: Product, day: int, agents: Sequence[Agent]) -> Iterator[bool]:
    truth = {
        (agent.agent_id, kind): rate for agent in agents for kind, rate in zip(TASK_TYPES, agent.rates, strict=True)
    }
    request = ace_pb2.CreateBenchmarkRequest(
        agent_id=agents[0].agent_id,
        compare_against=[agent.agent_id for agent in agents[1:]],
        period="24h",
        end_time=timestamp(_day_ns(day) + DAY_NS),
    )
    for agent in server.ace.CreateBenchmark(request, timeout=CALL_SECONDS).agents:
        for kind, found in agent.scores.items():
            if found.task_count >= TASKS_LEAST:
                yield _holds(found.interval, truth[agent.agent_id, kind])


def _holds(interval: ace_pb2.Interval, truth: float) -> bool:
    return bool(interval.lower <= truth <= interval.upper)


def ranks(options: Options) -> Iterator[Row]:
    """Benchmarks of five to eight agents, some of which are as good as others."""
    random = np.random.default_rng(2)
    fields = [_field(random, number) for number in range(options.seeds * BENCHMARKS)]
    with product(options.folder) as server:
        server.send(spans_of(task for agents in fields for agent in agents for task in _tasks(random, agent)))
        found = server.ask(lambda agents: _ranked(server, agents), fields)
    held = [is_held for one in found for is_held, _ in one]
    spans = [span for one in found for _, span in one]
    yield share("ranks: intervals that hold the true rank", sum(held), len(held), least=HELD_LEAST)
    yield Row("ranks: part of all ranks that an interval spans", f"{np.mean(spans):.1%}", n=len(spans))


def _field(random: np.random.Generator, number: int) -> list[Agent]:
    """Rates in steps of ten points, so that ties occur, and types of which one is harder."""
    size = int(random.integers(5, 9))
    rates = random.uniform(0.1, 0.95, (size, 1)).round(1) + random.normal(0, 0.05, (1, len(RANK_TYPES)))
    mix = np.full(len(RANK_TYPES), 1 / len(RANK_TYPES))
    return [Agent(f"field-{number}-{at}", mix, np.clip(own, 0.02, 0.99)) for at, own in enumerate(rates)]


def _tasks(random: np.random.Generator, agent: Agent) -> Iterator[Task]:
    for kind, rate in zip(RANK_TYPES, agent.rates, strict=True):
        solved = random.random(int(random.integers(10, 100))) < rate
        for at, is_success in enumerate(solved):
            yield Task(agent.agent_id, kind, BASE_NS + at * DAY_NS // 100, bool(is_success))


def _ranked(server: Product, agents: Sequence[Agent]) -> list[tuple[bool, float]]:
    """Of each agent: whether its interval holds its true rank, and the part of all ranks that it spans."""
    request = ace_pb2.CreateBenchmarkRequest(
        agent_id=agents[0].agent_id,
        compare_against=[agent.agent_id for agent in agents[1:]],
        period="24h",
        end_time=timestamp(BASE_NS + DAY_NS),
    )
    truth = {agent.agent_id: round(agent.rate, 9) for agent in agents}
    told = []
    for agent in server.ace.CreateBenchmark(request, timeout=CALL_SECONDS).agents:
        rank = 1 + sum(rate > truth[agent.agent_id] for rate in truth.values())
        width = agent.rank_upper - agent.rank_lower + 1
        told.append((agent.rank_lower <= rank <= agent.rank_upper, width / len(agents)))
    return told
