"""Moments at which a series changed its level, and what else changed then.

Source: PELT (Killick, Fearnhead, Eckley 2012) by ruptures, cost of the mean, penalty 3 log n times the variance of
single points (two parameters a change, and one for its place: Zhang, Siegmund 2007). Each change is then tested alone:
the largest standardised difference of means over all places between its neighbours, against permuted points, so that
having looked for the best place is paid for.
"""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from agent_tracer.server.domain.atlas.series import Measure, Series

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

POINTS_MIN: Final = 8
"""Four points on each side at least could tell a change by permutation at all."""

SEGMENT_MIN: Final = 3
"""Points of a level; a single far one is an outlier."""

PERMUTATIONS: Final = 999
SIGNIFICANCE: Final = 0.005
"""Three measures are searched, at several places each: together they then find a change where there is none in less
than 5 % of the cases."""

SEED: Final = 20_221_011
"""Of the permutations: any number, always the same, so that the same data give the same answer."""


@dataclass(frozen=True, slots=True)
class KnownChange:
    """What was changed when: an agent version, a model, a prompt. Unix time."""

    time_ns: int
    text: str


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """From `time_ns` on the measure's mean was `after`, until the next change; before it was `before`."""

    time_ns: int
    measure: Measure
    before: float
    after: float
    p_value: float
    coincident_changes: Sequence[str] = ()


def change_points(measure: Measure, found: Series, known: Sequence[KnownChange] = ()) -> list[ChangePoint]:
    """The significant changes of level, in time order; none for fewer than POINTS_MIN points.

    Known changes are named where they lie no further from the change than one point to either side.
    """
    import numpy as np  # noqa: PLC0415 - start-up time

    values = np.array(found.values, dtype=np.float64)
    counts = np.array(found.counts, dtype=np.float64)
    if len(values) < POINTS_MIN or np.ptp(values) == 0:
        return []
    places = _significant(values, _candidates(values))
    bounds = [0, *(at for at, _ in places), len(values)]
    means = [float(np.average(values[a:b], weights=counts[a:b])) for a, b in pairwise(bounds)]
    return [
        ChangePoint(found.starts_ns[at], measure, means[i], means[i + 1], p, _coincident(found, at, known))
        for i, (at, p) in enumerate(places)
    ]


def _candidates(values: "NDArray[np.float64]") -> list[int]:
    import numpy as np  # noqa: PLC0415 - start-up time
    from ruptures.detection.pelt import Pelt  # noqa: PLC0415 - start-up time

    # Of neighbours' differences, so that changes of level do not count as noise.
    variance = float(np.mean(np.diff(values) ** 2)) / 2
    penalty = 3 * math.log(len(values)) * variance
    fitted = Pelt(model="l2", min_size=SEGMENT_MIN, jump=1).fit(values.reshape(-1, 1))
    return [int(at) for at in fitted.predict(pen=penalty)[:-1]]


def _significant(values: "NDArray[np.float64]", places: list[int]) -> list[tuple[int, float]]:
    """Without the weakest one, again and again, until all that are left are significant between their neighbours."""
    import numpy as np  # noqa: PLC0415 - start-up time

    draws = np.random.default_rng(SEED)
    while places:
        bounds = [0, *places, len(values)]
        tested = [_p_value(values[bounds[i] : bounds[i + 2]], draws) for i in range(len(places))]
        worst = max(range(len(places)), key=tested.__getitem__)
        if tested[worst] < SIGNIFICANCE:
            return list(zip(places, tested, strict=True))
        places = [place for i, place in enumerate(places) if i != worst]
    return []


def _p_value(values: "NDArray[np.float64]", draws: "np.random.Generator") -> float:
    import numpy as np  # noqa: PLC0415 - start-up time

    shuffled = draws.permuted(np.tile(values, (PERMUTATIONS, 1)), axis=1)
    recorded = _largest_step(values.reshape(1, -1))[0]
    return float(1 + np.count_nonzero(_largest_step(shuffled) >= recorded - 1e-12)) / (1 + PERMUTATIONS)


def _largest_step(rows: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """The largest standardised difference between the means before and after any place of each row."""
    import numpy as np  # noqa: PLC0415 - start-up time

    length = rows.shape[1]
    places = np.arange(SEGMENT_MIN, length - SEGMENT_MIN + 1)
    before = np.cumsum(rows, axis=1)[:, places - 1]
    total = rows.sum(axis=1, keepdims=True)
    steps = np.abs(before / places - (total - before) / (length - places)) * np.sqrt(places * (length - places))
    return np.asarray(steps.max(axis=1), dtype=np.float64)


def _coincident(found: Series, at: int, known: Sequence[KnownChange]) -> tuple[str, ...]:
    earliest = found.starts_ns[at - 1]
    latest = found.starts_ns[at + 1] if at + 1 < len(found.starts_ns) else found.times_ns[at]
    changes = sorted(known, key=lambda change: change.time_ns)
    times = [change.time_ns for change in changes]
    near = changes[bisect.bisect_left(times, earliest) : bisect.bisect_right(times, latest)]
    return tuple(change.text for change in near)
