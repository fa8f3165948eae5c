"""Pairs of versions whose true difference is known: is it found, and is none found where there is none?"""

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

import numpy as np

from agent_tracer.v1 import ace_pb2
from tests.evaluation.ace_simulations import TASK_TYPES, Agent, drawn
from tests.evaluation.ace_verdicts import (
    VERDICTS,
    Pair,
    drop_of_ten_points,
    repeated_looks,
    same_version,
    shifted_mix,
    verdict_rate,
)
from tests.evaluation.options import Options
from tests.evaluation.product import CALL_SECONDS, Product, product, timestamp
from tests.evaluation.rows import Row, share
from tests.evaluation.tasks import BASE_NS, DAY_NS, Task, spans_of

FALSE_MOST: Final = 0.05
FOUND_LEAST: Final = 0.8
BASE, CANDIDATE = "1.0", "1.1"
METHOD_PAIRS: Final = 2_000
MEASURES: Final = ("success_rate", "duration", "cost")

Draw = Callable[[np.random.Generator], Pair]


def evaluate(options: Options) -> Iterator[Row]:
    """Versions of one agent, told apart by its agent_version; each task is one call with a cost."""
    with product(options.folder) as server:
        found = _rate(server, same_version, 500 * options.seeds, VERDICTS, 1)
        yield share("compare: verdicts where nothing differs", *found, most=FALSE_MOST)
        found = _rate(server, drop_of_ten_points, 200 * options.seeds, frozenset({"worse"}), 2)
        yield share("compare: drops from 70 % to 60 % that are found", *found, least=FOUND_LEAST)
        found = _rate(server, shifted_mix, 1_000 * options.seeds, VERDICTS, 3)
        yield share("compare: verdicts where only the mix of task types differs", *found, most=FALSE_MOST)
    yield from _of_the_method(options)


def _of_the_method(options: Options) -> Iterator[Row]:
    """The same over more pairs, drawn as sums; and looks that growing data are given."""
    pairs = METHOD_PAIRS * options.seeds
    for name, draw in (("nothing", same_version), ("only the mix of task types", shifted_mix)):
        told = round(verdict_rate(pairs, 4, draw) * pairs)
        yield share(f"compare: verdicts where {name} differs (method alone)", told, pairs, most=FALSE_MOST)
    told = round(repeated_looks(pairs, 4) * pairs)
    name = "compare: verdicts at any of five looks where nothing differs (method alone)"
    yield share(name, told, pairs, most=FALSE_MOST)


def _rate(server: Product, draw: Draw, pairs: int, wanted: AbstractSet[str], seed: int) -> tuple[int, int]:
    """How many pairs' comparison ends in one of the wanted verdicts, and of how many."""
    random = np.random.default_rng(seed)
    agents = [f"{draw.__name__}-{number}" for number in range(pairs)]
    server.send(spans_of(task for agent_id in agents for task in _tasks(agent_id, draw(random), random)))
    found = server.ask(lambda agent_id: _compared(server, agent_id), agents)
    # An agent with next to no successes has no duration or cost of any to compare.
    assert sum(len(one.measures) == len(MEASURES) for one in found) > pairs / 2
    return sum(one.verdict in wanted for one in found), pairs


def _tasks(agent_id: str, pair: Sequence[Agent], random: np.random.Generator) -> Iterator[Task]:
    for version, agent in zip((BASE, CANDIDATE), pair, strict=True):
        for (_, kind), size in np.ndenumerate(agent.tasks):
            made = drawn(agent, random, kind, int(size))
            starts = BASE_NS + random.integers(0, DAY_NS, int(size))
            fields = (starts, made.succeeded, np.exp(made.log_durations), np.exp(made.log_costs))
            for start_ns, is_success, duration_ms, cost in zip(*fields, strict=True):
                yield Task(
                    agent_id,
                    TASK_TYPES[kind],
                    int(start_ns),
                    bool(is_success),
                    float(duration_ms),
                    float(cost),
                    version=version,
                )


def _compared(server: Product, agent_id: str) -> ace_pb2.VersionComparison:
    request = ace_pb2.CompareVersionsRequest(
        agent_id=agent_id, base=BASE, candidate=CANDIDATE, period="24h", end_time=timestamp(BASE_NS + DAY_NS)
    )
    return server.ace.CompareVersions(request, timeout=CALL_SECONDS)
