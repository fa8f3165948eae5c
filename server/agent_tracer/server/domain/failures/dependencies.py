"""Which step's output later steps used: the run as a graph of information, backtracked from its end.

A word, number or quoted name belongs to the step that said it first; a later step that says it again has used that
step. Words that most steps say carry nothing, so each counts by its inverse document frequency (Sparck Jones 1972). The
weight at the end flows back along the edges in proportion, as in backward slicing (Weiser 1984) with shares for sets.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agent_tracer.server.domain.failures.steps import TOOL_KINDS, Step

SHARED_MIN: Final = 3.0
"""Inverse document frequencies (in nats) that an edge needs: one rare word in a long run, several in a short one."""

_TOKEN: Final = re.compile(r"[\u2e80-\uffff]{2}|\d[\d.,:/-]*\d|\d{2,}|[^\W\d_\u2e80-\uffff][\w-]{3,}")
_TOKENS_MAX: Final = 3_000
"""Of a step: further words of a page say nothing new on who used it."""


@dataclass(frozen=True, slots=True)
class Dependencies:
    """Edges of the graph. `users[i]`: the later steps that used step i. `weight[i]`: its part in the run's end, 0 to 1.

    `fresh[i]`: the share of the step's words that it was the first to say.
    """

    users: Sequence[Sequence[int]]
    weight: Sequence[float]
    fresh: Sequence[float]


def tokens(text: str) -> frozenset[str]:
    """Words of four letters and more, numbers of two digits and more, pairs of signs of unspaced scripts."""
    found: set[str] = set()
    for token in dict.fromkeys(_TOKEN.findall(text.lower())):
        found.add(token.rstrip(".,:/-"))
        if len(found) >= _TOKENS_MAX:
            break
    return frozenset(found)


def dependencies(steps: Sequence[Step]) -> Dependencies:
    """The graph of the steps, in their order. The end is the last step that says anything."""
    said = [tokens(step.text) for step in steps]
    used = [
        tokens(step.input) if step.kind in TOOL_KINDS and step.input else own
        for step, own in zip(steps, said, strict=True)
    ]
    first, counts = _first_said(said)
    total = max(1, len(steps))
    rarity = {token: math.log(total / count) for token, count in counts.items() if 1 < count < total}
    edges: list[dict[int, float]] = [_sources(at, used[at], first, rarity) for at in range(len(steps))]
    users: list[list[int]] = [[] for _ in steps]
    for at, sources in enumerate(edges):
        for source in sources:
            users[source].append(at)
    fresh = [sum(first[token] == at for token in own) / len(own) if own else 0.0 for at, own in enumerate(said)]
    return Dependencies(users, _backtracked(edges, said), fresh)


def _first_said(said: Sequence[frozenset[str]]) -> tuple[dict[str, int], dict[str, int]]:
    first: dict[str, int] = {}
    counts: dict[str, int] = {}
    for at, own in enumerate(said):
        for token in own:
            first.setdefault(token, at)
            counts[token] = counts.get(token, 0) + 1
    return first, counts


def _sources(at: int, used: frozenset[str], first: dict[str, int], rarity: dict[str, float]) -> dict[int, float]:
    found: dict[int, float] = {}
    for token in sorted(used):  # sums of floats must not depend on the order of a set
        source = first.get(token, at)
        if source < at:
            found[source] = found.get(source, 0.0) + rarity.get(token, 0.0)
    return {source: found[source] for source in sorted(found) if found[source] >= SHARED_MIN}


def _backtracked(edges: Sequence[dict[int, float]], said: Sequence[frozenset[str]]) -> list[float]:
    """Weight 1 at the last step that says anything, handed on to the steps it used in proportion to what it used."""
    weight = [0.0] * len(edges)
    end = next((at for at in reversed(range(len(said))) if said[at]), None)
    if end is not None:
        weight[end] = 1.0
    for at in reversed(range(len(edges))):
        total = sum(edges[at].values())
        for source, shared in edges[at].items():
            weight[source] += weight[at] * shared / total
    return [min(1.0, found) for found in weight]
