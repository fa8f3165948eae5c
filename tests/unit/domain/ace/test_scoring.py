"""The score as a whole."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_tracer.server.domain.ace.scores import AgentMetrics, ScoringWeights
from agent_tracer.server.domain.ace.scoring import score_agent
from agent_tracer.server.domain.errors import InvalidFieldsError, NothingToScoreError
from agent_tracer.server.domain.task_sums import Moments, QualitySums, TaskSums
from tests.evaluation.ace_simulations import score_coverage
from tests.fixtures.task_sums import histories, task, tasks

JUDGED = [
    QualitySums("correct", "answer", 0, Moments.of([1.0, 1.0, 0.0, 1.0])),
    QualitySums("tone", "answer", 0, Moments.of([0.5, 0.7])),
]
GIVEN = st.builds(
    AgentMetrics,
    tasks_completed=st.just(400),
    tasks_successful=st.none() | st.integers(0, 400),
    avg_duration=st.none() | st.floats(0, 1e7),
    coverage_achieved=st.none() | st.floats(0, 100),
    tests_generated=st.none() | st.integers(0, 1000),
)
JUDGEMENTS = st.lists(
    st.builds(
        QualitySums,
        st.sampled_from(["correct", "tone", "coverage"]),
        st.just("answer"),
        st.just(0),
        st.lists(st.floats(0, 1), max_size=9).map(Moments.of),
    ),
    max_size=4,
)


def test_overall_weighs_the_dimensions() -> None:
    score = score_agent(tasks(40, 10), peers=tasks(40, 0), judged=JUDGED)
    assert score.quality is not None
    assert score.efficiency is not None
    assert score.reliability is not None
    expected = 0.4 * score.quality + 0.3 * score.efficiency + 0.3 * score.reliability
    assert score.overall == pytest.approx(expected)
    assert set(score.intervals) == {"quality", "efficiency", "reliability", "overall", "success_rate"}


def test_an_absent_dimension_passes_its_weight_to_the_others_and_is_told() -> None:
    score = score_agent(tasks(40, 10), peers=tasks(40, 0))
    assert score.quality is None
    assert score.overall == pytest.approx((score.efficiency + score.reliability) / 2)  # type: ignore[operator]
    assert any("quality is absent" in caveat for caveat in score.caveats)


def test_evaluations_weigh_by_name_and_once_where_no_weight_is_set() -> None:
    score = score_agent(tasks(5, 0), judged=JUDGED, evaluation_weights={"correct": 3.0})
    assert score.quality == pytest.approx((3 * 0.75 + 0.6) / 4)
    weights = {item.name: item.weight for item in score.components if item.dimension == "quality"}
    assert weights == {"correct": 0.75, "tone": 0.25}


def test_an_evaluation_of_weight_0_is_left_out() -> None:
    score = score_agent(tasks(5, 0), judged=JUDGED, evaluation_weights={"correct": 0.0})
    assert score.quality == pytest.approx(0.6)


def test_the_callers_coverage_takes_the_place_of_the_traced_and_tests_count() -> None:
    traced = QualitySums("coverage", "answer", 0, Moments.of([0.1] * 50), "traces")
    given = AgentMetrics(tasks_completed=20, tasks_successful=20, coverage_achieved=85.0, tests_generated=10)
    score = score_agent([], judged=[traced], metrics=given)
    figures = {item.name: (item.value, item.source) for item in score.components if item.dimension == "quality"}
    assert figures == {"coverage": (0.85, "request"), "tests": (0.5, "request")}


def test_the_callers_figures_alone_make_a_score() -> None:
    score = score_agent([], metrics=AgentMetrics(tasks_completed=150, tasks_successful=142))
    assert score.overall == pytest.approx(142 / 150)
    assert score.sample_size == 150


def test_few_tasks_are_told_with_their_number() -> None:
    assert "stands on 1 tasks" in score_agent([task()]).caveats[0]
    assert not any("stands on" in caveat for caveat in score_agent(tasks(30, 0)).caveats)


def test_all_failures_score_0_for_success_and_leave_efficiency_absent() -> None:
    score = score_agent(tasks(0, 40), peers=tasks(40, 0))
    assert score.efficiency is None
    assert score.intervals["success_rate"].lower == 0
    assert score.intervals["success_rate"].upper < 0.1


def test_nothing_to_score_is_refused_by_name() -> None:
    with pytest.raises(NothingToScoreError, match="longer period"):
        score_agent([])


def test_dimensions_with_evidence_that_weigh_nothing_leave_overall_absent() -> None:
    score = score_agent(tasks(9, 0), weights=ScoringWeights(1.0, 0.0, 0.0))
    assert score.overall is None
    assert score.reliability is not None
    assert "overall" not in score.intervals


@pytest.mark.parametrize(
    ("weights", "metrics", "field"),
    [
        (ScoringWeights(0.5, 0.5, 0.5), AgentMetrics(), "weights"),
        (ScoringWeights(1.5, -0.5, 0.0), AgentMetrics(), "weights.efficiency_weight"),
        (ScoringWeights(math.nan, 0.5, 0.5), AgentMetrics(), "weights.quality_weight"),
        (ScoringWeights(), AgentMetrics(tasks_completed=-1), "metrics.tasks_completed"),
        (ScoringWeights(), AgentMetrics(tasks_completed=1, tasks_successful=2), "metrics.tasks_successful"),
        (ScoringWeights(), AgentMetrics(tasks_successful=10), "metrics.tasks_successful"),
        (ScoringWeights(), AgentMetrics(tasks_completed=3), "metrics.tasks_completed"),
        (ScoringWeights(), AgentMetrics(coverage_achieved=100.5), "metrics.coverage_achieved"),
        (ScoringWeights(), AgentMetrics(avg_duration=math.inf), "metrics.avg_duration"),
        (ScoringWeights(), AgentMetrics(tests_generated=-3), "metrics.tests_generated"),
    ],
)
def test_wrong_fields_are_named(weights: ScoringWeights, metrics: AgentMetrics, field: str) -> None:
    with pytest.raises(InvalidFieldsError) as refused:
        score_agent(tasks(5, 1), weights=weights, metrics=metrics)
    assert field in [violation.field for violation in refused.value.violations]


@given(histories(0), histories(0), JUDGEMENTS, st.just(AgentMetrics()) | GIVEN)
def test_any_evidence_gives_scores_from_0_to_1_within_their_intervals_or_a_refusal(
    own: list[TaskSums], peers: list[TaskSums], judged: list[QualitySums], metrics: AgentMetrics
) -> None:
    try:
        score = score_agent(own, peers=peers, judged=judged, metrics=metrics)
    except NothingToScoreError:
        assert not own
        return
    for name in ("overall", "quality", "efficiency", "reliability"):
        value = getattr(score, name)
        assert (value is None) == (name not in score.intervals)
        if value is not None:
            assert 0 <= score.intervals[name].lower <= value + 1e-9
            assert value - 1e-9 <= score.intervals[name].upper <= 1


def test_intervals_cover() -> None:
    coverage = score_coverage(agents=400, seed=11)
    # 400 agents tell .95 to within 2.2 points either way (two standard errors); make eval runs 2,000.
    for name in ("success_rate", "reliability", "overall"):
        assert 0.925 <= coverage[name] <= 0.98, name
