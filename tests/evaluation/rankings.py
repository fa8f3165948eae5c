"""Published results sent in trial by trial: are models ranked, priced and repeated as published?"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import scipy.stats

from agent_tracer.server.domain.ids import AgentId
from agent_tracer.v1 import ace_pb2
from tests.evaluation import published
from tests.evaluation.options import Options
from tests.evaluation.product import CALL_SECONDS, Product, product, timestamp
from tests.evaluation.rows import Row, at_least, equal
from tests.evaluation.tasks import Task, spans_of, task_and_call

TAU_LEAST: Final = 0.95
DOMAINS: Final = ("airline", "retail", "telecom")
"""Of the tau2 leaderboard; those of its submissions count that have all of them."""

PUBLISHED_PASS_K: Final = {"airline": "0.420 0.273 0.220 0.200", "retail": "0.604 0.491 0.430 0.383"}
"""pass^1 to pass^4 of gpt-4o with tool calls, as the leaderboard of tau-bench tells them."""


def rootcausebench(options: Options) -> Iterator[Row]:
    """All trials, with what they took and cost."""
    trials = published.rootcausebench_trials()
    with product(options.folder) as server:
        server.send(span for trial in trials for span in task_and_call(trial))
        found = ranked(server, trials, [])
    yield _order("rootcausebench: Kendall tau to the pass rates", found, published.pass_rates(trials), len(trials))
    costs: dict[str, list[float]] = defaultdict(list)
    for trial in trials:
        costs[trial.agent_id].append(trial.cost or 0.0)
    right = sum(
        math.isclose(agent.cost_per_task, math.fsum(costs[agent.agent_id]) / len(costs[agent.agent_id]), rel_tol=1e-9)
        for agent in found.agents
    )
    told = f"{len(costs)} of {len(costs)}"
    yield equal("rootcausebench: cost a task is the mean of the trials", f"{right} of {len(costs)}", told, len(costs))


def tau2(options: Options) -> Iterator[Row]:
    """Single trials that make up each submission's published rates."""
    published_rates = published.tau2_published()
    complete = {agent: rates for agent, rates in published_rates.items() if set(DOMAINS) <= rates.keys()}
    trials = [trial for trial in published.tau2_trials() if trial.agent_id in complete and trial.task_type in DOMAINS]
    with product(options.folder) as server:
        server.send(spans_of(trials))
        found = ranked(server, trials, DOMAINS)
    means = {agent: sum(rates[domain] for domain in DOMAINS) / len(DOMAINS) for agent, rates in complete.items()}
    yield _order("tau2: Kendall tau to the published order", found, means, len(complete))


def tau_bench(options: Options) -> Iterator[Row]:
    """Four tries of each task."""
    with product(options.folder) as server:
        for domain in published.TAU_DOMAINS:
            trials = published.tau_bench_trials(domain)
            if trials:
                server.send(spans_of(trials))
                found = ranked(server, trials, [domain]).scores[domain]
                told = " ".join(f"{chance:.3f}" for chance in found.pass_k)
                yield equal(f"tau-bench {domain}: pass^1 to pass^4", told, PUBLISHED_PASS_K[domain], len(trials))


def ranked(server: Product, tasks: Sequence[Task], task_types: Sequence[str]) -> ace_pb2.Benchmark:
    """A benchmark of all agents of the tasks, over a period that holds them."""
    agents = sorted({task.agent_id for task in tasks})
    request = ace_pb2.CreateBenchmarkRequest(
        agent_id=agents[0],
        compare_against=agents[1:],
        tasks=[ace_pb2.BenchmarkTask(type=name) for name in task_types],
        period="90d",
        end_time=timestamp(max(task.start_ns for task in tasks) + 1),
    )
    return server.ace.CreateBenchmark(request, timeout=CALL_SECONDS)


def _order(name: str, found: ace_pb2.Benchmark, truth: Mapping[AgentId, float], n: int) -> Row:
    expected = [truth[AgentId(agent.agent_id)] for agent in found.agents]
    scores = [-agent.overall_rank for agent in found.agents]
    assert len(expected) == len(truth)
    return at_least(name, float(scipy.stats.kendalltau(scores, expected).statistic), TAU_LEAST, n)
