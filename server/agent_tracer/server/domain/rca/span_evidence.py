"""Evidence in spans and logs: own time, errors, gaps between client and server, bursts of log templates."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from agent_tracer.server.domain.rca.evidence import Evidence, known
from agent_tracer.server.domain.rca.exposure import by_calls, growth, score, totals
from agent_tracer.server.domain.rca.view import ERROR_SEVERITY, EdgeSeries, IncidentView, Window

GAP_FLOOR_MS: Final = 0.5
"""Added to gaps before their ratio is taken: below it lies what a machine's clock and scheduler do by themselves."""

TIME_FLOOR_MS: Final = 1.0

_SAID: Final = {
    False: "{what!r:.160} was logged {often:.0f} times",
    True: "spans failed with {what!r:.160} {often:.0f} times",
}

RATIO_MIN: Final = 0.2
"""Natural logarithm: a change by less than a fifth is not worth a line."""


def median_of(values: Sequence[float]) -> float | None:
    """The median of what was observed; None where nothing was."""
    found = sorted(known(values))
    if not found:
        return None
    middle = len(found) // 2
    return found[middle] if len(found) % 2 else (found[middle - 1] + found[middle]) / 2


def log_evidence(view: IncidentView) -> Iterator[Evidence]:
    """Templates written more, or less, often than calls or time explain; score: log ratio where counts make it sure."""
    calls = {service.component: service.calls for service in view.services}
    for log in view.logs:
        before, during = totals(log.counts)
        share = growth(log.counts, calls.get(log.component))
        ratio = math.log((during + 0.5) / (before * share + 0.5))
        deviations = score(before, during, share)
        strength = abs(ratio) * -math.expm1(-(deviations**2) / 8)
        if strength < RATIO_MIN:
            continue
        feature = (
            "log_error" if log.severity >= ERROR_SEVERITY and ratio > 0 else "log_more" if ratio > 0 else "log_less"
        )
        said = _SAID[log.is_of_spans].format(what=log.template, often=during)
        yield Evidence(
            log.component, "log", feature, strength, log.template,
            f"{said} where {before * share:.1f} were to be expected",
            _first(log.counts.during, view.during) if ratio > 0 else None, before * share, during,
        )  # fmt: skip


def _first(counts: Sequence[float], window: Window) -> int | None:
    return next((at for at, count in zip(window.starts_ns, counts, strict=True) if count > 0), None)


def latency_evidence(view: IncidentView) -> Iterator[Evidence]:
    """Time that a component's spans take themselves, without their children."""
    for service in view.services:
        before, during = median_of(service.self_ms.before), median_of(service.self_ms.during)
        if before is None or during is None:
            continue
        peak = max(known(service.self_ms.during))
        ratio = math.log((peak + TIME_FLOOR_MS) / (before + TIME_FLOOR_MS))
        if ratio < RATIO_MIN:
            continue
        at = _above(service.self_ms.during, (before + peak) / 2, view.during)
        said = f"its own time a span rose from {before:.4g} to {peak:.4g} ms"
        yield Evidence(service.component, "latency", "self_time", ratio, "self time", said, at, before, peak)


def _above(values: Sequence[float], bound: float, window: Window) -> int | None:
    return next((at for at, value in zip(window.starts_ns, values, strict=True) if value >= bound), None)


def error_evidence(view: IncidentView) -> Iterator[Evidence]:
    """Errors that begin in a component, by Ochiai: failed spans of its own against all failures and all its spans.

    Ochiai = own failures / sqrt(all failures * the component's spans) (Abreu et al. 2006), on the incident's excess
    over the failures that its own calls would have brought at the share of before.
    """
    expected, excess = {}, {}
    for service in view.services:
        before, during = totals(service.own_errors)
        usual = before * (by_calls(service.own_errors, service.calls) or 0.0)
        expected[service.component], excess[service.component] = usual, max(during - usual, 0.0)
    failures = sum(excess.values())
    for service in view.services:
        own, usual, (_, calls) = excess[service.component], expected[service.component], totals(service.calls)
        if own < 1 or not calls:
            continue
        _, during = totals(service.own_errors)
        strength = own / math.sqrt(failures * max(calls, own))
        said = f"{during:.0f} of its {calls:.0f} spans failed by themselves, {usual:.1f} were to be expected"
        at = _first(service.own_errors.during, view.during)
        yield Evidence(service.component, "error", "own_error", strength, "errors", said, at, usual, during)


def edge_evidence(view: IncidentView) -> Iterator[Evidence]:
    """Time lost between client and server, by side: all that call a component wait, or it waits for all it calls.

    One slow edge alone cannot tell which end is slow; the mean over the edges of a side, by calls, can. A call
    whose server outlives its client (a queue's) has no gap and is left out.
    """
    sides: dict[tuple[str, str], list[tuple[float, float, EdgeSeries]]] = defaultdict(list)
    for edge in view.edges:
        before, during = median_of(edge.gap_ms.before), median_of(edge.gap_ms.during)
        if before is None or during is None or before < 0 or edge.caller == edge.callee:
            continue
        ratio = max(math.log((max(during, 0.0) + GAP_FLOOR_MS) / (before + GAP_FLOOR_MS)), 0.0)
        calls = totals(edge.calls)[1] or 1.0
        sides[edge.callee, "edge_in"].append((ratio, calls, edge))
        sides[edge.caller, "edge_out"].append((ratio, calls, edge))
    for (component, feature), found in sides.items():
        strength = sum(ratio * calls for ratio, calls, _ in found) / sum(calls for _, calls, _ in found)
        if strength < RATIO_MIN:
            continue
        _, _, worst = max(found, key=lambda each: each[0] * each[1])
        before, during = median_of(worst.gap_ms.before) or 0.0, median_of(worst.gap_ms.during) or 0.0
        said = f"between {worst.caller} and {worst.callee} {during:.4g} ms are lost a call, {before:.4g} before"
        at = _above(worst.gap_ms.during, (before + during) / 2, view.during)
        peer = worst.callee if component == worst.caller else worst.caller
        yield Evidence(component, "edge", feature, strength, peer, said, at, before, during)
