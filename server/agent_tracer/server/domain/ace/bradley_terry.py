"""Strengths of agents that do not share all task types, from the types that pairs of them share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent_tracer.server.domain.statistics.intervals import Interval
from agent_tracer.server.domain.statistics.ranks import pairwise_quantile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Flags = NDArray[np.bool_]

Counts = Mapping[str, tuple[int, int]]
"""(successes, tasks) by task type; tasks are above 0."""

_SMOOTHING: Final = 0.5
"""Successes and failures added to each (Jeffreys), so that an agent that always succeeds is not infinitely strong."""

_EVEN_CHANCE: Final = 0.5
_REGULARISATION: Final = 1e-6
"""Keeps agents that share nothing with the others on the scale; too little to move those that do."""


@dataclass(frozen=True, slots=True)
class Strengths:
    """`scores`: each agent's chance to win against another of its component, 0 to 1, in the order given.

    `connected`: whether every two agents share a task type, if only through others.
    """

    scores: tuple[float, ...]
    connected: bool
    values: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    components: tuple[int, ...]

    def difference(self, first: int, second: int) -> Interval:
        """Of two strengths (log odds) at the quantile of pairwise comparisons; unbounded across components."""
        if self.components[first] != self.components[second]:
            return Interval(-float("inf"), float("inf"))
        variance = self.covariance[first][first] + self.covariance[second][second] - 2 * self.covariance[first][second]
        half = pairwise_quantile(len(self.values)) * max(0.0, variance) ** 0.5
        value = self.values[first] - self.values[second]
        return Interval(value - half, value + half)


def strengths(agents: Sequence[Counts]) -> Strengths:
    """Bradley-Terry strengths (1952, Biometrika 39:324) from paired wins, the mean 0.

    On a task type that two agents share, one wins as often as it succeeds and the other fails, on each type once: with
    additive log odds of agents and types that ratio knows no type (Choppin 1968, Nature 219:870), so that agents with
    harder types are not held to be worse. Covariances by the delta method from the binomial variances of the rates.
    """
    import numpy as np  # noqa: PLC0415 - start-up time
    from choix import ilsr_pairwise_dense  # noqa: PLC0415 - start-up time

    present, rates, variances = _rates(agents)
    failures = present - rates
    wins = rates @ failures.T
    np.fill_diagonal(wins, 0.0)
    values = ilsr_pairwise_dense(wins, alpha=_REGULARISATION)
    chances = 1 / (1 + np.exp(values[None, :] - values[:, None]))
    components = _components(wins > 0)
    together = components[:, None] == components[None, :]
    return Strengths(
        scores=tuple(_scores(chances, together)),
        connected=bool(together.all()),
        values=tuple(values.tolist()),
        covariance=tuple(map(tuple, _covariance(wins, chances, present, rates, variances).tolist())),
        components=tuple(components.tolist()),
    )


def _rates(agents: Sequence[Counts]) -> "tuple[Array, Array, Array]":
    """By agent and type: whether there are tasks (1 or 0), the smoothed success rate and its variance."""
    import numpy as np  # noqa: PLC0415 - start-up time

    types = sorted({name for counts in agents for name in counts})
    successes, tasks = (
        np.array([[counts.get(name, (0, 0))[part] for name in types] for counts in agents], float) for part in (0, 1)
    )
    present = (tasks > 0).astype(float)
    rates = present * (successes + _SMOOTHING) / (tasks + 2 * _SMOOTHING)
    return present, rates, rates * (present - rates) / (tasks + 2 * _SMOOTHING)


def _components(linked: "Flags") -> "NDArray[np.int32]":
    import numpy as np  # noqa: PLC0415 - start-up time
    from scipy.sparse.csgraph import connected_components  # noqa: PLC0415 - start-up time

    return np.asarray(connected_components(linked, directed=False)[1])


def _scores(chances: "Array", together: "Flags") -> list[float]:
    others = together.sum(axis=1) - 1
    won = (chances * together).sum(axis=1) - _EVEN_CHANCE
    return [float(total / count) if count else _EVEN_CHANCE for total, count in zip(won, others, strict=True)]


def _covariance(wins: "Array", chances: "Array", present: "Array", rates: "Array", variances: "Array") -> "Array":
    """H+ A H+: H the information of the paired wins, A the variance of its score from that of each rate."""
    import numpy as np  # noqa: PLC0415 - start-up time

    both = present[:, None, :] * present[None, :, :] * (1 - np.eye(len(wins)))[:, :, None]
    slopes = both * (rates[None, :, :] * chances[:, :, None] + (1 - rates[None, :, :]) * (1 - chances[:, :, None]))
    gradients = -slopes
    own = np.arange(len(wins))
    gradients[own, own, :] = slopes.sum(axis=1)
    spread = np.einsum("ijt,ikt,it->jk", gradients, gradients, variances)
    information = -(wins + wins.T) * chances * (1 - chances)
    information[own, own] -= information.sum(axis=1)
    inverse = np.linalg.pinv(information)
    return np.asarray(inverse @ spread @ inverse)
