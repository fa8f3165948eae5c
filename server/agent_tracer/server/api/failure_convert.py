"""CorrelationService's messages on failed runs to what services take, and back. Pure."""

from agent_tracer.server.api.fields import int32, time_to
from agent_tracer.server.domain.failures.attribution import Attribution, Candidate
from agent_tracer.server.domain.paging import PageRequest
from agent_tracer.server.services.failures import FailureGroup, FailureGroups, FailureGroupsRequest
from agent_tracer.v1 import correlation_pb2 as pb


def groups_from(request: pb.ListFailureGroupsRequest) -> tuple[FailureGroupsRequest, PageRequest]:
    """As the caller wrote it."""
    return FailureGroupsRequest(request.period, request.agent_id), PageRequest(request.page_size, request.page_token)


def groups_to(found: FailureGroups) -> pb.ListFailureGroupsResponse:
    """Counts are cut to their fields' 32 bits."""
    return pb.ListFailureGroupsResponse(
        groups=map(_group_to, found.groups), next_page_token=found.next_token, caveats=found.caveats
    )


def attribution_to(trace_id: str, found: Attribution) -> pb.FailureAttribution:
    """Without a culprit where nobody did anything."""
    return pb.FailureAttribution(
        trace_id=trace_id,
        culprit=None if found.culprit is None else _candidate_to(found.culprit),
        candidates=map(_candidate_to, found.candidates),
    )


def _candidate_to(candidate: Candidate) -> pb.FailureCandidate:
    return pb.FailureCandidate(
        agent_id=candidate.agent_id,
        span_id=candidate.span_id,
        step=int32(candidate.step),
        confidence=candidate.confidence,
        reasons=candidate.reasons,
    )


def _group_to(group: FailureGroup) -> pb.FailureGroup:
    signed = group.signature
    return pb.FailureGroup(
        group_id=signed.group_id,
        title=signed.title,
        step_kind=signed.step_kind,
        step_name=signed.step_name,
        error_type=signed.error_type,
        message_template=signed.message_template,
        trace_count=int32(group.trace_count),
        share=group.share,
        agents=group.agents,
        first_seen_time=time_to(group.first_ns),
        last_seen_time=time_to(group.last_ns),
        trend=group.trend,
        cost=group.cost,
        sample_trace_ids=group.sample_trace_ids,
    )
