"""What workflow optimisation suggests, against workflows whose true gain is known."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_tracer.server.domain.atlas.optimization import optimize
from agent_tracer.server.domain.atlas.queueing import erlang_c, mean_wait, queues, workers_wanted
from agent_tracer.server.domain.atlas.replay import recorded
from agent_tracer.server.domain.atlas.workflow import Change, Suggestion, WorkflowAnalysis, WorkSpan
from agent_tracer.server.domain.ids import SpanId
from tests.evaluation import atlas_workflows as made
from tests.evaluation.atlas_workflows import Recorder, Run

WITHIN = 0.1
"""What the replayed gain may differ from the true one, relative to it."""


def only(analysis: WorkflowAnalysis, change: Change) -> Suggestion:
    assert [suggestion.change for suggestion in analysis.suggestions] == [change], analysis.suggestions
    return analysis.suggestions[0]


@pytest.mark.parametrize(
    ("scenario", "change", "stage"),
    [
        (made.fan_out, Change.PARALLELIZE, "trip"),
        (made.retrying, Change.FEWER_RETRIES, "crm"),
        (made.repeating, Change.CACHE, "read_document"),
        (made.two_models, Change.SMALLER_MODEL, "chat"),
        (made.growing_prompts, Change.TRIM_CONTEXT, "chat"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_the_replayed_gain_is_the_true_one(scenario: made.Scenario, change: Change, stage: str) -> None:
    truth = made.true_gain(scenario, 300)
    found = only(optimize(scenario(300, False)), change)
    print(f"{change}: replayed {found.estimated_improvement:.4f}, true {truth:.4f}")
    assert found.stage == stage
    assert found.estimated_improvement == pytest.approx(truth, rel=WITHIN)
    assert found.lower <= found.estimated_improvement <= found.upper


def test_the_interval_of_a_model_allows_for_the_few_calls_that_it_was_seen_in() -> None:
    held = []
    for first in range(0, 30_000, 1_000):
        found = only(optimize(made.two_models(200, False, first)), Change.SMALLER_MODEL)
        held.append(found.lower <= made.true_gain(made.two_models, 200, first) <= found.upper)
    print(f"{sum(held)} of {len(held)} intervals hold the true gain")
    assert sum(held) >= 27  # fewer would be one chance in a hundred for intervals of 95 %


@pytest.mark.parametrize("workers", [1, 2])
def test_the_gain_of_more_workers_is_the_true_one(workers: int) -> None:
    runs = made.queueing(workers, workers)(600, False)
    queue = queues([recorded(run) for run in runs])["render"]
    truth = made.true_gain(made.queueing(workers, workers_wanted(queue)), 600)
    found = only(optimize(runs), Change.SCALE_OUT)
    print(f"{workers} workers, {workers_wanted(queue)} wanted: {found.estimated_improvement:.4f}, true {truth:.4f}")
    assert queue.workers == workers
    assert found.estimated_improvement == pytest.approx(truth, rel=WITHIN)


@pytest.mark.parametrize("scenario", [made.fan_out, made.retrying, made.repeating], ids=lambda s: s.__name__)
def test_nothing_is_suggested_of_a_workflow_that_has_the_change_already(scenario: made.Scenario) -> None:
    assert optimize(scenario(100, True)).suggestions == []


def test_calls_that_pass_data_on_stay_in_order() -> None:
    runs = made.fan_out(50, False)
    chained = [
        [
            replace(span, input=f"{span.input} {before.output}")
            for span, before in zip(run, [run[0], *run], strict=False)
        ]
        for run in runs
    ]
    assert optimize(chained).suggestions == []


def test_without_content_nothing_is_said_to_run_at_the_same_time() -> None:
    silent = [[replace(span, input="", output="") for span in run] for run in made.fan_out(50, False)]
    analysis = optimize(silent)
    assert analysis.suggestions == []
    assert any("without their input or output" in caveat for caveat in analysis.caveats)


def test_a_choice_between_what_was_given_is_data_passed_on() -> None:
    def run(number: int) -> Run:
        made_run = Recorder(number * 10_000.0)
        options = [f"hotel{number}{letter}" for letter in "abc"]
        made_run.then("rank", 500, kind="llm", input=" ".join(options), output=options[number % 3])
        made_run.then("details", 500, kind="tool", input=options[number % 3], output=f"row {number}")
        return made_run.done()

    assert optimize([run(number) for number in range(30)]).suggestions == []


def test_a_step_that_does_not_always_follow_may_hang_on_the_answer_before_it() -> None:
    runs = made.fan_out(50, False)
    sometimes = [[span for span in run if span.name != "weather" or at % 2] for at, run in enumerate(runs)]
    assert all("weather" not in suggestion.text for suggestion in optimize(sometimes).suggestions)


def test_writing_tools_are_neither_reordered_nor_kept() -> None:
    def run(number: int) -> Run:
        made_run = Recorder(number * 10_000.0)
        made_run.then("send_mail", 500, kind="tool", input="same", output="sent")
        made_run.then("send_mail", 500, kind="tool", input="same", output="sent")
        return made_run.done()

    assert optimize([run(number) for number in range(30)]).suggestions == []


def test_answers_that_vary_are_not_kept() -> None:
    def run(number: int) -> Run:
        made_run = Recorder(number * 10_000.0)
        made_run.then("get_time", 500, kind="tool", input="utc", output=f"{number}.1")
        made_run.then("get_time", 500, kind="tool", input="utc", output=f"{number}.2")
        return made_run.done()

    assert all(one.change is not Change.CACHE for one in optimize([run(number) for number in range(30)]).suggestions)


def test_a_call_that_needs_an_early_result_only_can_start_earlier() -> None:
    def run(number: int) -> Run:
        made_run = Recorder(number * 10_000.0)
        made_run.then("plan", 100, kind="llm", input="go", output=f"alpha{number} beta{number}")
        made_run.then("find_first", 400, kind="tool", input=f"alpha{number}", output=f"first{number}")
        made_run.then("summarize", 300, kind="llm", input=f"first{number}", output=f"short{number}")
        made_run.then("find_second", 350, kind="tool", input=f"beta{number}", output=f"second{number}")
        made_run.then("answer", 100, kind="llm", input=f"short{number} second{number}", output="end")
        return made_run.done()

    found = only(optimize([run(number) for number in range(20)]), Change.EARLIER_START)
    assert found.stage == "find_second"
    assert found.estimated_improvement == pytest.approx(350 / 1250)


def test_a_model_that_fails_more_often_is_not_suggested() -> None:
    runs = made.two_models(300, False)
    failing = [
        [replace(span, status="error" if span.model == "small-1" and at % 4 == 0 else "ok") for span in run]
        for at, run in enumerate(runs)
    ]
    assert optimize(failing).suggestions == []


def test_the_estimate_replays_all_changes_together() -> None:
    analysis = optimize([*made.retrying(100, False), *made.fan_out(100, False)])
    gains = [suggestion.estimated_improvement for suggestion in analysis.suggestions]
    assert len(gains) == 2
    assert analysis.estimated_improvement == pytest.approx(sum(gains))  # of different runs, so nothing overlaps


def test_what_calls_left_out_cost_is_saved() -> None:
    runs = made.retrying(200, False)
    failed = sum(span.failed for run in runs for span in run)
    assert only(optimize(runs), Change.FEWER_RETRIES).cost_change == pytest.approx(-0.001 * failed / 200)


def test_bottlenecks_are_ranked_by_their_share_of_the_critical_path() -> None:
    analysis = optimize(made.queueing(1, 1)(300, False))
    first = analysis.bottlenecks[0]
    shares = [found.critical_share for found in analysis.bottlenecks]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1, abs=0.02)
    assert {found.stage for found in analysis.bottlenecks} == {"render", "trip", "chat", "answer"}
    render = next(found for found in analysis.bottlenecks if found.stage == "render")
    assert render.queue_share > 0.3
    assert "workers" in render.recommendation
    assert first.span_count == 300


def test_no_traces_give_an_answer_that_says_so() -> None:
    analysis = optimize([[], []])
    assert (analysis.trace_count, analysis.estimated_improvement) == (0, 0.0)
    assert analysis.caveats


def test_one_trace_of_no_duration_is_no_error() -> None:
    assert optimize([Recorder(0.0).done()]).avg_duration == 0


@pytest.mark.parametrize(
    ("workers", "load", "probability"),
    # Erlang C tables: Gross, Shortle, Thompson, Harris; c = 1 is the load itself, c = 2 is 2 rho^2 / (1 + rho).
    [(1, 0.5, 0.5), (2, 1.0, 1 / 3), (2, 1.6, 2 * 0.64 / 1.8), (5, 4.0, 0.5541), (10, 8.0, 0.4092)],
)
def test_erlangs_c_gives_the_published_probabilities(workers: int, load: float, probability: float) -> None:
    assert erlang_c(workers, load) == pytest.approx(probability, abs=1e-4)


def test_a_queue_that_grows_for_ever_has_no_mean_wait() -> None:
    assert mean_wait(2, 2.0) == float("inf")


@st.composite
def any_traces(draw: st.DrawFn) -> list[Run]:
    def span(number: int, count: int) -> WorkSpan:
        start = draw(st.integers(0, 50))
        parent = draw(st.one_of(st.none(), st.integers(0, count)))
        return WorkSpan(
            SpanId(bytes([number])),
            None if parent is None else SpanId(bytes([parent])),
            start,
            start + draw(st.integers(-2, 40)),
            draw(st.sampled_from(["a", "b", "c"])),
            kind=draw(st.sampled_from(["llm", "tool", "agent"])),
            status=draw(st.sampled_from(["ok", "error"])),
            model=draw(st.sampled_from(["", "m", "n"])),
            input=draw(st.sampled_from(["", "x", "y z"])),
            output=draw(st.sampled_from(["", "x", "w"])),
        )

    counts = draw(st.lists(st.integers(1, 8), max_size=6))
    return [[span(number, count) for number in range(count)] for count in counts]


@settings(deadline=None, max_examples=60)
@given(any_traces())
def test_any_traces_have_an_answer_whose_shares_are_shares(traces: list[Run]) -> None:
    analysis = optimize(traces)
    shares = [analysis.estimated_improvement, *(s.estimated_improvement for s in analysis.suggestions)]
    assert all(0 <= share <= 1 for share in shares)
    assert sum(found.critical_share for found in analysis.bottlenecks) <= 1 + 1e-9
    assert all(s.lower <= s.estimated_improvement <= s.upper for s in analysis.suggestions)


def test_the_same_traces_give_the_same_answer() -> None:
    assert optimize(made.retrying(50, False)) == optimize(made.retrying(50, False))
