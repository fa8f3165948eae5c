"""AtlasService's messages to what services take, and back. Pure."""

from collections.abc import Sequence

from agent_tracer.server.api.fields import int32, time_from, time_to
from agent_tracer.server.domain.atlas.change_points import ChangePoint
from agent_tracer.server.domain.atlas.critical_path import CriticalPath
from agent_tracer.server.domain.atlas.learning import LearningPoint
from agent_tracer.server.domain.atlas.trends import Trend
from agent_tracer.server.domain.atlas.windows import TaskWindow
from agent_tracer.server.domain.atlas.workflow import Bottleneck, Suggestion, WorkSpan
from agent_tracer.server.domain.checks import NS_PER_MS
from agent_tracer.server.services.learning import Learning, LearningRequest
from agent_tracer.server.services.similar_traces import SimilarRequest, SimilarTrace
from agent_tracer.server.services.workflows import Optimization, OptimizationRequest
from agent_tracer.v1 import atlas_pb2 as pb


def learning_from(request: pb.AnalyzeLearningRequest) -> LearningRequest:
    """Raises InvalidFieldsError on a malformed end_time."""
    return LearningRequest(request.agent_id, request.period, request.task_type, time_from("end_time", request))


def optimization_from(request: pb.OptimizeWorkflowRequest) -> OptimizationRequest:
    """Raises InvalidFieldsError on a malformed end_time."""
    return OptimizationRequest(request.workflow_id, request.period, time_from("end_time", request))


def learning_to(agent_id: str, learning: Learning) -> pb.LearningAnalysis:
    """Counts are cut to their fields' 32 bits."""
    result = learning.result
    return pb.LearningAnalysis(
        agent_id=agent_id,
        period=learning.period,
        improvement_rate=result.improvement_rate,
        tasks=pb.TaskWindows(initial=_window_to(result.initial), current=_window_to(result.current)),
        insights=result.insights,
        verdict=result.verdict,
        duration_trend=_trend_to(result.duration_trend),
        success_trend=_trend_to(result.success_trend),
        cost_trend=_trend_to(result.cost_trend),
        curve=map(_point_to, result.curve),
        change_points=map(_change_to, result.change_points),
        resource_utilization=_utilization_to(learning),
        caveats=result.caveats,
    )


def optimization_to(workflow_id: str, optimization: Optimization) -> pb.WorkflowOptimization:
    """Durations in milliseconds."""
    analysis = optimization.analysis
    return pb.WorkflowOptimization(
        workflow_id=workflow_id,
        period=optimization.period,
        bottlenecks=map(_bottleneck_to, analysis.bottlenecks),
        estimated_improvement=analysis.estimated_improvement,
        suggested_changes=analysis.suggested_changes,
        suggestions=map(_suggestion_to, analysis.suggestions),
        trace_count=int32(analysis.trace_count),
        avg_duration=analysis.avg_duration,
        caveats=analysis.caveats,
    )


def critical_path_to(trace_id: str, path: CriticalPath[WorkSpan]) -> pb.CriticalPath:
    """Segments of no duration are left out."""
    return pb.CriticalPath(
        trace_id=trace_id,
        segments=_segments_to(path),
        duration=path.duration_ns / NS_PER_MS,
    )


def similar_from(request: pb.FindSimilarTracesRequest) -> SimilarRequest:
    """As the caller wrote it."""
    return SimilarRequest(request.trace_id, request.limit, request.status, request.period)


def similar_to(found: Sequence[SimilarTrace]) -> pb.FindSimilarTracesResponse:
    """The most similar first."""
    return pb.FindSimilarTracesResponse(
        traces=[
            pb.SimilarTrace(
                id=trace.trace_id,
                similarity=trace.similarity,
                agent_id=trace.agent_id,
                operation=trace.operation,
                status=trace.status,
                start_time=time_to(trace.start_ns),
            )
            for trace in found
        ]
    )


def _segments_to(path: CriticalPath[WorkSpan]) -> Sequence[pb.PathSegment]:
    return [
        pb.PathSegment(
            span_id=segment.span.span_id.hex() if segment.span else "",
            name=segment.span.name if segment.span else "",
            service=segment.span.service if segment.span else "",
            agent_id=segment.agent_id,
            start_time=time_to(segment.start_ns),
            duration=segment.duration_ns / NS_PER_MS,
        )
        for segment in path.segments
        if segment.duration_ns
    ]


def _window_to(window: TaskWindow | None) -> pb.TaskWindow | None:
    if window is None:
        return None
    return pb.TaskWindow(
        avg_duration=window.avg_duration,
        success_rate=window.success_rate,
        task_count=int32(window.task_count),
        avg_cost=window.avg_cost,
        start_time=time_to(window.start_ns),
        end_time=time_to(window.end_ns),
    )


def _trend_to(trend: Trend | None) -> pb.Trend | None:
    if trend is None:
        return None
    return pb.Trend(
        slope_per_day=trend.slope_per_day,
        slope_lower=trend.slope_lower,
        slope_upper=trend.slope_upper,
        p_value=trend.p_value,
        direction=trend.direction,
        sample_size=int32(trend.sample_size),
    )


def _point_to(point: LearningPoint) -> pb.LearningPoint:
    return pb.LearningPoint(
        bucket_start=time_to(point.bucket_start_ns),
        task_count=int32(point.task_count),
        avg_duration=point.avg_duration,
        success_rate=point.success_rate,
        success_lower=point.success_lower,
        success_upper=point.success_upper,
        avg_cost=point.avg_cost,
    )


def _change_to(change: ChangePoint) -> pb.ChangePoint:
    return pb.ChangePoint(
        time=time_to(change.time_ns),
        measure=change.measure,
        before=change.before,
        after=change.after,
        p_value=change.p_value,
        coincident_changes=change.coincident_changes,
    )


def _utilization_to(learning: Learning) -> pb.ResourceUtilization:
    usage = learning.usage
    return pb.ResourceUtilization(
        llm_calls=usage.calls,
        tool_calls=usage.tool_calls,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cost=usage.cost,
        busy_share=learning.busy_share,
        peak_concurrency=usage.peak,
        metrics=usage.metrics,
    )


def _bottleneck_to(bottleneck: Bottleneck) -> pb.Bottleneck:
    return pb.Bottleneck(
        stage=bottleneck.stage,
        avg_duration=bottleneck.avg_duration,
        recommendation=bottleneck.recommendation,
        critical_share=bottleneck.critical_share,
        span_count=int32(bottleneck.span_count),
        queue_share=bottleneck.queue_share,
        error_rate=bottleneck.error_rate,
    )


def _suggestion_to(suggestion: Suggestion) -> pb.Suggestion:
    return pb.Suggestion(
        change=suggestion.change,
        stage=suggestion.stage,
        text=suggestion.text,
        estimated_improvement=suggestion.estimated_improvement,
        lower=suggestion.lower,
        upper=suggestion.upper,
        cost_change=suggestion.cost_change,
    )
