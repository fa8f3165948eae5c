"""Changes of order: what need not wait for what it waited for (`parallelize`, `earlier_start`).

Siblings that ran one after the other need that order where the later one used what the earlier one put out, and where
nothing tells that it did not. Two stages are taken apart only if all of this holds in every trace that has them:
content was recorded and shows no use (content.may_use); the earlier call succeeded; neither writes; and the later
stage always follows the earlier one, so that running it was not decided by the earlier one's answer.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from agent_tracer.server.domain.atlas.content import constant_words, may_use, writes
from agent_tracer.server.domain.atlas.gains import Proposal
from agent_tracer.server.domain.atlas.replay import Plan, RecordedTrace, siblings_over
from agent_tracer.server.domain.atlas.workflow import Change, WorkSpan

SIBLINGS_MAX: Final = 64
"""Children of one span up to which each is compared with each; more are a loop's turns, of one stage mostly."""

PAIR_RUNS_MIN: Final = 3
"""So often two stages must have been seen without data between them; once may be chance."""


class Pair(NamedTuple):
    """Two stages of one parent stage, in the order in which they ran."""

    parent: str
    earlier: str
    later: str


@dataclass(slots=True)
class _Seen:
    apart: int = 0
    used: bool = False


@dataclass(slots=True)
class _Freed:
    plans: dict[int, dict[int, Sequence[int]]] = field(default_factory=lambda: defaultdict(dict))
    stages: dict[str, None] = field(default_factory=dict)
    beside: dict[str, None] = field(default_factory=dict)


def reorderings(traces: Sequence[RecordedTrace]) -> list[Proposal]:
    """Proposals to run calls side by side or earlier, one for each parent stage, or stage started earlier."""
    independent = _independent(traces)
    freed: dict[tuple[Change, str], _Freed] = defaultdict(_Freed)
    for number, trace in enumerate(traces):
        for parent in _parents(trace):
            _free(trace, number, parent, independent, freed)
    return [_proposal(change, stage, found, len(traces)) for (change, stage), found in freed.items()]


def _parents(trace: RecordedTrace) -> Iterator[int]:
    for index, order in trace.orders.items():
        if trace.tree.spans[index] is not None and 1 < len(order.children) <= SIBLINGS_MAX:
            yield index


def _independent(traces: Sequence[RecordedTrace]) -> set[Pair]:
    constants = _Constants(traces)
    seen: dict[Pair, _Seen] = defaultdict(_Seen)
    for trace in traces:
        for parent in _parents(trace):
            _compare(trace, parent, constants, seen)
    for trace in traces:
        for parent in _parents(trace):
            _mark_decided(trace, parent, seen)
    return {pair for pair, found in seen.items() if not found.used and found.apart >= PAIR_RUNS_MIN}


class _Constants(dict[str, frozenset[str]]):
    """The words of the form of each stage's input, looked for when they are first asked for."""

    def __init__(self, traces: Sequence[RecordedTrace]) -> None:
        super().__init__()
        self._runs: dict[str, list[WorkSpan]] = defaultdict(list)
        for trace in traces:
            for span, stage in zip(trace.tree.spans, trace.stages, strict=True):
                if span is not None:
                    self._runs[stage].append(span)

    def __missing__(self, stage: str) -> frozenset[str]:
        self[stage] = found = constant_words(self._runs[stage])
        return found


def _compare(trace: RecordedTrace, parent: int, constants: _Constants, seen: dict[Pair, _Seen]) -> None:
    stages = trace.stages
    children = trace.orders[parent].children
    for at, later in enumerate(children):
        for earlier in siblings_over(trace, parent, at):
            found = seen[Pair(stages[parent], stages[earlier], stages[later])]
            spans = trace.tree.spans[later], trace.tree.spans[earlier]
            if found.used or spans[0] is None or spans[1] is None:
                continue
            found.used = (
                writes(stages[earlier])
                or writes(stages[later])
                or may_use(spans[0], spans[1], constants[stages[later]], constants[stages[earlier]])
            )
            found.apart += not found.used


def _mark_decided(trace: RecordedTrace, parent: int, seen: dict[Pair, _Seen]) -> None:
    """A stage that is missing here, though another one ran that it elsewhere follows, may hang on its answer."""
    here = {trace.stages[child] for child in trace.orders[parent].children}
    for pair, found in seen.items():
        if pair.parent == trace.stages[parent] and pair.earlier in here and pair.later not in here:
            found.used = True


def _free(
    trace: RecordedTrace,
    number: int,
    parent: int,
    independent: set[Pair],
    freed: dict[tuple[Change, str], _Freed],
) -> None:
    stages = trace.stages
    all_needs: dict[int, set[int]] = {}  # with what these need in turn
    for at, child in enumerate(trace.orders[parent].children):
        over = siblings_over(trace, parent, at)
        needs = [one for one in over if Pair(stages[parent], stages[one], stages[child]) not in independent]
        all_needs[child] = set(needs).union(*(all_needs[one] for one in needs))
        if len(all_needs[child]) == len(over):
            continue
        beside = over[-1]
        # The same needs as the call just before it: the two fan out. Other needs: it could have begun long before.
        fans_out = all_needs[child] == all_needs[beside]
        change, stage = (Change.PARALLELIZE, stages[parent]) if fans_out else (Change.EARLIER_START, stages[child])
        found = freed[change, stage]
        found.plans[number][child] = needs
        found.stages[stages[child]] = None
        found.beside[stages[beside]] = None


def _proposal(change: Change, stage: str, found: _Freed, count: int) -> Proposal:
    plans = [Plan(after=found.plans.get(number, {})) for number in range(count)]
    calls = sum(map(len, found.plans.values()))
    names = ", ".join(dict.fromkeys([*found.beside, *found.stages]))
    if change is Change.PARALLELIZE:
        text = (
            f"Run {names} within {stage} at the same time: in {len(found.plans)} of {count} runs they followed each "
            f"other, and nothing that one put out is in the next one's input ({calls} calls)."
        )
    else:
        text = (
            f"Start {stage} as soon as its own data are there: in {len(found.plans)} of {count} runs it waited for "
            f"{', '.join(found.beside)}, and its input holds nothing of that output."
        )
    return Proposal(change, stage, text, plans, 0.0)
