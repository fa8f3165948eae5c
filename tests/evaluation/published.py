"""Published benchmark results as tasks, one by one, and the order that they were published in."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from agent_tracer.server.domain.ids import AgentId
from agent_tracer.server.domain.task_sums import TaskSums
from tests.evaluation.tasks import BASE_NS, DAY_NS, MINUTE_NS, Task
from tests.fixtures.recorded import recorded

TAU2_TRIALS: Final = {"airline": 50 * 4, "retail": 114 * 4, "telecom": 114 * 4, "banking_knowledge": 97 * 4}
"""Tasks of each domain, each tried four times."""

TAU_DOMAINS: Final = ("airline", "retail")
REFLEXION: Final = {"alfworld": "alfworld_runs/**", "webshop": "webshop_runs/**"}
"""Where the logs of each of Reflexion's experiments are."""

Histories = dict[AgentId, list[TaskSums]]


def _folder(name: str) -> Path:
    return recorded(name) / "dev"


def histories(tasks: Iterable[Task]) -> Histories:
    """The tasks of each agent as buckets, for methods that are looked at without the product."""
    found: Histories = defaultdict(list)
    for task in tasks:
        found[AgentId(task.agent_id)].append(task.as_sums())
    return dict(found)


def rootcausebench_trials() -> list[Task]:
    """Every trial of every model; its type is the incident."""
    lines = (_folder("rootcausebench-trials") / "trials.jsonl").read_text().splitlines()
    return [trial_of(json.loads(line)) for line in lines]


def trial_of(trial: dict[str, Any]) -> Task:
    """One line of the recorded trials."""
    return Task(
        agent_id=trial["ModelDisplay"],
        task_type=trial["TaskName"],
        start_ns=round(datetime.fromisoformat(trial["StartedAt"]).timestamp() * 1e6) * 1_000,
        is_success=trial["Passed"],
        duration_ms=trial["DurationSec"] * 1e3,
        cost=trial["CostUSD"],
        model=trial["ModelName"],
        input_tokens=trial["InputTokens"],
        output_tokens=trial["OutputTokens"],
    )


def pass_rates(tasks: Iterable[Task]) -> dict[AgentId, float]:
    """The share of each agent's tasks that passed."""
    passed: dict[AgentId, list[bool]] = defaultdict(list)
    for task in tasks:
        passed[AgentId(task.agent_id)].append(task.is_success)
    return {agent: sum(each) / len(each) for agent, each in passed.items()}


def rootcausebench(task_type: str = "") -> tuple[Histories, dict[AgentId, float]]:
    """Every trial of every model as a bucket, by incident (or all as one type), and the pass rates of all trials."""
    trials = rootcausebench_trials()
    return histories(replace(trial, task_type=task_type or trial.task_type) for trial in trials), pass_rates(trials)


def tau2_published() -> dict[AgentId, dict[str, float]]:
    """Every submission's pass^1 by domain, 0 to 1."""
    submissions = json.loads((_folder("tau2-leaderboard") / "submissions.json").read_text())
    return {
        AgentId(item["_path"]): {
            domain: result["pass_1"] / 100
            for domain, result in item["results"].items()
            if result and result.get("pass_1")
        }
        for item in submissions
    }


def tau2_trials() -> list[Task]:
    """As many successes, out of TAU2_TRIALS, as a submission's pass^1 says; a minute apart, successes first."""
    return [
        Task(agent, domain, BASE_NS + number * MINUTE_NS, number < round(rate * TAU2_TRIALS[domain]))
        for agent, rates in tau2_published().items()
        for domain, rate in rates.items()
        for number in range(TAU2_TRIALS[domain])
    ]


def tau2() -> tuple[Histories, dict[AgentId, dict[str, float]]]:
    """Every submission's successes by domain, out of TAU2_TRIALS, and its published pass^1 by domain, 0 to 1."""
    published = tau2_published()
    sums = {
        agent: [TaskSums(kind, 0, TAU2_TRIALS[kind], round(rate * TAU2_TRIALS[kind])) for kind, rate in rates.items()]
        for agent, rates in published.items()
    }
    return sums, published


def tau_bench_trials(domain: str) -> list[Task]:
    """Every try of every task by gpt-4o with tool calls; empty where the domain was not recorded."""
    path = _folder("tau-bench") / f"gpt-4o-{domain}.json"
    trials = json.loads(path.read_text()) if path.exists() else []
    return [
        Task("gpt-4o", domain, BASE_NS + at * MINUTE_NS, trial["reward"] == 1.0, task_id=str(trial["task_id"]))
        for at, trial in enumerate(trials)
    ]


def tau_airline() -> list[tuple[int, int]]:
    """(tries, successes) of each task of tau-bench airline by gpt-4o with tool calls."""
    counts: dict[str, list[bool]] = defaultdict(list)
    for trial in tau_bench_trials("airline"):
        counts[trial.task_id].append(trial.is_success)
    return [(len(tries), sum(tries)) for tries in counts.values()]


def reflexion_trials(experiment: str) -> list[list[bool]]:
    """Whether each environment was solved, trial by trial; empty where the experiment was not recorded."""
    paths = sorted(_folder("reflexion-learning").glob(f"{REFLEXION[experiment]}/env_results_trial_*.json"))
    return [[env["is_success"] for env in json.loads(path.read_text())] for path in paths]


def reflexion_tasks(experiment: str, trials: Sequence[Sequence[bool]]) -> list[Task]:
    """Each environment of each trial as a task, in the order of the log. A trial is a day; the logs tell no times."""
    return [
        Task(
            f"reflexion-{experiment}", experiment, BASE_NS + day * DAY_NS + at * MINUTE_NS, solved, task_id=f"env_{at}"
        )
        for day, trial in enumerate(trials)
        for at, solved in enumerate(trial)
    ]
