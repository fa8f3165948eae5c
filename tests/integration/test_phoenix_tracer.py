"""`PhoenixTracer`: what comes back is what Phoenix itself shows; a Phoenix that is down costs nothing but the figure."""

import json
import math
import time
from types import SimpleNamespace
from typing import Any

import pytest

from agent_tracer.client.telemetry import LLMCall, PhoenixTracer
from tests.e2e.talk import unique
from tests.fixtures.program import free_ports
from tests.servers.child import eventually
from tests.servers.phoenix import Phoenix

SECONDS_MAX = 60
"""Longer than a busy machine takes for anything here."""
QUERY = """query ($id: String!) { getSpanByOtelId(spanId: $id) {
  name spanKind latencyMs tokenCountTotal attributes statusCode input { value } output { value }
  trace { traceId } project { name } costSummary { total { cost } }
  spanAnnotations { name score label explanation annotatorKind } } }"""


def shown(phoenix: Phoenix, call: LLMCall, annotations: int = 0) -> dict[str, Any]:
    """A span as Phoenix shows it, once it has all of its annotations."""

    def look() -> dict[str, Any]:
        span = phoenix.graphql(QUERY, id=call.span_id)["getSpanByOtelId"]
        return span if span and len(span["spanAnnotations"]) >= annotations else {}

    return eventually(look, SECONDS_MAX)


def answer(model: str = "gpt-4.1-mini", text: str = "Within 30 days.") -> SimpleNamespace:
    return SimpleNamespace(
        model=model,
        choices=[SimpleNamespace(message=SimpleNamespace(content=text))],
        usage=SimpleNamespace(prompt_tokens=1200, completion_tokens=340),
    )


@pytest.mark.servers
def test_given_values_are_what_phoenix_shows(phoenix: Phoenix) -> None:
    project = unique("llm-agents")
    tracer = PhoenixTracer(phoenix.url, project, cost_timeout=SECONDS_MAX)
    call = tracer.trace_llm_call(
        model="gpt-4.1-mini",
        messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "The refund policy?"}],
        response="Within 30 days.",
        usage={"prompt_tokens": 1200, "completion_tokens": 340},
        latency=0.25,
        coherence=lambda prompt, _: 0.9 if "refund" in prompt else 0.0,
        relevance=lambda _: {"score": 0.8, "label": "relevant", "explanation": "on topic", "kind": "LLM"},
    )
    span = shown(phoenix, call, annotations=2)
    assert (span["trace"]["traceId"], span["project"]["name"], span["spanKind"]) == (call.trace_id, project, "llm")
    assert span["costSummary"]["total"]["cost"] == call.cost
    assert call.cost is not None
    assert call.cost > 0
    assert span["tokenCountTotal"] == call.tokens["total"] == 1540
    assert math.isclose(span["latencyMs"], call.latency_ms, abs_tol=1)
    assert (span["input"]["value"], span["output"]["value"]) == (
        json.dumps([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "The refund policy?"}]),
        "Within 30 days.",
    )
    assert json.loads(span["attributes"])["llm"]["model_name"] == "gpt-4.1-mini" == call.model
    assert (call.quality.coherence, call["quality"]["relevance"]) == (0.9, 0.8)
    told = {one["name"]: one for one in span["spanAnnotations"]}
    assert told["coherence"]["score"] == 0.9
    assert (told["relevance"]["label"], told["relevance"]["annotatorKind"]) == ("relevant", "LLM")
    assert tracer.dropped_spans == 0
    tracer.shutdown()


@pytest.mark.servers
async def test_calls_that_it_makes_sync_and_async(phoenix: Phoenix) -> None:
    tracer = PhoenixTracer(endpoint=f"{phoenix.url}/v1/traces", project_name=unique("calls"), cost_timeout=SECONDS_MAX)

    def create(*, model: str, messages: list[Any]) -> SimpleNamespace:
        time.sleep(0.02)
        return answer(model)

    async def acreate(prompt: str) -> SimpleNamespace:
        return answer("gpt-4o", prompt)

    one = tracer.trace_llm_call(create, model="gpt-4.1-mini", messages=[{"role": "user", "content": "Hi"}])
    two = await tracer.trace_llm_call(acreate, "echoed", model="not passed on")
    assert (one.usage.input_tokens, one.usage.output_tokens, one.response.model) == (1200, 340, "gpt-4.1-mini")
    assert 0.02 <= one.latency < SECONDS_MAX
    assert (two.model, two.text) == ("gpt-4o", "echoed")
    for call in (one, two):
        assert shown(phoenix, call)["costSummary"]["total"]["cost"] == call.cost
        assert call.quality.coherence is None
    tracer.shutdown()


@pytest.mark.servers
def test_a_model_without_a_price_has_no_cost(phoenix: Phoenix) -> None:
    tracer = PhoenixTracer(phoenix.url, unique("unpriced"))
    call = tracer.trace_llm_call("our-own-model", "Hi", "Hello", usage={"input_tokens": 1, "output_tokens": 1})
    assert (call.cost, call.text) == (None, "Hello")
    nothing_told = tracer.trace_llm_call(model="gpt-4.1-mini", response="x")
    assert (nothing_told.usage, nothing_told.cost) == (None, None)
    tracer.shutdown()


@pytest.mark.servers
def test_a_call_that_fails_is_an_error_there_and_raised_here(phoenix: Phoenix) -> None:
    project = unique("failing")
    tracer = PhoenixTracer(phoenix.url, project)
    raised = RuntimeError("over quota")

    def failing() -> None:
        raise raised

    with pytest.raises(RuntimeError) as caught:
        tracer.trace_llm_call(failing, model="gpt-4.1-mini", prompt="Hi")
    assert caught.value is raised
    assert tracer.flush(SECONDS_MAX)
    (span,) = phoenix.spans(project)
    assert (span["status_code"], span["attributes"]["llm.model_name"]) == ("ERROR", "gpt-4.1-mini")
    tracer.shutdown()


def test_a_phoenix_that_is_down_costs_no_error() -> None:
    tracer = PhoenixTracer(f"http://127.0.0.1:{free_ports(1)[0]}", "llm-agents")
    began = time.monotonic()
    call = tracer.trace_llm_call(answer, coherence=0.5)
    tracer.shutdown()
    assert (call.cost, call.text, call.quality.coherence) == (None, "Within 30 days.", 0.5)
    assert len(call.trace_id) == 32
    assert tracer.dropped_spans == 1
    assert time.monotonic() - began < SECONDS_MAX


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://localhost:6006",
        "http://localhost:6006/",
        "http://localhost:6006/v1/traces",
        "localhost:6006",
        "localhost:4317",
    ],
)
def test_every_form_of_the_address_is_the_same(endpoint: str) -> None:
    tracer = PhoenixTracer(endpoint, "llm-agents")
    assert (tracer.endpoint, tracer.project) == ("http://localhost:6006", "llm-agents")
    tracer.shutdown()
