"""The answer to an incident: the cause with its confidence, how it spread, what to do, and what the answer rests on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from agent_tracer.server import limits
from agent_tracer.server.domain.rca.changes import LIVE_ADVICE, Suspect, culprit, likelihood, named, went_live
from agent_tracer.server.domain.rca.coefficients import THRESHOLD
from agent_tracer.server.domain.rca.dependencies import failed_first, out_of_reach
from agent_tracer.server.domain.rca.evidence import Evidence
from agent_tracer.server.domain.rca.fault_types import fault_type, signature_of
from agent_tracer.server.domain.rca.features import OBSERVED, STRENGTH_UNIT, SYMPTOM, Findings, gather
from agent_tracer.server.domain.rca.metric_evidence import OTHER, kind_of
from agent_tracer.server.domain.rca.model import FITTED, NONE, Model, acquaintance, confidence, shares
from agent_tracer.server.domain.rca.signatures import diagnose
from agent_tracer.server.domain.rca.telling import STRENGTH_METRIC_TELLING, is_telling
from agent_tracer.server.domain.rca.view import Change, IncidentView

KIND_CHANCE_MIN: Final = 0.6
"""A kind of fault less likely than this does not decide what an issue is called."""

SHARE_MIN: Final = 0.01
"""A component of a smaller share is no candidate."""

EVIDENCE_PER_LINK: Final = 2
"""Pieces of evidence of one component told in the causal chain: more do not fit a line."""

BASELINE_BUCKETS_MIN: Final = 10
"""Fewer buckets before the incident make its usual range uncertain, which an answer then says."""


@dataclass(frozen=True, slots=True)
class RootCause:
    """A candidate; `change`: id of the deploy, commit or flag that brought it about, empty where none is named."""

    component: str
    issue: str
    confidence: float
    change: str = ""


@dataclass(frozen=True, slots=True)
class Analysis:
    """`root_cause` is None where `abstained_reason` says why. Candidates best first, evidence strongest first."""

    root_cause: RootCause | None
    causal_chain: Sequence[str]
    affected_services: Sequence[str]
    recommendations: Sequence[str]
    candidates: Sequence[RootCause]
    evidence: Sequence[Evidence]
    abstained_reason: str
    caveats: Sequence[str]


def analyze(view: IncidentView, depth: int, model: Model = FITTED) -> Analysis:
    """Weighs all evidence of the view; `depth`: calls followed from the alerting component.

    Deterministic: the same view gives the same answer.
    """
    findings = gather(view, depth)
    ranked = shares(findings, model)
    nothing = ranked.pop(NONE)
    order = sorted(ranked, key=lambda name: (-ranked[name], name))
    if not order or not findings.evidence:
        return _silent(view, findings, (), "nothing of any component left its usual range")
    ranked, order = failed_first(findings, ranked, order)
    suspect = _suspect(view, findings, order[0], depth)
    if suspect is not None:
        order = _changed_first(suspect, order)
    order = [name for at, name in enumerate(order) if at == 0 or ranked[name] >= SHARE_MIN]
    met = acquaintance(view, findings, model)
    confidences = {name: confidence(ranked[name], model, met) for name in order}
    candidates = _candidates(view, findings, order, confidences, suspect)
    top = candidates[0]
    if suspect is None and (nothing > ranked[order[0]] or not is_telling(top.component, findings.evidence)):
        return _silent(view, findings, candidates, _quiet(view, findings, top))
    if top.confidence < THRESHOLD and suspect is None:
        said = f"the best candidate, {top.component}, reaches a confidence of {top.confidence:.2f} only"
        return _silent(view, findings, candidates, f"{said}; {THRESHOLD} is needed")
    beside = None if top.change else went_live(view, top.component)
    evidence = [*findings.evidence, *_change_evidence(top, suspect, beside)]
    expected = _expected(view, findings, top.component)
    advice = diagnose(top.component, findings.evidence, top.change, expected).recommendations
    return Analysis(
        top,
        _chain(view, findings, top, evidence, depth),
        _affected(findings, view, top.component, depth),
        advice if beside is None else [*advice, LIVE_ADVICE.format(component=top.component, change=named(beside))],
        candidates,
        _strongest(evidence, candidates),
        "",
        [*_caveats(view), *_apart(view, findings, top.component, depth)],
    )


def _quiet(view: IncidentView, findings: Findings, top: RootCause) -> str:
    """Why nothing is named, though something moved."""
    moved = findings.nothing.get(SYMPTOM, 0.0) * STRENGTH_UNIT
    if (
        OBSERVED not in findings.nothing
        or moved >= STRENGTH_METRIC_TELLING
        or not is_telling(top.component, findings.evidence)
    ):
        return "what moved is within what moves in quiet hours"
    kind = kind_of(view.incident.metric)
    metric = view.incident.metric if kind == OTHER else f"{kind} metric"
    return f"the alerting service's {metric} did not move"


def _suspect(view: IncidentView, findings: Findings, top: str, depth: int) -> Suspect | None:
    """The change that explains the incident, among those live before its evidence began."""
    near = findings.graph.reached(view.incident.component or top, depth)
    return culprit(view, near.keys(), view.incident.start_ns)


def _changed_first(suspect: Suspect, order: Sequence[str]) -> list[str]:
    """The best supported of the components that the change went live in comes first; of a shared library: as it was."""
    live = [name for name in order if name in suspect.change.components][:1]
    return [*live, *(name for name in order if name not in live)]


def _candidates(
    view: IncidentView,
    findings: Findings,
    order: Sequence[str],
    confidences: Mapping[str, float],
    suspect: Suspect | None,
) -> list[RootCause]:
    found = []
    for at, name in enumerate(order[: limits.RCA_CANDIDATES_MAX]):
        cause = suspect if at == 0 else None
        change = cause.change.change_id if cause else ""
        sure = confidences[name] if cause is None else likelihood(cause)
        unreached = out_of_reach(view, findings, name)
        issue = diagnose(name, findings.evidence, change, _expected(view, findings, name), unreached).issue
        found.append(RootCause(name, issue, round(sure, 4), change))
    return found


def _expected(view: IncidentView, findings: Findings, component: str) -> str:
    """The signature of the kind of fault that the alarms of the component tell of, where they do so clearly."""
    kind, chance = fault_type(view, component, findings.features[component])
    return signature_of(kind) if chance >= KIND_CHANCE_MIN else ""


def _change_evidence(top: RootCause, suspect: Suspect | None, beside: Change | None) -> list[Evidence]:
    """Of the change that is named as the cause; else of one that is only near in time, which is said."""
    if suspect is not None and top.change:
        change, strength, reason = suspect.change, suspect.score, suspect.reason
    elif beside is not None:
        change, strength, reason = beside, 0.0, "it went live here shortly before; nothing but the time speaks for it"
    else:
        return []
    said = f"{named(change)}: {reason}"
    return [Evidence(top.component, "change", "change", strength, change.change_id, said, change.time_ns)]


def _chain(
    view: IncidentView, findings: Findings, top: RootCause, evidence: Sequence[Evidence], depth: int
) -> list[str]:
    """From the cause to the alert: at each component of the road its strongest evidence, with the time it began.

    What is no more than chance brings is no link.
    """
    road = findings.graph.road(view.incident.component, top.component, depth)[::-1] or [top.component]
    lines = []
    for at, component in enumerate(road):
        own = [each for each in evidence if each.component == component and is_telling(component, [each])]
        leading = sorted(own, key=lambda each: (each.channel != "change", -each.strength))
        told = list({each.description: each for each in leading[: EVIDENCE_PER_LINK * 2]}.values())
        of_link = sorted(told[: EVIDENCE_PER_LINK if at == 0 else 1], key=lambda each: each.time_ns or 0)
        lines += [f"{_clock(each.time_ns)}{component}: {each.description}" for each in of_link]
        if at and not own:
            lines.append(f"{component} calls {road[at - 1]} and waits for it")
    if view.incident.component:
        measure = view.incident.metric or "its alert"
        lines.append(f"{_clock(view.incident.start_ns)}{view.incident.component}: alert on {measure}")
    return lines


def _clock(time_ns: int | None) -> str:
    return "" if not time_ns else f"{datetime.fromtimestamp(time_ns / 1e9, UTC):%Y-%m-%dT%H:%M:%SZ} "


def _affected(findings: Findings, view: IncidentView, component: str, depth: int) -> list[str]:
    """Who calls the cause, directly or not, and shows it or lies between it and the alert.

    The alerting component too, unless it is apart.
    """
    alerting = view.incident.component
    road = findings.graph.road(alerting, component, depth)
    shown = {each.component for each in findings.evidence} | {alerting, *road}
    callers = [name for name in findings.graph.affected(component, depth) if name in shown]
    if not alerting or alerting in {*callers, component} or _apart(view, findings, component, depth):
        return callers
    return [*callers, alerting]


def _apart(view: IncidentView, findings: Findings, component: str, depth: int) -> list[str]:
    """What to say where the alerting component shows nothing, and its calls do not lead to the cause."""
    alerting = view.incident.component
    if not alerting or component == alerting or not view.edges or is_telling(alerting, findings.evidence):
        return []
    if findings.graph.road(alerting, component, depth):
        return []
    return [f"nothing of {alerting} left its usual range, and no calls lead from it to {component}"]


def _strongest(evidence: Sequence[Evidence], candidates: Sequence[RootCause]) -> list[Evidence]:
    """Each piece once (features may share one), of the candidates, those of the first before the others."""
    place = {candidate.component: at for at, candidate in enumerate(candidates)}
    chosen: dict[tuple[str, str], Evidence] = {}
    for each in sorted(evidence, key=lambda each: (-each.strength, each.component, each.description)):
        if each.component in place:
            chosen.setdefault((each.component, each.description), each)
    order = sorted(chosen.values(), key=lambda each: (place[each.component] > 0, -each.strength))
    return order[: limits.RCA_EVIDENCE_MAX]


def _silent(view: IncidentView, findings: Findings, candidates: Sequence[RootCause], reason: str) -> Analysis:
    evidence = _strongest(findings.evidence, candidates)
    return Analysis(None, (), (), (), candidates, evidence, reason, _caveats(view))


def _caveats(view: IncidentView) -> list[str]:
    present = {
        "metrics": bool(view.metrics),
        "logs": not all(log.is_of_spans for log in view.logs),
        "spans": bool(view.services),
    }
    missing = [what for what, there in present.items() if not there and not view.alarms]
    missing += [] if view.edges else ["calls between components"]
    found = [f"no {what} of the time were there to look at" for what in missing]
    if view.alarms:
        found.append("based on alarms of other detectors, not on the telemetry itself")
    elif len(view.before.starts_ns) < BASELINE_BUCKETS_MIN:
        found.append(f"only {len(view.before.starts_ns)} buckets before the incident to compare with")
    return found
