"""Between the protos and the domain. No rules here but those of the encodings themselves."""

from collections.abc import Sequence
from typing import TypeAlias

from agent_tracer.server.api.fields import int32, time_from, time_to
from agent_tracer.server.api.structs import attributes_from, struct_to
from agent_tracer.server.domain.checks import NS_PER_MS
from agent_tracer.server.domain.conditions import AggregateConditions, TimeWindow, TraceConditions
from agent_tracer.server.domain.evaluations import EvaluationDraft
from agent_tracer.server.domain.ids import AgentId, TraceId
from agent_tracer.server.domain.paging import Page, PageRequest
from agent_tracer.server.domain.telemetry import (
    Agent,
    AggregateRow,
    Evaluation,
    Span,
    SpanEvent,
    SpanLink,
    TokenUsage,
    Trace,
)
from agent_tracer.server.domain.trace_records import TraceRecord
from agent_tracer.server.services.trace_export import ExportConditions
from agent_tracer.server.services.trace_watch import WatchConditions
from agent_tracer.v1 import trace_pb2 as pb

_Windowed: TypeAlias = pb.ListTracesRequest | pb.AggregateTracesRequest | pb.ExportTracesRequest


def record_from(request: pb.CreateTraceRequest) -> TraceRecord:
    """Raises InvalidFieldsError on a malformed start_time."""
    return TraceRecord(
        trace_id=TraceId(request.trace_id),
        agent_id=AgentId(request.agent_id),
        operation=request.operation,
        duration_ms=request.duration,
        status=request.status,
        metadata=attributes_from(request.metadata),
        start_ns=time_from("start_time", request),
        workflow_id=request.workflow_id,
        session_id=request.session_id,
        task_type=request.task_type,
    )


def conditions_from(request: pb.ListTracesRequest) -> TraceConditions:
    """Raises InvalidFieldsError on malformed times."""
    return TraceConditions(
        agent_id=request.agent_id,
        status=request.status,
        operation=request.operation,
        workflow_id=request.workflow_id,
        session_id=request.session_id,
        service=request.service,
        model=request.model,
        window=_window_from(request),
        min_duration_ms=request.min_duration if request.HasField("min_duration") else None,
        min_cost=request.min_cost if request.HasField("min_cost") else None,
        text=request.text,
        attributes=tuple(request.attributes),
    )


def aggregate_from(request: pb.AggregateTracesRequest) -> AggregateConditions:
    """Raises InvalidFieldsError on malformed times."""
    return AggregateConditions(
        group_by=tuple(request.group_by),
        window=_window_from(request),
        interval=request.interval,
        agent_id=request.agent_id,
        service=request.service,
    )


def export_from(request: pb.ExportTracesRequest) -> ExportConditions:
    """Raises InvalidFieldsError on malformed times."""
    return ExportConditions(trace_ids=tuple(request.trace_ids), window=_window_from(request))


def watch_from(request: pb.WatchTracesRequest) -> WatchConditions:
    """WatchTraces' filters."""
    return WatchConditions(agent_id=request.agent_id, status=request.status)


def page_from(request: pb.ListTracesRequest | pb.ListSpansRequest | pb.ListAgentsRequest) -> PageRequest:
    """The page asked for."""
    return PageRequest(request.page_size, request.page_token)


def draft_from(evaluation: pb.Evaluation) -> EvaluationDraft:
    """An evaluation as the caller wrote it; create_time is the server's."""
    return EvaluationDraft(
        name=evaluation.name,
        score=evaluation.score if evaluation.HasField("score") else None,
        label=evaluation.label,
        explanation=evaluation.explanation,
        annotator=evaluation.annotator,
        span_id=evaluation.span_id,
        evaluation_id=evaluation.evaluation_id,
        trace_id=evaluation.trace_id,
    )


def trace_to(trace: Trace) -> pb.Trace:
    """Duration in ms; counts are cut to their fields' 32 bits."""
    return pb.Trace(
        trace_id=trace.trace_id,
        agent_id=trace.agent_id,
        operation=trace.operation,
        duration=(trace.end_ns - trace.start_ns) / NS_PER_MS,
        status=trace.status,
        metadata=struct_to(trace.metadata),
        start_time=time_to(trace.start_ns),
        end_time=time_to(trace.end_ns),
        otel_trace_id=trace.otel_trace_id.hex(),
        workflow_id=trace.workflow_id,
        session_id=trace.session_id,
        task_type=trace.task_type,
        span_count=int32(trace.span_count),
        error_count=int32(trace.error_count),
        agents=trace.agents,
        services=trace.services,
        usage=_usage_to(trace.usage),
        cost=trace.cost,
        evaluations=map(evaluation_to, trace.evaluations),
        spans=map(span_to, trace.spans),
    )


def span_to(span: Span) -> pb.Span:
    """Ids as lower-case hex digits."""
    return pb.Span(
        span_id=span.span_id.hex(),
        parent_span_id=span.parent_id.hex() if span.parent_id else "",
        name=span.name,
        kind=span.kind,
        start_time=time_to(span.start_ns),
        duration=span.duration_ns / NS_PER_MS,
        status=span.status,
        status_message=span.status_message,
        service=span.service,
        agent_id=span.agent_id,
        model=span.model,
        provider=span.provider,
        tool_name=span.tool_name,
        usage=_usage_to(span.usage),
        cost=span.cost,
        attributes=struct_to(span.attributes),
        events=map(_event_to, span.events),
        links=map(_link_to, span.links),
        depth=int32(span.depth),
        input=span.input,
        output=span.output,
    )


def evaluation_to(evaluation: Evaluation) -> pb.Evaluation:
    """An absent score stays absent."""
    return pb.Evaluation(
        evaluation_id=evaluation.evaluation_id,
        trace_id=evaluation.trace_id,
        span_id=evaluation.span_id.hex() if evaluation.span_id else "",
        name=evaluation.name,
        score=evaluation.score,
        label=evaluation.label,
        explanation=evaluation.explanation,
        annotator=evaluation.annotator,
        create_time=time_to(evaluation.create_time_ns),
    )


def traces_to(page: Page[Trace]) -> pb.ListTracesResponse:
    """A page of ListTraces."""
    return pb.ListTracesResponse(traces=map(trace_to, page.items), next_page_token=page.next_token)


def spans_to(page: Page[Span]) -> pb.ListSpansResponse:
    """A page of ListSpans."""
    return pb.ListSpansResponse(spans=map(span_to, page.items), next_page_token=page.next_token)


def agents_to(page: Page[Agent]) -> pb.ListAgentsResponse:
    """A page of ListAgents."""
    return pb.ListAgentsResponse(agents=map(_agent_to, page.items), next_page_token=page.next_token)


def aggregate_to(rows: Sequence[AggregateRow]) -> pb.AggregateTracesResponse:
    """Rows in the order given."""
    return pb.AggregateTracesResponse(rows=map(_row_to, rows))


def _window_from(request: _Windowed) -> TimeWindow:
    return TimeWindow(
        period=request.period,
        start_ns=time_from("start_time", request),
        end_ns=time_from("end_time", request),
    )


def _event_to(event: SpanEvent) -> pb.SpanEvent:
    attributes = struct_to(event.attributes)
    return pb.SpanEvent(name=event.name, time=time_to(event.time_ns), attributes=attributes)


def _link_to(link: SpanLink) -> pb.SpanLink:
    attributes = struct_to(link.attributes)
    return pb.SpanLink(trace_id=link.trace_id.hex(), span_id=link.span_id.hex(), attributes=attributes)


def _usage_to(usage: TokenUsage) -> pb.TokenUsage:
    return pb.TokenUsage(
        input_tokens=int32(usage.input),
        output_tokens=int32(usage.output),
        total_tokens=int32(usage.total),
        cache_read_tokens=int32(usage.cache_read),
        cache_creation_tokens=int32(usage.cache_creation),
        reasoning_tokens=int32(usage.reasoning),
    )


def _totals_to(usage: TokenUsage) -> pb.TokenTotals:
    return pb.TokenTotals(
        input_tokens=usage.input,
        output_tokens=usage.output,
        total_tokens=usage.total,
        cache_read_tokens=usage.cache_read,
        cache_creation_tokens=usage.cache_creation,
        reasoning_tokens=usage.reasoning,
    )


def _agent_to(agent: Agent) -> pb.Agent:
    return pb.Agent(
        agent_id=agent.agent_id,
        name=agent.name,
        agent_type=agent.agent_type,
        version=agent.version,
        trace_count=int32(agent.trace_count),
        error_count=int32(agent.error_count),
        last_seen_time=time_to(agent.last_seen_ns),
        cost=agent.cost,
    )


def _row_to(row: AggregateRow) -> pb.AggregateRow:
    return pb.AggregateRow(
        group=row.group,
        bucket_start=time_to(row.bucket_start_ns),
        count=row.count,
        error_count=row.error_count,
        duration_p50=row.duration_p50_ms,
        duration_p95=row.duration_p95_ms,
        duration_p99=row.duration_p99_ms,
        usage=_totals_to(row.usage),
        cost=row.cost,
        unpriced_count=row.unpriced_count,
    )
