"""Agents that are known to have learnt, and agents that have not: what does AnalyzeLearning say?"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from agent_tracer.v1 import atlas_pb2
from tests.evaluation import published
from tests.evaluation.atlas_learning import Drawn, learner_tasks, shuffled_tasks
from tests.evaluation.options import Options
from tests.evaluation.product import CALL_SECONDS, Product, product, timestamp
from tests.evaluation.rows import Row, equal, share
from tests.evaluation.tasks import BASE_NS, DAY_NS, Task, spans_of

VERDICTS: Final = {"alfworld": "improving", "webshop": "stable"}
"""Of Reflexion's experiments (Shinn et al. 2023, arXiv 2303.11366): it helped in the first, and not in the second."""

SHUFFLED: Final = 400
SHUFFLED_TASKS: Final = 60
FALSE_MOST: Final = 0.05

LEARNERS: Final = 100
LEARNER_TASKS: Final = 300
SPEED_UP: Final = 0.4
FOUND_LEAST: Final = 0.8
DAYS: Final = 30


def reflexion(options: Options) -> Iterator[Row]:
    """Each trial a day, each environment a task of it."""
    with product(options.folder) as server:
        for experiment, verdict in VERDICTS.items():
            trials = published.reflexion_trials(experiment)
            if trials:
                tasks = published.reflexion_tasks(experiment, trials)
                server.send(spans_of(tasks))
                found = _verdict(server, tasks[0].agent_id, len(trials))
                solved = " ".join(str(sum(trial)) for trial in trials)
                yield equal(f"reflexion: {experiment}, solved {solved} of {len(trials[0])}", found, verdict, len(tasks))


def shuffled(options: Options) -> Iterator[Row]:
    """Tasks in random order, from which nothing can be learnt about learning; and agents that became faster."""
    with product(options.folder) as server:
        found = _rate(server, "shuffled", SHUFFLED * options.seeds, lambda n: shuffled_tasks(n, SHUFFLED_TASKS))
        yield share('shuffled: agents called "improving"', *found, most=FALSE_MOST)
        found = _rate(
            server, "learner", LEARNERS * options.seeds, lambda n: learner_tasks(n, LEARNER_TASKS, speed_up=SPEED_UP)
        )
        yield share(
            'shuffled: agents that need 40 % less time at the end called "improving"', *found, least=FOUND_LEAST
        )


def _rate(server: Product, name: str, agents: int, draw: Callable[[int], Drawn]) -> tuple[int, int]:
    """How many agents are called improving, and of how many."""
    ids = [f"{name}-{number}" for number in range(agents)]
    server.send(spans_of(task for number, agent_id in enumerate(ids) for task in _tasks(agent_id, draw(number))))
    verdicts = server.ask(lambda agent_id: _verdict(server, agent_id, DAYS), ids)
    return verdicts.count("improving"), agents


def _tasks(agent_id: str, made: Drawn) -> Sequence[Task]:
    """Evenly spread over DAYS."""
    step_ns = DAYS * DAY_NS // len(made.kinds)
    fields = zip(made.kinds, made.durations, made.successes, made.costs, strict=True)
    return [
        Task(agent_id, f"type {kind}", BASE_NS + at * step_ns, bool(success), float(duration), float(cost))
        for at, (kind, duration, success, cost) in enumerate(fields)
    ]


def _verdict(server: Product, agent_id: str, days: int) -> str:
    end = timestamp(BASE_NS + days * DAY_NS)
    request = atlas_pb2.AnalyzeLearningRequest(agent_id=agent_id, period=f"{days}d", end_time=end)
    return server.atlas.AnalyzeLearning(request, timeout=CALL_SECONDS).verdict
