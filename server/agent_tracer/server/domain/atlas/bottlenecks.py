"""Where a workflow's time goes: stages by their share of the critical path."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agent_tracer.server.domain.atlas.critical_path import path_of
from agent_tracer.server.domain.atlas.gains import gain_of
from agent_tracer.server.domain.atlas.queueing import Queue
from agent_tracer.server.domain.atlas.replay import Plan, RecordedTrace
from agent_tracer.server.domain.atlas.workflow import NS_PER_MS, Bottleneck, Suggestion

BOTTLENECKS_MAX: Final = 10
"""A list that one reads; what is further down has a small share."""

SHARE_MIN: Final = 0.01
"""Stages below this share of the critical path cannot make a run faster by more than it."""

ERROR_RATE_HIGH: Final = 0.05
"""One call in twenty: from there on errors are worth a look before time is."""

QUEUE_SHARE_HIGH: Final = 0.2
"""A fifth of a stage's time spent waiting for a worker."""

SPEED_UP: Final = 0.2
"""The virtual speed-up that a stage's weight is told by: a fifth faster is within reach of most changes."""


@dataclass(slots=True)
class _Stage:
    critical_ns: int = 0
    duration_ns: int = 0
    spans: int = 0
    errors: int = 0
    queue_share: float = 0.0

    @property
    def error_rate(self) -> float:
        return self.errors / self.spans

    @property
    def mean_ms(self) -> float:
        return self.duration_ns / NS_PER_MS / self.spans


def bottlenecks(
    traces: Sequence[RecordedTrace], queues: Mapping[str, Queue], suggestions: Sequence[Suggestion], seed: int
) -> list[Bottleneck]:
    """The stages with the most time on the critical path, most first, each with what to do about it."""
    stages = _measured(traces, queues)
    total = sum(trace.duration_ns for trace in traces)
    ranked = sorted(stages.items(), key=lambda item: (-item[1].critical_ns, item[0]))
    advice = {suggestion.stage: suggestion.text for suggestion in reversed(suggestions)}  # the largest gain wins
    found = []
    for stage, measured in ranked[:BOTTLENECKS_MAX]:
        share = measured.critical_ns / total if total else 0.0
        if share >= SHARE_MIN:
            text = advice.get(stage) or _symptom(measured, share) or _virtual_speed_up(traces, stage, seed)
            found.append(_bottleneck(stage, measured, share, text))
    return found


def _bottleneck(stage: str, measured: _Stage, share: float, recommendation: str) -> Bottleneck:
    return Bottleneck(
        stage=stage,
        avg_duration=measured.mean_ms,
        recommendation=recommendation,
        critical_share=share,
        span_count=measured.spans,
        queue_share=measured.queue_share,
        error_rate=measured.error_rate,
    )


def _measured(traces: Sequence[RecordedTrace], queues: Mapping[str, Queue]) -> dict[str, _Stage]:
    stages: dict[str, _Stage] = defaultdict(_Stage)
    for trace in traces:
        of_span = {}
        for stage, span in zip(trace.stages, trace.tree.spans, strict=True):
            if span is None:
                continue
            found = stages[stage]
            found.spans += 1
            found.errors += span.failed
            found.duration_ns += span.duration_ns
            of_span[span.span_id] = found
        for segment in path_of(trace.tree).segments:
            if segment.span is not None:
                of_span[segment.span.span_id].critical_ns += segment.duration_ns
    for stage, queue in queues.items():
        stages[stage].queue_share = queue.share
    return stages


def _symptom(measured: _Stage, share: float) -> str | None:
    where = f"{100 * share:.0f} % of a run's time is spent here"
    if measured.error_rate >= ERROR_RATE_HIGH:
        failed = 100 * measured.error_rate
        return f"{where}, and {failed:.0f} % of its {measured.spans} calls fail: see to the errors first."
    if measured.queue_share >= QUEUE_SHARE_HIGH:
        return f"{where}, {100 * measured.queue_share:.0f} % of it waiting while as many calls run as ever do."
    return None


def _virtual_speed_up(traces: Sequence[RecordedTrace], stage: str, seed: int) -> str:
    saved = gain_of(traces, [_faster(trace, stage) for trace in traces], seed).share
    return f"Were {stage} {100 * SPEED_UP:.0f} % faster, a run would be {100 * saved:.1f} % faster."


def _faster(trace: RecordedTrace, stage: str) -> Plan:
    """The stage's own time less SPEED_UP: all of its spans without children, and the gaps within the others."""
    scales, gaps = {}, {}
    for index, of_span in enumerate(trace.stages):
        parent = trace.tree.parents[index]
        if of_span == stage and index not in trace.orders:
            scales[index] = 1 - SPEED_UP
        if parent >= 0 and trace.stages[parent] == stage and trace.gaps[index] > 0:
            gaps[index] = round(trace.gaps[index] * (1 - SPEED_UP))
    return Plan(scales, gaps)
