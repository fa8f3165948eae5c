"""`PhoenixTracer` and a Phoenix that answers anything: the caller gets its call back, never an exception of ours."""

import json
import math
from typing import Any

import pytest

from agent_tracer.client.telemetry import LLMCall, PhoenixTracer
from agent_tracer.client.telemetry.quality import Evaluation
from tests.fixtures.raw_http import BROKEN, OK, Raw, answer, raw_http, redirect

SECRET = "hush"  # noqa: S105 - what nobody else may get


def traced(server: Raw, **told: Any) -> LLMCall:
    """A call, with a Phoenix that takes spans."""
    server.answers["/v1/traces"] = OK
    tracer = PhoenixTracer(server.url, "p", api_key=SECRET, cost_timeout=0.1)
    call = tracer.trace_llm_call(**{"model": "gpt-4.1-mini", "prompt": "a", "response": "b", **told})
    assert isinstance(call, LLMCall)
    assert (call.text, tracer.dropped_spans) == ("b", 0)
    tracer.shutdown()
    return call


def priced(summary: str) -> bytes:
    return answer(b'{"data": {"getSpanByOtelId": {"costSummary": %s}}}' % summary.encode())


@pytest.mark.parametrize("broken", [*BROKEN, answer(b"no JSON"), answer(b"[" * 100_000), answer(b"\xff")])
def test_a_broken_answer_is_no_cost(broken: bytes) -> None:
    with raw_http(broken) as server:
        assert traced(server, coherence=0.9).cost is None
    assert any("/graphql" in head for head in server.heads)


@pytest.mark.parametrize(
    ("summary", "cost"),
    [
        ('{"total": {"cost": 0.25}}', 0.25),
        ('{"total": {"cost": 2}}', 2.0),
        ('{"total": [1]}', None),
        ('{"total": "1"}', None),
        ('{"total": {"cost": "1"}}', None),
        ('{"total": {"cost": true}}', None),
        ('{"total": {"cost": [1]}}', None),
        ('{"total": {"cost": NaN}}', None),
        ('{"total": {"cost": 1e999}}', None),
        (json.dumps({"total": {"cost": 10**400}}), None),
        ('[{"total": 1}]', None),
    ],
)
def test_only_a_number_is_a_cost(summary: str, cost: float | None) -> None:
    with raw_http(priced(summary)) as server:
        assert traced(server).cost == cost


def test_a_redirect_gets_no_key_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    with raw_http() as elsewhere, raw_http(redirect(f"{elsewhere.url}/login?key={SECRET}", 302)) as server:
        assert traced(server, coherence=0.9).cost is None
    assert elsewhere.heads == []
    assert caplog.text.count(f"a redirect to {elsewhere.url}/login?***") == 1
    assert SECRET not in caplog.text


def test_phoenix_itself_is_asked_with_the_user_of_its_address() -> None:
    with raw_http(priced('{"total": {"cost": 1}}')) as server:
        server.answers["/v1/traces"] = OK
        tracer = PhoenixTracer(f"http://me:{SECRET}@127.0.0.1:{server.port}", "p")
        assert tracer.trace_llm_call(model="m", response="r").cost == 1
        tracer.shutdown()
    assert len(server.heads) == 2
    assert all("authorization: basic bwu6ahvzaa==" in head.lower() for head in server.heads)


@pytest.mark.parametrize(
    "told",
    [
        {"latency": math.nan},
        {"latency": math.inf},
        {"latency_ms": "soon"},
        {"attributes": {1: 2, "a": 3}},
        {"coherence": Evaluation(object())},  # type: ignore[arg-type]
    ],
)
def test_what_a_caller_cannot_mean_costs_it_nothing(told: dict[str, Any]) -> None:
    with raw_http(priced('{"total": {"cost": 1}}')) as server:
        assert traced(server, **told).cost == 1
