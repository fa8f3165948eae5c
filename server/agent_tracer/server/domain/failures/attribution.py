"""Which agent, at which step, made a failed run fail."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agent_tracer.server.domain.failures.features import FEATURES, observations
from agent_tracer.server.domain.failures.ranking import Ranking, chances, fitted
from agent_tracer.server.domain.failures.run import Run
from agent_tracer.server.domain.failures.steps import Step

CANDIDATES_MAX: Final = 5
"""The culprit is among the first five in most runs; a list of all steps would be the trace again."""

REASONS_MAX: Final = 5


@dataclass(frozen=True, slots=True)
class Candidate:
    """A step that may have made the run fail; `confidence` 0 to 1, `reasons` as sentences, the weightiest first."""

    agent_id: str
    span_id: str
    step: int
    confidence: float
    reasons: Sequence[str]


@dataclass(frozen=True, slots=True)
class Attribution:
    """`culprit` is the first of the candidates, None where the run has no step that decided or did anything."""

    culprit: Candidate | None
    candidates: Sequence[Candidate]


def attribute_failure(steps: Sequence[Step], ranking: Ranking | None = None) -> Attribution:
    """The likeliest steps of a failed run to have made it fail, the likeliest first. Order of `steps` does not matter.

    Whether the run failed at all is not asked: of a run that went well, the answer says nothing.
    """
    model = ranking or fitted()
    run = Run.of(steps)
    contributions = [model.contributions(run, at) for at in run.candidates]
    found = chances([sum(parts.values()) for parts in contributions])
    ranked = sorted(range(len(found)), key=lambda rank: (-found[rank], rank))[:CANDIDATES_MAX]
    means = _means(contributions)
    candidates = [
        Candidate(
            step.agent_id or step.name,
            step.span_id,
            step.index,
            model.confidence(found[rank]),
            _reasons(run, run.candidates[rank], contributions[rank], means),
        )
        for rank in ranked
        for step in [run.steps[run.candidates[rank]]]
    ]
    return Attribution(candidates[0] if candidates else None, candidates)


def _means(contributions: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """What is usual in the run; where nobody else decided anything, nothing is."""
    names = contributions[0] if contributions else ()
    if len(contributions) == 1:
        return dict.fromkeys(names, 0.0)
    return {name: sum(parts[name] for parts in contributions) / len(contributions) for name in names}


def _reasons(run: Run, at: int, parts: Mapping[str, float], means: Mapping[str, float]) -> list[str]:
    """What sets the step apart from the run's others, then what else is to be seen at it."""
    apart = (name for name in parts if parts[name] > (means[name] if FEATURES[name].falling else max(0, means[name])))
    telling = sorted(apart, key=lambda name: means[name] - parts[name])
    sentences = [FEATURES[name].reason(run, at) for name in telling]
    found = [sentence for sentence in dict.fromkeys([*sentences, *observations(run, at)]) if sentence][:REASONS_MAX]
    if len(run.candidates) == 1:
        found = ["Nobody else decided anything.", *found][:REASONS_MAX]
    return found or [f"Only its place speaks for it: decision {run.rank[at] + 1} of {len(run.candidates)}."]
