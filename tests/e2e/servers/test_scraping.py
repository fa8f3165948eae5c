"""A real Prometheus scrapes the server in every form that it can ask for, and its checker finds nothing to say."""

from pathlib import Path

import httpx
import pytest

from tests.e2e.talk import CALL_SECONDS, catch_up, create, rest, stubs, unique
from tests.fixtures.program import Program
from tests.fixtures.servers import required
from tests.servers.prometheus import Prometheus, promtool

pytestmark = pytest.mark.servers
FORMS = (
    "PrometheusProto",
    "OpenMetricsText1.0.0",
    "OpenMetricsText0.0.1",
    "PrometheusText1.0.0",
    "PrometheusText0.0.4",
)


@pytest.fixture(scope="module", autouse=True)
def _prometheus(request: pytest.FixtureRequest) -> None:
    required(request, Prometheus.recipe)


@pytest.fixture(scope="module")
def busy(program: Program) -> Program:
    """With something to count: traces that went well and ill, and a refused one."""
    with rest(program) as http, stubs(program.target) as stub:
        for status in ("success", "error"):
            create(http, unique("scraped"), unique("agent"), status=status)
        assert http.post("/api/v1/traces", json={}).is_client_error
        catch_up(stub)
    return program


@pytest.mark.parametrize("port", ["metrics", "rest"])
def test_the_checker_finds_nothing_to_say_about_the_metrics(busy: Program, port: str) -> None:
    text = httpx.get(f"http://127.0.0.1:{getattr(busy, port)}/metrics", trust_env=False, timeout=CALL_SECONDS).text
    checked = promtool("check", "metrics", "--extended", input_=text)
    assert checked.returncode == 0, checked.stderr
    assert checked.stderr.strip() == ""
    assert "agent_tracer_received_total" in checked.stdout


def test_every_form_that_prometheus_asks_for_is_scraped(busy: Program, tmp_path: Path) -> None:
    scrapes = [
        {
            "job_name": form,
            "scrape_protocols": [form],
            "static_configs": [{"targets": [f"127.0.0.1:{busy.metrics}"]}],
        }
        for form in FORMS
    ]
    with Prometheus(tmp_path, scrapes) as prometheus:
        expression = f"count(agent_tracer_received_total{{signal='traces'}} > 0) == {len(FORMS)}"
        assert prometheus.query(expression), prometheus.targets()
        assert {target["health"] for target in prometheus.targets()} == {"up"}
        assert prometheus.query(f"sum(up) == {len(FORMS)}")
        kinds = prometheus.query("sum by (job) (agent_tracer_commit_seconds_count)")
        assert {series["metric"]["job"] for series in kinds} == set(FORMS)
        names = {series["metric"]["__name__"] for series in prometheus.query('{__name__=~"agent_tracer_.+"}')}
    assert {"agent_tracer_accepted_total", "agent_tracer_journal_bytes", "agent_tracer_commit_seconds_bucket"} <= names


def test_prometheus_knows_what_each_metric_is(busy: Program, tmp_path: Path) -> None:
    target = {"job_name": "agent-tracer", "static_configs": [{"targets": [f"127.0.0.1:{busy.metrics}"]}]}
    with Prometheus(tmp_path, [target]) as prometheus:
        assert prometheus.query("agent_tracer_received_total")
        url = f"{prometheus.url}/api/v1/metadata"
        answer = httpx.get(url, trust_env=False, timeout=CALL_SECONDS).json()["data"]
    told = {name: facts[0] for name, facts in answer.items() if name.startswith("agent_tracer_")}
    assert {facts["type"] for facts in told.values()} <= {"counter", "gauge", "histogram"}
    assert [name for name, facts in told.items() if not facts["help"]] == []
