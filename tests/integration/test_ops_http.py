"""What operators and their tools read: metrics, health, readiness."""

from collections.abc import AsyncIterator

import httpx
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from agent_tracer.server.adapters.prometheus import PrometheusMetrics
from agent_tracer.server.api.http import ops_app
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.services.health import Readiness


class Setup:
    def __init__(self) -> None:
        registry = CollectorRegistry()
        self.metrics = PrometheusMetrics(registry)
        self.readiness = Readiness()
        transport = httpx.ASGITransport(ops_app(registry, self.readiness))
        self.client = httpx.AsyncClient(transport=transport, base_url="http://ops")


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    setup = Setup()
    async with setup.client:
        yield setup


async def test_metrics_speak_the_format_that_is_asked_for(setup: Setup) -> None:
    setup.metrics.received(Signal.TRACES, 5)
    plain = await setup.client.get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain; version=")
    names = {sample.name for family in parse_text(plain.text) for sample in family.samples}
    assert {"agent_tracer_received_total", "agent_tracer_rejected_total"} <= names

    modern = await setup.client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert modern.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    values = {
        sample.labels["signal"]: sample.value
        for family in parse_openmetrics(modern.text)  # type: ignore[no-untyped-call]
        for sample in family.samples
        if sample.name == "agent_tracer_received_total"
    }
    assert values == {"traces": 5, "logs": 0, "metrics": 0}


async def test_the_process_is_healthy_as_long_as_it_answers(setup: Setup) -> None:
    setup.readiness.report("store", ok=False, detail="does not answer")
    assert (await setup.client.get("/healthz")).status_code == 200


async def test_readiness_needs_every_component_and_says_which_is_missing(setup: Setup) -> None:
    assert (await setup.client.get("/readyz")).status_code == 503, "nobody has reported yet"
    setup.readiness.report("journal", ok=True)
    setup.readiness.report("store", ok=False, detail="does not answer")
    answer = await setup.client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {
        "ready": False,
        "components": {
            "journal": {"ok": True, "detail": ""},
            "store": {"ok": False, "detail": "does not answer"},
        },
    }
    setup.readiness.report("store", ok=True)
    answer = await setup.client.get("/readyz")
    assert (answer.status_code, answer.json()["ready"]) == (200, True)


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz"])
async def test_the_operations_listener_takes_no_writes(setup: Setup, path: str) -> None:
    assert (await setup.client.post(path)).status_code == 405
    assert (await setup.client.post("/v1/traces")).status_code == 404
