"""How often the right agent and the right step are named, cross-validated by task and from one set to the other.

`python -m tests.evaluation.failures_attribution` prints the figures with their bootstrap spread.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from agent_tracer.server.domain.failures.attribution import attribute_failure
from agent_tracer.server.domain.failures.ranking import Ranking
from scripts.train_failures import examples, fit, fit_examples
from tests.evaluation.failures_runs import LabelledRun, all_runs

NEAR_STEPS = 3
_RESAMPLES = 2_000


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered for one run, and whether it was right; `near` is within three steps."""

    kind: str
    agent: bool
    step: bool
    near: bool
    confidence: float


def answer(run: LabelledRun, ranking: Ranking) -> Answer:
    """Abstaining is wrong."""
    culprit = attribute_failure(run.steps, ranking).culprit
    if culprit is None:
        return Answer(run.kind, agent=False, step=False, near=False, confidence=0.0)
    return Answer(
        run.kind,
        culprit.agent_id.lower() == run.agent.lower(),
        culprit.step == run.step,
        abs(culprit.step - run.step) <= NEAR_STEPS,
        culprit.confidence,
    )


def cross_validated(runs: Sequence[LabelledRun]) -> Iterator[Answer]:
    """Each run answered by a model that has not seen its task, not in another set either."""
    found = list(examples(runs))
    for group in sorted({run.group for run in runs}):
        ranking = fit_examples([example for example in found if example.group != group])
        yield from (answer(run, ranking) for run in runs if run.group == group)


def transferred(runs: Sequence[LabelledRun], learnt: frozenset[str], asked: frozenset[str]) -> Iterator[Answer]:
    """The runs of the `asked` kinds answered by a model of the `learnt` kinds, without tasks that both have."""
    tasks = {run.group for run in runs if run.kind in asked}
    ranking = fit([run for run in runs if run.kind in learnt and run.group not in tasks])
    return (answer(run, ranking) for run in runs if run.kind in asked)


def calibration_error(answers: Sequence[Answer], bins: int = 5) -> float:
    """Expected calibration error over bins of equal numbers of answers."""
    ordered = sorted(answers, key=lambda found: found.confidence)
    parts = [part for part in np.array_split(np.arange(len(ordered)), bins) if len(part)]
    return sum(
        len(part) / len(ordered) * abs(float(np.mean([ordered[at].confidence - ordered[at].step for at in part])))
        for part in parts
    )


def spread(answers: Sequence[Answer], of: Callable[[Answer], bool]) -> tuple[float, float, float]:
    """Share and its 95 % bootstrap interval, by run."""
    values = np.array([float(of(found)) for found in answers])
    means = np.random.default_rng(0).choice(values, (_RESAMPLES, len(values))).mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(values.mean()), float(low), float(high)


def by_kind(answers: Sequence[Answer]) -> Mapping[str, list[Answer]]:
    """The answers of each set."""
    return {kind: [found for found in answers if found.kind == kind] for kind in sorted({a.kind for a in answers})}


def _report(title: str, answers: Sequence[Answer]) -> None:
    print(f"{title}: calibration error {calibration_error(answers):.3f}")
    for kind, found in by_kind(answers).items():
        shares = [spread(found, of) for of in (lambda a: a.agent, lambda a: a.step, lambda a: a.near)]
        text = "  ".join(
            f"{name} {100 * s[0]:.0f} [{100 * s[1]:.0f}, {100 * s[2]:.0f}]"
            for name, s in zip(("agent", "step", "near"), shares, strict=True)
        )
        print(f"  {kind:10} n={len(found):3}  {text}")


def main() -> None:
    """Print the figures."""
    runs = all_runs()
    who, rx = frozenset({"generated", "hand-made"}), frozenset({"magentic", "tau"})
    _report("cross-validated by task", list(cross_validated(runs)))
    _report("learnt on AgentRx, asked Who&When", list(transferred(runs, rx, who)))
    _report("learnt on Who&When, asked AgentRx", list(transferred(runs, who, rx)))
    _report(
        "learnt on generated, asked hand-made",
        list(transferred(runs, frozenset({"generated"}), frozenset({"hand-made"}))),
    )


if __name__ == "__main__":
    main()
