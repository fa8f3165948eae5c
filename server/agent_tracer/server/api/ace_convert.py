"""AceService's messages to what services take, and back. Pure."""

from collections.abc import Mapping

from agent_tracer.server.api.fields import int32, optional, time_from, time_to
from agent_tracer.server.domain.ace.comparison import VersionComparison
from agent_tracer.server.domain.ace.scores import AgentMetrics, Component, ScoringWeights
from agent_tracer.server.domain.ace.standings import Standing, TaskStanding
from agent_tracer.server.domain.paging import Page, PageRequest
from agent_tracer.server.domain.statistics.intervals import Interval
from agent_tracer.server.ports.archive import KeptBenchmark, KeptScore
from agent_tracer.server.services.agent_scores import ScoreRequest
from agent_tracer.server.services.benchmarks import BenchmarkRequest
from agent_tracer.server.services.version_comparisons import ComparisonRequest
from agent_tracer.v1 import ace_pb2 as pb


def score_from(request: pb.ScoreAgentRequest) -> ScoreRequest:
    """Raises InvalidFieldsError on a malformed end_time."""
    return ScoreRequest(
        agent_id=request.agent_id,
        period=request.period,
        end_ns=time_from("end_time", request),
        metrics=_metrics_from(request.metrics) if request.HasField("metrics") else None,
        weights=_weights_from(request.weights) if request.HasField("weights") else None,
    )


def _metrics_from(metrics: pb.AgentMetrics) -> AgentMetrics:
    return AgentMetrics(
        tasks_completed=optional(metrics, "tasks_completed"),
        tasks_successful=optional(metrics, "tasks_successful"),
        avg_duration=optional(metrics, "avg_duration"),
        coverage_achieved=optional(metrics, "coverage_achieved"),
        tests_generated=optional(metrics, "tests_generated"),
    )


def _weights_from(weights: pb.ScoringWeights) -> ScoringWeights:
    return ScoringWeights(
        quality=weights.quality_weight,
        efficiency=weights.efficiency_weight,
        reliability=weights.reliability_weight,
    )


def page_from(request: pb.ListScoresRequest | pb.ListBenchmarksRequest) -> PageRequest:
    """The page asked for."""
    return PageRequest(request.page_size, request.page_token)


def benchmark_from(request: pb.CreateBenchmarkRequest) -> BenchmarkRequest:
    """Raises InvalidFieldsError on a malformed end_time."""
    return BenchmarkRequest(
        agent_id=request.agent_id,
        tasks=[(task.type, task.count) for task in request.tasks],
        compare_against=tuple(request.compare_against),
        period=request.period,
        end_ns=time_from("end_time", request),
    )


def comparison_from(request: pb.CompareVersionsRequest) -> ComparisonRequest:
    """Raises InvalidFieldsError on a malformed end_time."""
    return ComparisonRequest(
        agent_id=request.agent_id,
        base=request.base,
        candidate=request.candidate,
        attribute=request.attribute,
        period=request.period,
        end_ns=time_from("end_time", request),
        task_type=request.task_type,
    )


def score_to(kept: KeptScore) -> pb.AgentScore:
    """Counts are cut to their fields' 32 bits."""
    score = kept.score
    return pb.AgentScore(
        agent_id=kept.agent_id,
        period=kept.period,
        overall=score.overall,
        quality=score.quality,
        efficiency=score.efficiency,
        reliability=score.reliability,
        intervals={name: _interval_to(interval) for name, interval in score.intervals.items()},
        components=map(_component_to, score.components),
        sample_size=int32(score.sample_size),
        weights=pb.ScoringWeights(
            quality_weight=score.weights.quality,
            efficiency_weight=score.weights.efficiency,
            reliability_weight=score.weights.reliability,
        ),
        caveats=score.caveats,
        create_time=time_to(kept.create_time_ns),
        score_id=kept.score_id,
    )


def scores_to(page: Page[KeptScore]) -> pb.ListScoresResponse:
    """A page of scores."""
    return pb.ListScoresResponse(scores=map(score_to, page.items), next_page_token=page.next_token)


def benchmark_to(kept: KeptBenchmark) -> pb.Benchmark:
    """`scores` and `overall_rank` are those of agent_id, absent where it has no task of these types."""
    standings = kept.benchmark.standings
    own = next((standing for standing in standings if standing.agent_id == kept.agent_id), None)
    return pb.Benchmark(
        benchmark_id=kept.benchmark_id,
        agent_id=kept.agent_id,
        scores=_scores_to(own.scores) if own else {},
        overall_rank=own.overall_rank if own else 0,
        agents=map(_standing_to, standings),
        period=kept.period,
        create_time=time_to(kept.create_time_ns),
        caveats=kept.benchmark.caveats,
    )


def benchmarks_to(page: Page[KeptBenchmark]) -> pb.ListBenchmarksResponse:
    """A page of benchmarks."""
    return pb.ListBenchmarksResponse(benchmarks=map(benchmark_to, page.items), next_page_token=page.next_token)


def comparison_to(request: pb.CompareVersionsRequest, found: VersionComparison) -> pb.VersionComparison:
    """With the names that the caller gave."""
    return pb.VersionComparison(
        agent_id=request.agent_id,
        base=request.base,
        candidate=request.candidate,
        verdict=found.verdict,
        measures=[
            pb.MeasureComparison(
                measure=measure.measure,
                base=measure.estimate.base,
                candidate=measure.estimate.candidate,
                difference=measure.estimate.difference,
                lower=measure.estimate.interval.lower,
                upper=measure.estimate.interval.upper,
                p_value=measure.estimate.p_value,
                base_count=int32(measure.estimate.base_count),
                candidate_count=int32(measure.estimate.candidate_count),
                verdict=measure.verdict,
            )
            for measure in found.measures
        ],
        caveats=found.caveats,
    )


def _component_to(component: Component) -> pb.ScoreComponent:
    return pb.ScoreComponent(
        dimension=component.dimension,
        name=component.name,
        value=component.value,
        weight=component.weight,
        sample_size=int32(component.sample_size),
        source=component.source,
    )


def _standing_to(standing: Standing) -> pb.AgentBenchmark:
    return pb.AgentBenchmark(
        agent_id=standing.agent_id,
        scores=_scores_to(standing.scores),
        overall_score=standing.overall_score,
        overall_rank=standing.overall_rank,
        rank_lower=standing.rank_lower,
        rank_upper=standing.rank_upper,
        cost_per_task=standing.cost_per_task,
        duration_per_task=standing.duration_per_task or 0.0,
        dominated=standing.dominated,
    )


def _scores_to(scores: Mapping[str, TaskStanding]) -> dict[str, pb.TaskScore]:
    return {
        name: pb.TaskScore(
            score=of.score,
            rank=of.rank,
            interval=_interval_to(of.interval),
            task_count=int32(of.task_count),
            success_count=int32(of.success_count),
            pass_k=of.pass_k,
        )
        for name, of in scores.items()
    }


def _interval_to(interval: Interval) -> pb.Interval:
    return pb.Interval(lower=interval.lower, upper=interval.upper)
