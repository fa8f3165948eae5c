"""Series of calls and tasks: bounded in number and length, whatever names telemetry has; and those of the API's calls."""

import time
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from agent_tracer.server.adapters.rpc_metrics import PrometheusRpcs
from agent_tracer.server.adapters.work_metrics import PrometheusWork
from agent_tracer.server.limits import (
    LABEL_LENGTH_MAX,
    LABELLED_AGENT_TYPES_MAX,
    LABELLED_MODELS_MAX,
    UNCERTAIN_TASKS_MAX,
)
from agent_tracer.server.ports.work_counts import (
    CALL_SECONDS,
    TASK_SECONDS,
    CallGroup,
    Durations,
    SeenTask,
    SeenTrace,
    SettledWork,
    TaskGroup,
)
from agent_tracer.server.services.work_counts import WorkCounts

CALLS = CallGroup("acme", "m", "success", Durations(2, 1.5, [0, 1, 1, 2, 2, 2]), 10, 5, 0.5)
TASKS = TaskGroup("coder", "success", Durations(1, 3.0, [int(bound >= 3) for bound in TASK_SECONDS]))


class Scraped:
    """Metrics in a registry of their own."""

    def __init__(self) -> None:
        self.work = PrometheusWork()
        self.registry = CollectorRegistry()
        self.registry.register(self.work)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"agent_tracer_{name}", labels)

    def labels(self, name: str, label: str) -> set[str]:
        return {
            sample.labels[label]
            for family in self.registry.collect()
            for sample in family.samples
            if sample.name == f"agent_tracer_{name}"
        }


@pytest.fixture
def scraped() -> Scraped:
    return Scraped()


def test_groups_add_up(scraped: Scraped) -> None:
    scraped.work.called(CALLS)
    scraped.work.called(CALLS)
    scraped.work.called(replace(CALLS, status="error", cost=None, durations=Durations(1, 60.0, [0] * 6)))
    by = {"provider": "acme", "model": "m"}
    assert scraped.value("llm_requests_total", **by, status="success") == 4
    assert scraped.value("llm_requests_total", **by, status="error") == 1
    buckets = [scraped.value("llm_duration_seconds_bucket", **by, le=str(bound)) for bound in CALL_SECONDS]
    assert buckets == [0, 2, 2, 4, 4, 4]
    assert scraped.value("llm_duration_seconds_bucket", **by, le="+Inf") == 5
    assert scraped.value("llm_duration_seconds_sum", **by) == 63
    assert scraped.value("llm_cost_dollars", **by) == 1


def test_models_past_the_bound_are_one_series_and_are_counted(scraped: Scraped) -> None:
    for number in range(LABELLED_MODELS_MAX + 5):
        scraped.work.called(replace(CALLS, model=f"m{number}"))
    scraped.work.called(replace(CALLS, model="m0"))
    assert len(scraped.labels("llm_requests_total", "model")) == LABELLED_MODELS_MAX + 1
    assert scraped.value("llm_requests_total", provider="other", model="other", status="success") == 10
    assert scraped.value("llm_requests_total", provider="acme", model="m0", status="success") == 4
    assert scraped.value("label_overflow_total", metric="agent_tracer_llm_requests_total") == 10
    assert scraped.value("label_overflow_total", metric="agent_tracer_agent_tasks_total") == 0


def test_types_of_agents_past_the_bound_are_one_series_and_are_counted(scraped: Scraped) -> None:
    for number in range(LABELLED_AGENT_TYPES_MAX + 3):
        scraped.work.worked(replace(TASKS, agent_type=f"t{number}"))
    assert len(scraped.labels("agent_tasks_total", "agent_type")) == LABELLED_AGENT_TYPES_MAX + 1
    assert scraped.value("agent_tasks_total", agent_type="other", status="success") == 3
    assert scraped.value("label_overflow_total", metric="agent_tracer_agent_tasks_total") == 3


@pytest.mark.parametrize(
    "sent",
    [
        'a"} 1\nagent_tracer_up 1',
        "back\\slash",
        "tab\tnull\0",
        "\u2028\u202e",
        "x" * 10_000,
        "é" * 200,
        "日本語 モデル",
    ],
)
def test_hostile_names_are_data_in_both_formats(scraped: Scraped, sent: str) -> None:
    scraped.work.called(replace(CALLS, model=sent))
    (model,) = scraped.labels("llm_requests_total", "model")
    assert len(model) <= LABEL_LENGTH_MAX
    assert model.isprintable()
    for families in (
        parse_text(generate_latest(scraped.registry).decode()),
        parse_openmetrics(generate_openmetrics(scraped.registry).decode()),  # type: ignore[no-untyped-call]
    ):
        samples = [s for family in families for s in family.samples if s.name == "agent_tracer_llm_requests_total"]
        assert [(s.labels["model"], s.value) for s in samples] == [(model, 2)]


@pytest.mark.parametrize("sent", ["", "  ", "\t"])
def test_an_empty_name_is_unknown(scraped: Scraped, sent: str) -> None:
    scraped.work.worked(replace(TASKS, agent_type=sent))
    assert scraped.labels("agent_tasks_total", "agent_type") == {"unknown"}


def test_a_scrape_at_the_bounds_is_quick(scraped: Scraped) -> None:
    for number in range(LABELLED_MODELS_MAX + 1):
        for status in ("success", "error", "timeout"):
            scraped.work.called(replace(CALLS, model=f"model-{number}", status=status))
    for number in range(LABELLED_AGENT_TYPES_MAX + 1):
        scraped.work.worked(replace(TASKS, agent_type=f"type-{number}"))
    took = []
    for _ in range(5):
        began = time.thread_time()
        generate_latest(scraped.registry)
        took.append(time.thread_time() - began)
    assert min(took) < 0.1, "a tenth of a second of a core, which the event loop is held up for"


def test_calls_of_the_api_are_counted_by_method_and_code() -> None:
    registry = CollectorRegistry()
    rpcs = PrometheusRpcs(registry)
    for code, seconds in (("OK", 0.003), ("OK", 0.2), ("NOT_FOUND", 0.001)):
        rpcs("/agent_tracer.v1.TraceService/GetTrace", code, seconds)
    of = {"service": "agent_tracer.v1.TraceService", "method": "GetTrace"}
    assert registry.get_sample_value("agent_tracer_rpcs_total", {**of, "code": "OK"}) == 2
    assert registry.get_sample_value("agent_tracer_rpcs_total", {**of, "code": "NOT_FOUND"}) == 1
    assert registry.get_sample_value("agent_tracer_rpc_duration_seconds_bucket", {**of, "le": "0.005"}) == 2
    assert registry.get_sample_value("agent_tracer_rpc_duration_seconds_count", of) == 3


def test_too_many_tasks_that_wait_are_counted_before_their_time(scraped: Scraped) -> None:
    counts = WorkCounts(scraped.work, lambda: 0.0)
    waiting = [
        SeenTask(n.to_bytes(8, "big"), is_certain=False, is_known=False, agent_type="a", status="success", seconds=1)
        for n in range(UNCERTAIN_TASKS_MAX)
    ]
    counts.settled(SettledWork(traces=[SeenTrace(b"first", waiting[:10])]))
    counts.settled(SettledWork(traces=[SeenTrace(b"second", waiting[:-10])]))
    assert scraped.value("agent_tasks_total", agent_type="a", status="success") is None
    counts.settled(SettledWork(traces=[SeenTrace(b"third", waiting[:1])]))
    assert scraped.value("agent_tasks_total", agent_type="a", status="success") == 10
