"""Root causes between CorrelationService's messages and what services take. Pure."""

from agent_tracer.server.api.fields import time_to
from agent_tracer.server.domain.rca.analysis import Analysis, RootCause
from agent_tracer.server.domain.rca.evidence import Evidence
from agent_tracer.server.services.root_causes import RootCauseRequest
from agent_tracer.v1 import correlation_pb2 as pb


def root_cause_from(request: pb.AnalyzeRootCauseRequest) -> RootCauseRequest:
    """As the caller wrote it."""
    return RootCauseRequest(request.incident_id, request.time_window, request.depth)


def root_cause_to(incident_id: str, found: Analysis) -> pb.RootCauseAnalysis:
    """Without a root cause where the analysis abstained."""
    return pb.RootCauseAnalysis(
        incident_id=incident_id,
        root_cause=None if found.root_cause is None else _cause_to(found.root_cause),
        causal_chain=found.causal_chain,
        affected_services=found.affected_services,
        recommendations=found.recommendations,
        candidates=map(_cause_to, found.candidates),
        evidence=map(_evidence_to, found.evidence),
        abstained_reason=found.abstained_reason,
        caveats=found.caveats,
    )


def _cause_to(cause: RootCause) -> pb.RootCause:
    return pb.RootCause(component=cause.component, issue=cause.issue, confidence=cause.confidence, change=cause.change)


def _evidence_to(evidence: Evidence) -> pb.Evidence:
    return pb.Evidence(
        component=evidence.component,
        channel=evidence.channel,
        description=evidence.description,
        strength=evidence.strength,
        time=time_to(evidence.time_ns) if evidence.time_ns else None,
    )
