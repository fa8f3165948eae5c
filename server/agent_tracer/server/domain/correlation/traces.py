"""Traces that belong with one: tied to it by what it says, or failing or slow as it is, more often than before."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from agent_tracer.server.domain.correlation.bursts import bursts
from agent_tracer.server.domain.correlation.cutting import cut_at
from agent_tracer.server.domain.correlation.findings import Began, RelatedTrace, Subject, Tie, TieKind
from agent_tracer.server.domain.correlation.windows import Windows
from agent_tracer.server.domain.ids import OtelTraceId
from agent_tracer.server.limits import CORRELATION_TIES_MAX

NEARNESS_SHARE: Final = 0.3
"""Of the score of a trace that is alike: what it owes to being near in time."""


_TIES: Final[Mapping[TieKind, tuple[float, str]]] = {
    TieKind.LINKS: (1.0, "a span of the trace links to it"),
    TieKind.LINKED: (1.0, "a span of it links to the trace"),
    TieKind.TASK: (0.95, "works on the same task {}"),
    TieKind.SESSION: (0.9, "is of the same session {}"),
    TieKind.WORKFLOW: (0.85, "is of the same workflow run {}"),
}
"""How sure each kind of tie is, and how it is told."""


def tied(ties: Sequence[Tie], windows: Windows) -> list[RelatedTrace]:
    """Related whatever the statistics. Ids that very many traces share, and workflows that ran before, tie nothing."""
    by_name: dict[tuple[TieKind, str], list[Tie]] = {}
    for tie in ties:
        by_name.setdefault((tie.kind, tie.name), []).append(tie)
    found = []
    for (kind, name), together in by_name.items():
        if len(together) >= CORRELATION_TIES_MAX:
            continue
        if kind is TieKind.WORKFLOW and any(one.start_ns < windows.window.start_ns for one in together):
            continue
        score, phrase = _TIES[kind]
        found += [RelatedTrace(one.key, score, [phrase.format(name).strip()]) for one in together]
    return found


def alike(subject: Subject, windows: Windows, others: Sequence[Began], phrase: str) -> list[RelatedTrace]:
    """The others of the window, where there are more of them than the time before lets expect; else none.

    All that began in `windows.all`, without the subject. Scored by the share beyond the expected, nearness, similarity.
    """
    inside = [one for one in others if windows.window.start_ns <= one.start_ns < windows.window.end_ns]
    if not inside:
        return []
    before = _counts(others, windows.before.starts_ns, windows.width_ns)
    during = _counts(others, windows.during.starts_ns, windows.width_ns)
    found = bursts(np.array([before]), np.array([during]))
    if found.p_value[0] > cut_at(unusual=subject.is_unusual):
        return []
    excess = float(found.excess[0])
    return [
        RelatedTrace(one.key, excess * one.similarity * _nearness(subject, windows, one), [phrase]) for one in inside
    ]


def merged(found: Sequence[RelatedTrace]) -> list[RelatedTrace]:
    """Each trace once, with all reasons and its highest score; the most correlated first."""
    together: dict[OtelTraceId, RelatedTrace] = {}
    for one in found:
        former = together.get(one.key)
        if former is not None:
            reasons = dict.fromkeys((*former.reasons, *one.reasons))
            together[one.key] = RelatedTrace(one.key, max(former.correlation, one.correlation), list(reasons))
        else:
            together[one.key] = one
    return sorted(together.values(), key=lambda one: (-one.correlation, one.key))


def _counts(others: Sequence[Began], starts_ns: Sequence[int], width_ns: int) -> list[float]:
    counts = [0.0] * len(starts_ns)
    first = starts_ns[0] if starts_ns else 0
    for one in others:
        at = (one.start_ns - first) // width_ns
        if 0 <= at < len(counts):
            counts[at] += 1
    return counts


def _nearness(subject: Subject, windows: Windows, one: Began) -> float:
    length = windows.window.end_ns - windows.window.start_ns
    return 1.0 - NEARNESS_SHARE * min(1.0, abs(one.start_ns - subject.start_ns) / length)
