"""Workflow optimisation: from recorded traces of one workflow to what would make it faster, and by how much."""

from collections.abc import Sequence
from typing import Final

from agent_tracer.server.domain.atlas.bottlenecks import bottlenecks
from agent_tracer.server.domain.atlas.calls import smaller_models, trimmed_contexts
from agent_tracer.server.domain.atlas.gains import (
    IMPROVEMENT_MIN,
    Gain,
    Proposal,
    gain_of,
    suggestion,
    together,
    widened,
)
from agent_tracer.server.domain.atlas.queueing import Queue, more_workers, queues
from agent_tracer.server.domain.atlas.reordering import reorderings
from agent_tracer.server.domain.atlas.repetition import CALL_KINDS, repeated_calls, retries
from agent_tracer.server.domain.atlas.replay import RecordedTrace, recorded
from agent_tracer.server.domain.atlas.workflow import NS_PER_MS, Change, Suggestion, WorkflowAnalysis, WorkSpan

TRACES_SURE: Final = 10
"""Fewer traces than this are told as a caveat: an interval from so few is itself uncertain."""

SEED: Final = 20_220_711
"""Of the bootstrap: any number, always the same, so that the same traces give the same answer."""


def optimize(traces: Sequence[Sequence[WorkSpan]], seed: int = SEED) -> WorkflowAnalysis:
    """What would make the workflow that the traces are runs of faster; see the modules of each change for its rule.

    Traces without spans are left out. Each gain is the share of the mean duration that replaying all traces with the
    change saves, with a bootstrap interval over traces; changes that save less than IMPROVEMENT_MIN are not suggested.
    `estimated_improvement` replays all suggested changes at once, which is not their sum.
    """
    runs = [recorded(spans) for spans in traces if spans]
    if not runs:
        return WorkflowAnalysis((), 0.0, (), (), 0, 0.0, ("There are no traces to learn from.",))
    waiting = queues(runs)
    made = _worthwhile(runs, _proposals(runs, waiting), seed)
    suggestions = [suggestion(proposal, gain) for proposal, gain in made]
    combined = gain_of(runs, together([proposal for proposal, _ in made], len(runs)), seed)
    return WorkflowAnalysis(
        bottlenecks=bottlenecks(runs, waiting, suggestions, seed),
        estimated_improvement=combined.share,
        suggested_changes=[made_one.text for made_one in suggestions],
        suggestions=suggestions,
        trace_count=len(runs),
        avg_duration=sum(run.duration_ns for run in runs) / len(runs) / NS_PER_MS,
        caveats=_caveats(runs, suggestions),
    )


def _proposals(runs: Sequence[RecordedTrace], waiting: dict[str, Queue]) -> list[Proposal]:
    return [
        *reorderings(runs),
        *repeated_calls(runs),
        *retries(runs),
        *more_workers(runs, waiting),
        *smaller_models(runs),
        *trimmed_contexts(runs),
    ]


def _worthwhile(runs: Sequence[RecordedTrace], proposals: Sequence[Proposal], seed: int) -> list[tuple[Proposal, Gain]]:
    gains = [(one, widened(gain_of(runs, one.plans, seed), one.relative_error)) for one in proposals]
    worthwhile = [(proposal, gain) for proposal, gain in gains if gain.share >= IMPROVEMENT_MIN]
    return sorted(worthwhile, key=lambda made: (-made[1].share, made[0].change, made[0].stage))


def _caveats(runs: Sequence[RecordedTrace], suggestions: Sequence[Suggestion]) -> list[str]:
    caveats = []
    if len(runs) < TRACES_SURE:
        caveats.append(f"Only {len(runs)} traces: the intervals are rough, and rare cases are missing.")
    calls = [span for run in runs for span in run.tree.spans if span is not None and span.kind in CALL_KINDS]
    silent = sum(not (span.input and span.output) for span in calls)
    if silent:
        caveats.append(
            f"{silent} of {len(calls)} model and tool calls came without their input or output: whether they could "
            "run at the same time as others is not known."
        )
    made = {one.change for one in suggestions}
    if made & {Change.PARALLELIZE, Change.EARLIER_START}:
        caveats.append(
            "That calls do not need each other is read from the recorded texts: a value that was changed on its way, "
            "or an effect outside of them, does not show."
        )
    if Change.SCALE_OUT in made:
        caveats.append("Waiting is seen only as far as the traces hold all of a stage's calls; sampled ones hide it.")
    return caveats
