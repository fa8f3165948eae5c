"""What a started server says at /metrics of the agents' work and of its own: exact figures, in both formats."""

import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from agent_tracer.server.limits import LABELLED_MODELS_MAX
from agent_tracer.v1 import trace_pb2
from tests.e2e.otlp import MS_NS, otlp_span, send, spans_request
from tests.e2e.talk import CALL_SECONDS, TRACES, rest, stubs, unique
from tests.fixtures.program import Program, running_program

AGENT = {"gen_ai.agent.id": "coder-1", "gen_ai.agent.type": "coder"}
CALL = {"gen_ai.operation.name": "chat", "gen_ai.usage.output_tokens": 3}
WAIT_SECONDS = 120

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Program]:
    """A server of its own, whose counters nobody else moves."""
    with running_program(tmp_path / "own") as started:
        yield started


def scrape(program: Program, accept: str = "") -> Samples:
    url = f"http://127.0.0.1:{program.metrics}/metrics"
    answer = httpx.get(url, headers={"accept": accept}, trust_env=False, timeout=CALL_SECONDS)
    assert answer.status_code == 200
    parse = parse_openmetrics if "openmetrics" in answer.headers["content-type"] else parse_text
    families = list(parse(answer.text))
    names = [family.name for family in families]
    assert len(names) == len(set(names)), "a family's samples must stand together"
    return {
        (sample.name.removeprefix("agent_tracer_"), tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def series(name: str, **labels: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    return name, tuple(sorted(labels.items()))


def scraped_when(program: Program, name: str, count: float) -> Samples:
    """The first scrape in which the series of a name add up to so much: the settler works in the background."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        samples = scrape(program)
        found = sum(value for (of, _), value in samples.items() if of == name)
        if found >= count or time.monotonic() > deadline:
            assert found == count, f"{name} is {found}"
            return samples
        time.sleep(0.2)  # a scraper's interval: nothing tells it that a figure has changed


def call(
    trace: bytes, number: int, parent: int, model: str, ms: int, *, failed: bool = False, cost: float = 0.5
) -> Span:
    attributes = {**CALL, "gen_ai.provider.name": "acme", "gen_ai.request.model": model}
    if not failed:
        attributes |= {"gen_ai.usage.input_tokens": 10, "gen_ai.usage.cost": cost}
    span = otlp_span(trace, number, parent, attributes)
    span.end_time_unix_nano = span.start_time_unix_nano + ms * MS_NS
    if failed:
        span.status.code = Status.STATUS_CODE_ERROR
    return span


def work(number: int) -> list[Span]:
    """A task with two calls of a model and one of another that fails."""
    trace = number.to_bytes(16, "big")
    return [
        otlp_span(trace, 1, 0, AGENT),
        call(trace, 2, 1, "m1", 50),
        call(trace, 3, 1, "m1", 1500),
        call(trace, 4, 1, "m2", 20_000, failed=True),
    ]


def test_counters_hold_what_was_sent_once_over_deliveries_and_restarts(own: Program) -> None:
    first = [span for number in range(1, 11) for span in work(number)]
    send(own, spans_request(*first))
    samples = scraped_when(own, "llm_requests_total", 30)
    m1, m2 = {"provider": "acme", "model": "m1"}, {"provider": "acme", "model": "m2"}
    assert samples[series("llm_requests_total", **m1, status="success")] == 20
    assert samples[series("llm_requests_total", **m2, status="error")] == 10
    assert samples[series("llm_duration_seconds_bucket", **m1, le="0.1")] == 10
    assert samples[series("llm_duration_seconds_bucket", **m1, le="2.0")] == 20
    assert samples[series("llm_duration_seconds_bucket", **m2, le="10.0")] == 0
    assert samples[series("llm_duration_seconds_bucket", **m2, le="+Inf")] == 10
    assert samples[series("llm_duration_seconds_sum", **m1)] == pytest.approx(15.5)
    assert samples[series("llm_cost_dollars", **m1)] == 10
    assert samples[series("llm_tokens_total", **m1, direction="input")] == 200
    assert samples[series("llm_tokens_total", **m1, direction="output")] == 60
    assert samples[series("agent_tasks_total", agent_type="coder", status="success")] == 10
    assert samples[series("agent_duration_seconds_count", agent_type="coder")] == 10

    send(own, spans_request(*first, *work(11)))
    samples = scraped_when(own, "llm_requests_total", 33)
    assert samples[series("agent_tasks_total", agent_type="coder", status="success")] == 11
    with rest(own) as http:
        rows = http.get(f"{TRACES}:aggregate", params=[("groupBy", "model"), ("period", "1h")]).json()["rows"]
    assert {row["group"]["model"]: int(row["count"]) for row in rows} == {"m1": 22, "m2": 11}

    own.kill()
    own.restart()
    send(own, spans_request(*first, *work(12)))
    samples = scraped_when(own, "llm_requests_total", 3)
    assert samples[series("agent_tasks_total", agent_type="coder", status="success")] == 1


def test_hostile_and_too_many_names_stay_data_and_bounded(own: Program) -> None:
    hostile = ['"} 1\nagent_tracer_fake 1', "x" * 5000, "\x00\x01", "модель"]
    names = [*hostile, *(f"m{number}" for number in range(LABELLED_MODELS_MAX + 20))]
    send(own, spans_request(*(call(b"\1" * 16, n, 0, name, 1) for n, name in enumerate(names, 1))))
    plain = scraped_when(own, "llm_requests_total", len(names))
    modern = scrape(own, "application/openmetrics-text; version=1.0.0")
    for samples in (plain, modern):
        models = {dict(labels)["model"] for name, labels in samples if name == "llm_requests_total"}
        assert len(models) == LABELLED_MODELS_MAX + 1
        assert all(len(model) <= 128 for model in models)
        assert not any(name.startswith("fake") for name, _ in samples)
        overflow = series("label_overflow_total", metric="agent_tracer_llm_requests_total")
        assert samples[overflow] == len(names) - LABELLED_MODELS_MAX


def test_a_score_is_there_without_anybody_asking(own: Program) -> None:
    send(own, spans_request(*(span for number in range(1, 6) for span in work(number))))
    deadline = time.monotonic() + WAIT_SECONDS
    wanted = series("ace_score", agent_id="coder-1", dimension="overall")
    while wanted not in (samples := scrape(own)) and time.monotonic() < deadline:
        time.sleep(0.5)  # as above
    assert 0 < samples[wanted] <= 1


def test_calls_of_the_api_are_counted_by_service_method_and_code(program: Program) -> None:
    trace = {"service": "agent_tracer.v1.TraceService", "method": "GetTrace"}
    missing = series("rpcs_total", **trace, code="NOT_FOUND")
    before = scrape(program)
    with stubs(program.target) as stub, pytest.raises(grpc.RpcError):
        stub.GetTrace(trace_pb2.GetTraceRequest(trace_id=unique("nobody")))
    with rest(program) as http:
        assert http.get(f"{TRACES}/{unique('nobody')}").status_code == 404
        assert http.get(TRACES).status_code == 200
    send(program, spans_request(otlp_span(b"\7" * 16, 1, 0)))
    after = scrape(program)
    assert after[missing] - before.get(missing, 0) == 2
    for service, method in (
        ("agent_tracer.v1.TraceService", "ListTraces"),
        ("opentelemetry.proto.collector.trace.v1.TraceService", "Export"),
    ):
        counted = series("rpcs_total", service=service, method=method, code="OK")
        assert after[counted] - before.get(counted, 0) >= 1
        assert after[series("rpc_duration_seconds_count", service=service, method=method)] >= 1
