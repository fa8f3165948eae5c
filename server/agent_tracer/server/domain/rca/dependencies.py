"""Who cannot be reached: where a caller says that it cannot reach something, the cause is what it calls. Pure."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from agent_tracer.server.domain.rca.evidence import Evidence
from agent_tracer.server.domain.rca.exposure import by_calls, score, totals
from agent_tracer.server.domain.rca.features import Findings
from agent_tracer.server.domain.rca.signatures import DEPENDENCY_DOWN, diagnose
from agent_tracer.server.domain.rca.telling import is_telling
from agent_tracer.server.domain.rca.view import IncidentView

_BETWEEN: Final = ("edge", "alarm")
"""Beginnings of features that say of both ends of a call alike, or of who knows what."""

MISSED_SCORE: Final = 3.0
"""Standard deviations by which calls of a callee stay away, from which on it is taken to be the one out of reach."""


def failed_first(
    findings: Findings, ranked: Mapping[str, float], order: Sequence[str]
) -> tuple[dict[str, float], list[str]]:
    """Shares and order with the callee first that the first component cannot reach, and so on from there.

    Only where that callee shows by something that rose that it went wrong: what falls silent may be not called.
    The two change places, with their shares: how sure it is that the fault is here rather than elsewhere stays.
    """
    shares, found, passed = dict(ranked), list(order), {order[0]}
    while diagnose(found[0], findings.evidence).name == DEPENDENCY_DOWN:
        first, callees = found[0], findings.graph.callees.get(found[0], ())
        failed = next((name for name in found if name in callees and _rose(name, findings.evidence)), "")
        if not failed or failed in passed:
            break
        passed.add(failed)
        shares[first], shares[failed] = shares[failed], shares[first]
        found = [failed, *(name for name in found if name != failed)]
    return shares, found


def _rose(component: str, evidence: Sequence[Evidence]) -> bool:
    own = [each for each in evidence if each.component == component and not each.feature.startswith(_BETWEEN)]
    return is_telling(component, [each for each in own if each.during > each.before])


def out_of_reach(view: IncidentView, findings: Findings, component: str) -> str:
    """The callee that the component cannot reach: one that its evidence names, else the one whose calls stay away most.

    Empty where the graph knows of neither.
    """
    logged = [each for each in findings.evidence if each.component == component and each.channel == "log"]
    said = " ".join(each.subject for each in logged)
    callees = findings.graph.callees.get(component, ())
    named = [name for name in callees if re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", said, re.IGNORECASE)]
    if named:
        return max(named, key=len)
    missed = _missed(view, component)
    most = max(missed, key=lambda name: (missed[name], name), default="")
    return most if missed.get(most, 0.0) >= MISSED_SCORE else ""


def _missed(view: IncidentView, component: str) -> dict[str, float]:
    """By callee: how surely fewer calls arrive than the caller's own calls would bring."""
    own = next((service.calls for service in view.services if service.component == component), None)
    found = {}
    for edge in view.edges:
        share = by_calls(edge.calls, own)
        if edge.caller == component != edge.callee and share is not None:
            found[edge.callee] = -score(*totals(edge.calls), share)
    return found
