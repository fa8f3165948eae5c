"""Changes of the calls themselves: another model (`smaller_model`), shorter prompts (`trim_context`)."""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agent_tracer.server.domain.atlas.gains import Proposal
from agent_tracer.server.domain.atlas.replay import Plan, RecordedTrace
from agent_tracer.server.domain.atlas.workflow import NS_PER_MS, Change, WorkSpan
from agent_tracer.server.domain.statistics.intervals import normal_quantile, wilson
from agent_tracer.server.domain.task_sums import DURATION_MS_MIN, Moments

CALLS_MIN: Final = 20
"""Calls of a stage on one model below which two models are not compared, and no slope is fitted."""

SUCCESS_MARGIN: Final = 0.1
"""A model counts as no less successful where it is not in the data, and 95 % sure not to be by more than this."""

SLOPE_CALLS_MAX: Final = 300
"""Calls that a slope is fitted to, evenly chosen: Theil and Sen's estimate looks at each pair of them."""


@dataclass(frozen=True, slots=True)
class _Call:
    trace: int
    index: int
    span: WorkSpan
    succeeded: bool

    @property
    def duration_ms(self) -> float:
        return self.span.duration_ns / NS_PER_MS


def _stages(traces: Sequence[RecordedTrace]) -> dict[str, list[_Call]]:
    """Model calls by stage, outermost ones only: a library's span within another one's is the same call."""
    stages: dict[str, list[_Call]] = defaultdict(list)
    for number, trace in enumerate(traces):
        for index in _outermost(trace):
            span = trace.tree.spans[index]
            if span is not None:
                stages[trace.stages[index]].append(_Call(number, index, span, not span.failed))
    return stages


def _outermost(trace: RecordedTrace) -> Iterator[int]:
    within = [False] * len(trace.tree.spans)
    for index, span in enumerate(trace.tree.spans):  # parents come first
        parent = trace.tree.parents[index]
        above = parent >= 0 and within[parent]
        is_call = span is not None and span.kind == "llm"
        within[index] = above or is_call
        if is_call and not above:
            yield index


def smaller_models(traces: Sequence[RecordedTrace]) -> list[Proposal]:
    """Proposals to run a stage on a model that already ran it, faster (95 %) and no less successfully.

    Success is that of the call. Calls on the other models are scaled by the ratio of the mean durations, whose error
    (delta method) is the gain's too.
    """
    proposals = []
    for stage, calls in _stages(traces).items():
        models: dict[str, list[_Call]] = defaultdict(list)
        for call in calls:
            models[call.span.model].append(call)
        held = {model: found for model, found in models.items() if model and len(found) >= CALLS_MIN}
        usual = max(held, key=lambda model: len(held[model]), default="")
        better = [model for model in held if model != usual and _is_better(held[model], held[usual])]
        if better:
            best = min(better, key=lambda model: _mean_ms(held[model]))
            proposals.append(_on_model(stage, best, held[usual], held[best], len(traces)))
    return proposals


def _is_better(candidate: Sequence[_Call], usual: Sequence[_Call]) -> bool:
    return _faster(candidate, usual) and _no_less_successful(candidate, usual)


def _faster(candidate: Sequence[_Call], usual: Sequence[_Call]) -> bool:
    one, other = (
        Moments.of(math.log(max(c.duration_ms, DURATION_MS_MIN)) for c in calls) for calls in (candidate, usual)
    )
    error = math.sqrt(one.variance / one.count + other.variance / other.count)
    return one.mean + normal_quantile() * error < other.mean and _mean_ms(candidate) < _mean_ms(usual)


def _no_less_successful(candidate: Sequence[_Call], usual: Sequence[_Call]) -> bool:
    """By Newcombe's interval of the difference (Newcombe 1998, method 10)."""
    good = [sum(call.succeeded for call in calls) for calls in (candidate, usual)]
    one, other = good[0] / len(candidate), good[1] / len(usual)
    lower = one - wilson(good[0], len(candidate)).lower
    upper = wilson(good[1], len(usual)).upper - other
    return one >= other and one - other - math.hypot(lower, upper) >= -SUCCESS_MARGIN


def _on_model(stage: str, model: str, usual: Sequence[_Call], better: Sequence[_Call], count: int) -> Proposal:
    ratio = _mean_ms(better) / _mean_ms(usual)
    scales: dict[int, dict[int, float]] = defaultdict(dict)
    for call in usual:
        scales[call.trace][call.index] = ratio
    costs = [_mean_cost(calls) for calls in (usual, better)]
    change = None if costs[0] is None or costs[1] is None else (costs[1] - costs[0]) * len(usual) / count
    text = (
        f"Run {stage} on {model} in place of {usual[0].span.model}: its {len(better)} calls took "
        f"{_mean_ms(better):.0f} ms, those {len(usual)} took {_mean_ms(usual):.0f} ms, and "
        f"{_success(better)} against {_success(usual)} succeeded."
    )
    error = ratio * math.hypot(_relative_error(usual), _relative_error(better)) / (1 - ratio)
    return Proposal(Change.SMALLER_MODEL, stage, text, _plans(scales, count), change, error)


def _relative_error(calls: Sequence[_Call]) -> float:
    """Of the mean duration: its standard error, as a share of it."""
    of = Moments.of(call.duration_ms for call in calls)
    return math.sqrt(of.variance / of.count) / of.mean


def trimmed_contexts(traces: Sequence[RecordedTrace]) -> list[Proposal]:
    """Proposals to keep a stage's prompts to their median length, where longer ones take longer.

    The slope of duration over input tokens is Theil and Sen's (Sen 1968), after the same over output tokens, which take
    time too, was taken out; made only where its 95 % interval lies above 0.
    """
    proposals = []
    for stage, calls in _stages(traces).items():
        told = [call for call in calls if call.span.input_tokens > 0 and call.succeeded]
        slope = _slope(told)
        if slope > 0:
            proposals.append(_trimmed(stage, told, slope, len(traces)))
    return proposals


def _slope(calls: Sequence[_Call]) -> float:
    """Milliseconds a token; 0 where it is not surely positive."""
    if len({call.span.input_tokens for call in calls}) < CALLS_MIN:
        return 0.0
    from scipy.stats import theilslopes  # noqa: PLC0415 - half a second of start-up

    chosen = calls[:: math.ceil(len(calls) / SLOPE_CALLS_MAX)]
    durations = [call.duration_ms for call in chosen]
    written = [call.span.output_tokens for call in chosen]
    if len(set(written)) > 1:
        a_token = float(theilslopes(durations, written).slope)
        durations = [took - a_token * tokens for took, tokens in zip(durations, written, strict=True)]
    fitted = theilslopes(durations, [call.span.input_tokens for call in chosen])
    return float(fitted.slope) if fitted.low_slope > 0 else 0.0


def _trimmed(stage: str, calls: Sequence[_Call], slope: float, count: int) -> Proposal:
    kept = statistics.median(call.span.input_tokens for call in calls)
    scales: dict[int, dict[int, float]] = defaultdict(dict)
    for call in calls:
        saved = slope * (call.span.input_tokens - kept)
        if saved > 0 and call.duration_ms > 0:
            scales[call.trace][call.index] = max(0.0, 1 - saved / call.duration_ms)
    text = (
        f"Keep the prompts of {stage} to {kept:.0f} tokens, their median: each 1,000 tokens more take "
        f"{1000 * slope:.0f} ms, and the longest has {max(call.span.input_tokens for call in calls)}."
    )
    return Proposal(Change.TRIM_CONTEXT, stage, text, _plans(scales, count))


def _plans(scales: Mapping[int, Mapping[int, float]], count: int) -> list[Plan]:
    return [Plan(scales.get(number, {})) for number in range(count)]


def _mean_ms(calls: Sequence[_Call]) -> float:
    return statistics.fmean(call.duration_ms for call in calls)


def _mean_cost(calls: Sequence[_Call]) -> float | None:
    priced = [call.span.cost for call in calls if call.span.cost is not None]
    return statistics.fmean(priced) if len(priced) == len(calls) else None


def _success(calls: Sequence[_Call]) -> str:
    return f"{100 * sum(call.succeeded for call in calls) / len(calls):.0f} %"
