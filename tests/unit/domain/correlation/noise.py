"""Series that vary by themselves, of the kinds that make weak tests find something."""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from agent_tracer.server.domain.correlation.levels import Floats

BEFORE: Final = 120
DURING: Final = 11
BUCKETS: Final = BEFORE + DURING
_WARM_UP: Final = 50

Generator = np.random.Generator


def _remembering(memory: float, noise: Floats) -> Floats:
    found = np.zeros_like(noise)
    for at in range(1, noise.shape[1]):
        found[:, at] = memory * found[:, at - 1] + noise[:, at]
    return found


def _curve(rng: Generator, shape: tuple[int, int]) -> Floats:
    period, phase = rng.uniform(20, 300, (shape[0], 1)), rng.random((shape[0], 1))
    return 5 * np.sin(2 * np.pi * (np.arange(shape[1]) / period + phase)) + rng.standard_normal(shape)


KINDS: Final[Mapping[str, Callable[[Generator, tuple[int, int]], Floats]]] = {
    "white": lambda rng, shape: rng.standard_normal(shape),
    "with memory": lambda rng, shape: _remembering(0.8, rng.standard_normal(shape)),
    "with long memory": lambda rng, shape: _remembering(0.95, rng.standard_normal(shape)),
    "random walk": lambda rng, shape: rng.standard_normal(shape).cumsum(axis=1),
    "on a curve": _curve,
    "heavy tailed": lambda rng, shape: rng.standard_t(3, shape),
    "log-normal": lambda rng, shape: np.exp(1.5 * rng.standard_normal(shape)),
    "rare counts": lambda rng, shape: rng.poisson(0.05, shape).astype(float),
    "stepping": lambda rng, shape: (rng.random(shape) < 0.01).cumsum(axis=1).astype(float),
}


def noise(kind: str, rng: Generator, series: int, buckets: int = BUCKETS) -> Floats:
    """Series x buckets."""
    return KINDS[kind](rng, (series, buckets + _WARM_UP))[:, _WARM_UP:]


def mixed(rng: Generator, series: int, buckets: int = BUCKETS) -> Floats:
    """The same of all kinds, as many of each."""
    each = -(-series // len(KINDS))
    return np.concatenate([noise(kind, rng, each, buckets) for kind in KINDS])[:series]
