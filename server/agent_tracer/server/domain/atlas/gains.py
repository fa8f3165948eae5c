"""What a change saves over many traces, with its uncertainty."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Final

from agent_tracer.server.domain.atlas.replay import Plan, RecordedTrace, replay
from agent_tracer.server.domain.atlas.workflow import Change, Suggestion
from agent_tracer.server.domain.statistics.intervals import Interval, normal_quantile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

IMPROVEMENT_MIN: Final = 0.02
"""A change that saves less than this share of the mean duration is not worth a suggestion."""

RESAMPLES: Final = 1_000
"""Bootstrap samples: the ends of a 95 % interval then rest on 25 of them each."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change of some stage, as one plan a trace. `text` says what to do and why, in a sentence without the gain.

    `relative_error`: where the plans rest on an estimate, the gain's standard error from that alone, as a share of it.
    """

    change: Change
    stage: str
    text: str
    plans: Sequence[Plan]
    cost_change: float | None = None
    relative_error: float = 0.0


@dataclass(frozen=True, slots=True)
class Gain:
    """Share of the mean duration saved, and its 95 % interval."""

    share: float
    interval: Interval


def gain_of(traces: Sequence[RecordedTrace], plans: Sequence[Plan], seed: int) -> Gain:
    """Replays every trace; the interval is a bootstrap over traces, 0 to 1 where there is one trace only."""
    import numpy as np  # noqa: PLC0415 - start-up time

    before = np.array([trace.duration_ns for trace in traces], dtype=np.float64)
    after = np.array([replay(trace, plan) for trace, plan in zip(traces, plans, strict=True)], dtype=np.float64)
    total = before.sum()
    if total <= 0:
        return Gain(0.0, Interval(0.0, 0.0))
    share = float((total - after.sum()) / total)
    if len(before) == 1:
        return Gain(share, Interval(0.0, 1.0))
    lower, upper = np.quantile(_resampled(before, before - after, seed), (0.025, 0.975))
    return Gain(share, Interval(min(float(lower), share), max(float(upper), share)))


def widened(gain: Gain, relative_error: float) -> Gain:
    """The gain with an interval that holds both what traces vary by and what the estimate behind it is wrong by."""
    error = normal_quantile() * relative_error * gain.share
    lower = gain.share - math.hypot(gain.share - gain.interval.lower, error)
    upper = gain.share + math.hypot(gain.interval.upper - gain.share, error)
    return Gain(gain.share, Interval(lower, min(1.0, upper)))


def _resampled(before: "NDArray[np.float64]", saved: "NDArray[np.float64]", seed: int) -> "NDArray[np.float64]":
    import numpy as np  # noqa: PLC0415 - start-up time

    draws = np.random.default_rng(seed)
    count = len(before)
    shares = np.zeros(RESAMPLES)
    for sample in range(RESAMPLES):  # one at a time: all at once would take gigabytes for many traces
        chosen = draws.integers(0, count, count)
        total = before[chosen].sum()
        shares[sample] = saved[chosen].sum() / total if total > 0 else 0.0
    return shares


def together(proposals: Sequence[Proposal], count: int) -> list[Plan]:
    """All of the proposals' changes at once, one plan a trace."""
    return [reduce(or_, (proposal.plans[at] for proposal in proposals), Plan()) for at in range(count)]


def suggestion(proposal: Proposal, gain: Gain) -> Suggestion:
    """The proposal with its gain told."""
    saved, lower, upper = (100 * share for share in (gain.share, gain.interval.lower, gain.interval.upper))
    text = f"{proposal.text} Saves {saved:.0f} % of a run's time (95 % interval {lower:.0f} to {upper:.0f} %)."
    return Suggestion(
        proposal.change,
        proposal.stage,
        text,
        gain.share,
        gain.interval.lower,
        gain.interval.upper,
        proposal.cost_change,
    )
