"""Tasks that were tried several times: how often does an agent succeed in all of k tries?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from agent_tracer.server.domain.ace.standings import Standing
from agent_tracer.server.domain.ids import AgentId
from agent_tracer.server.limits import PASS_K_MAX


def pass_hat_k(repeats: Sequence[tuple[int, int]], k: int) -> float:
    """The chance that k tries of a task all succeed, the mean over tasks of (tries, successes).

    Each task's unbiased estimate is C(successes, k) / C(tries, k) (Yao et al. 2024, tau-bench, arXiv 2406.12045,
    section 3). Tasks with fewer than k tries say nothing of it and are left out. Raises ValueError where none is left
    or k is below 1.
    """
    if k < 1:
        message = f"k must be at least 1, not {k}"
        raise ValueError(message)
    held = [math.comb(successes, k) / math.comb(tries, k) for tries, successes in repeats if tries >= k]
    if not held:
        message = f"no task was tried {k} times"
        raise ValueError(message)
    return math.fsum(held) / len(held)


def pass_series(repeats: Sequence[tuple[int, int]]) -> tuple[float, ...]:
    """pass^k for k = 1, 2, ..., up to PASS_K_MAX, as far as half of the tasks were tried so often."""
    half = sorted((tries for tries, _ in repeats), reverse=True)[(len(repeats) - 1) // 2] if repeats else 0
    return tuple(pass_hat_k(repeats, k) for k in range(1, min(half, PASS_K_MAX) + 1))


def with_repeats(
    standings: Sequence[Standing], repeats: Mapping[AgentId, Mapping[str, Sequence[tuple[int, int]]]]
) -> tuple[Standing, ...]:
    """The same, each type with pass^k where the agent tried tasks of it several times."""
    return tuple(
        replace(
            standing,
            scores={
                name: replace(of, pass_k=pass_series(repeats.get(standing.agent_id, {}).get(name, ())))
                for name, of in standing.scores.items()
            },
        )
        for standing in standings
    )
