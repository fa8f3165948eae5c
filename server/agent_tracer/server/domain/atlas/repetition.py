"""Changes that leave calls out: answers that are known already (`cache`), attempts that fail (`fewer_retries`)."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from agent_tracer.server.domain.atlas.content import writes
from agent_tracer.server.domain.atlas.gains import Proposal
from agent_tracer.server.domain.atlas.replay import Plan, RecordedTrace
from agent_tracer.server.domain.atlas.workflow import Change, WorkSpan

CALL_KINDS: Final = frozenset({"llm", "tool", "retriever", "embedding", "reranker"})
"""Kinds of spans whose answer follows from their input, if from anything."""


@dataclass(frozen=True, slots=True)
class _Key:
    stage: str
    model: str
    input: str


@dataclass(frozen=True, slots=True)
class _Call:
    trace: int
    index: int
    span: WorkSpan


@dataclass(slots=True)
class _Left:
    """Calls left out of each trace, gaps that go with them, and what they cost."""

    scales: dict[int, dict[int, float]] = field(default_factory=lambda: defaultdict(dict))
    gaps: dict[int, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    cost: float | None = None

    def leave_out(self, trace: int, index: int, cost: float | None) -> None:
        self.scales[trace][index] = 0.0
        if cost is not None:
            self.cost = (self.cost or 0.0) + cost

    def proposal(self, change: Change, stage: str, text: str, count: int) -> Proposal:
        plans = [Plan(self.scales.get(n, {}), self.gaps.get(n, {})) for n in range(count)]
        return Proposal(change, stage, text, plans, None if self.cost is None else -self.cost / count)

    @property
    def calls(self) -> int:
        return sum(map(len, self.scales.values()))


def repeated_calls(traces: Sequence[RecordedTrace]) -> list[Proposal]:
    """Proposals to keep answers: calls with the input of an earlier one that had succeeded.

    Not for a stage whose equal inputs once had different outputs, or whose name says that it changes something. Where
    outputs were not recorded, only repetitions within one trace count: between runs the answer may have changed.
    """
    calls = _by_input(traces)
    varying = {key.stage for key, found in calls.items() if len({c.span.output for c in found if c.span.output}) > 1}
    left: dict[str, _Left] = defaultdict(_Left)
    for key, found in calls.items():
        if key.stage not in varying and not writes(key.stage):
            for call in _repetitions(found):
                left[key.stage].leave_out(call.trace, call.index, _cost_below(traces[call.trace], call.index))
    totals = _calls_of_stages(calls)
    return [
        found.proposal(
            Change.CACHE,
            stage,
            f"Keep the answers of {stage}: {found.calls} of its {totals[stage]} calls had the input of an earlier one "
            "and could have had its answer.",
            len(traces),
        )
        for stage, found in left.items()
    ]


def _by_input(traces: Sequence[RecordedTrace]) -> dict[_Key, list[_Call]]:
    calls: dict[_Key, list[_Call]] = defaultdict(list)
    for number, trace in enumerate(traces):
        for index, span in enumerate(trace.tree.spans):
            if span is not None and span.kind in CALL_KINDS and span.same_input:
                calls[_Key(trace.stages[index], span.model, span.same_input)].append(_Call(number, index, span))
    for found in calls.values():
        found.sort(key=lambda call: (call.span.start_ns, call.trace, call.index))
    return calls


def _calls_of_stages(calls: Mapping[_Key, Sequence[_Call]]) -> dict[str, int]:
    totals: dict[str, int] = defaultdict(int)
    for key, found in calls.items():
        totals[key.stage] += len(found)
    return totals


def _repetitions(calls: Sequence[_Call]) -> Iterator[_Call]:
    """Those of the calls with one input, by start, that began after one had succeeded whose answer they may share."""
    answered: dict[int, int] = {}  # by trace, -1 for answers that any trace may share: when the first one was there
    for call in calls:
        span = call.span
        if any(answered.get(whose, span.start_ns + 1) <= span.start_ns for whose in (call.trace, -1)):
            yield call
        elif not span.failed:
            for whose in (call.trace, -1) if span.output else (call.trace,):
                answered[whose] = min(answered.get(whose, span.end_ns), span.end_ns)


def retries(traces: Sequence[RecordedTrace]) -> list[Proposal]:
    """Proposals to make calls succeed at once: failed attempts that were followed by another, and the pauses between.

    The next attempt is the next sibling of the same stage, after the failed one's end, with the same input where both
    inputs are known. That no attempt fails is the most that can be gained; the text gives the rate that it is now.
    """
    left: dict[str, _Left] = defaultdict(_Left)
    totals: dict[str, int] = defaultdict(int)
    for number, trace in enumerate(traces):
        for parent in trace.orders:
            for stage, siblings in _siblings_of_stages(trace, parent).items():
                totals[stage] += len(siblings)
                for failed, following in _failed_attempts(trace, siblings):
                    found = left[stage]
                    found.leave_out(number, failed, _cost_below(trace, failed))
                    if trace.tree.starts[following] - trace.tree.ends[failed] == trace.gaps[following]:
                        found.gaps[number][following] = 0
    return [
        found.proposal(
            Change.FEWER_RETRIES,
            stage,
            f"Make {stage} succeed at once: {found.calls} of its {totals[stage]} calls "
            f"({100 * found.calls / totals[stage]:.0f} %) failed and were tried again.",
            len(traces),
        )
        for stage, found in left.items()
    ]


def _siblings_of_stages(trace: RecordedTrace, parent: int) -> dict[str, list[int]]:
    of_stage: dict[str, list[int]] = defaultdict(list)
    for child in trace.orders[parent].children:
        of_stage[trace.stages[child]].append(child)
    return of_stage


def _failed_attempts(trace: RecordedTrace, siblings: Sequence[int]) -> Iterator[tuple[int, int]]:
    for failed, following in pairwise(siblings):
        one, another = trace.tree.spans[failed], trace.tree.spans[following]
        if one is None or another is None or not one.failed:
            continue
        same = one.same_input == another.same_input or not (one.same_input and another.same_input)
        if same and trace.tree.starts[following] >= trace.tree.ends[failed]:
            yield failed, following


def _cost_below(trace: RecordedTrace, index: int) -> float | None:
    """What the span and all below it cost; None where nothing of it has a price."""
    total, waiting = None, [index]
    while waiting:
        at = waiting.pop()
        span = trace.tree.spans[at]
        if span is not None and span.cost is not None:
            total = (total or 0.0) + span.cost
        waiting.extend(trace.tree.children[at])
    return total
