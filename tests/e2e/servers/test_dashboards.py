"""Every query of every dashboard and every rule, asked of real servers about what a real server made."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from dashboards import agent_overview, llm_performance
from dashboards.generate import BOARDS, FOLDER
from tests.fixtures import dashboard_data
from tests.fixtures.panel_queries import Backends, Grafana
from tests.fixtures.program import Program, running_program
from tests.fixtures.servers import required
from tests.servers.child import eventually
from tests.servers.jaeger import Jaeger
from tests.servers.loki import Loki
from tests.servers.prometheus import Prometheus, promtool

pytestmark = pytest.mark.servers

RULES: Final = Path(__file__).resolve().parents[3] / "config/prometheus"
PANEL_SECONDS_MAX: Final = 90
MAY_LACK: Final = {
    "With it": "what else changed is looked for, not always found",
}
"""Columns that no row need have a value in."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A server under the eyes of all others, with something to see."""

    program: Program
    backends: Backends
    played: dashboard_data.Played


@pytest.fixture(scope="module")
def watched(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, jaeger: Jaeger, loki: Loki
) -> Iterator[Watched]:
    required(request, Prometheus.recipe)
    folder = tmp_path_factory.mktemp("watched")
    exporters = {
        "jaeger": {"enabled": True, "endpoint": jaeger.otlp_http},
        "loki": {"enabled": True, "endpoint": loki.otlp},
    }
    with running_program(folder / "server", exporters=exporters) as program:
        scrape = {"job_name": "agent-tracer", "static_configs": [{"targets": [f"127.0.0.1:{program.rest}"]}]}
        rules = [RULES / "rules.yml", RULES / "alerts.yml"]
        with Prometheus(folder / "prometheus", [scrape], rules) as prometheus:
            apis = {
                "traces_api": program.url,
                "ace_api": f"http://127.0.0.1:{program.ace}",
                "atlas_api": f"http://127.0.0.1:{program.atlas}",
            }
            yield Watched(program, Backends(prometheus, loki, jaeger, apis), _busy(program, prometheus))


def _busy(program: Program, prometheus: Prometheus) -> dashboard_data.Played:
    """Work, and more of it once Prometheus has seen the first: rates are of what happens between two scrapes."""
    assert prometheus.query('up{job="agent-tracer"} == 1')
    played = dashboard_data.play(program)
    for counter in ("agent_tracer_llm_requests_total", "agent_tracer_agent_tasks_total", "agent_tracer_rpcs_total"):
        assert prometheus.query(counter), f"{counter} was not scraped"
    dashboard_data.demo(program)
    dashboard_data.refused(program)
    return played


def panel_queries() -> list[Any]:
    found = []
    for name in BOARDS:
        board = json.loads((FOLDER / f"{name}.json").read_text())
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                label = f"{name}: {panel['title']} {target['refId']}"
                found.append(pytest.param(board, panel, target, id=label))
    return found


@pytest.mark.parametrize(("board", "panel", "target"), panel_queries())
def test_a_panel_has_something_to_show(
    watched: Watched, board: dict[str, Any], panel: dict[str, Any], target: dict[str, Any]
) -> None:
    grafana = Grafana(watched.backends, _chosen(watched, board))
    grafana.choose(board["templating"]["list"])
    rows = eventually(lambda: grafana.ask(target), PANEL_SECONDS_MAX)
    assert rows, f"{panel['title']} shows nothing: {target.get('expr') or target}"
    for label in re.findall(r"{{(\w+)}}", target.get("legendFormat", "")):
        assert all(label in row for row in rows), f"the legend names {label}: {rows[0]}"
    for column in target.get("columns", []):
        if column["text"] not in MAY_LACK:
            assert any(row[column["text"]] is not None for row in rows), f"no row has {column['selector']}: {rows[:2]}"


def _chosen(watched: Watched, board: dict[str, Any]) -> dict[str, str]:
    """Choices of the user's: the service whose logs there are, the run that failed, the agent that learnt."""
    wanted = {
        "agent-tracer-traces": {"service": dashboard_data.SERVICE, "trace_id": watched.played.trace_ids[-1]},
        "agent-tracer-atlas": {"agent": dashboard_data.LEARNER, "workflow": dashboard_data.WORKFLOW},
        "agent-tracer-ace": {"agent": dashboard_data.LEARNER},
    }
    return wanted.get(board["uid"], {})


@pytest.mark.parametrize("selector", [agent_overview.FAILED, llm_performance.FAILED])
def test_failures_are_counted_under_the_statuses_that_panels_ask_for(watched: Watched, selector: str) -> None:
    """Panels show 0 where no such series is, so that a wrong name would look like health."""
    everything = re.sub(r"\$\w+", ".*", selector)
    assert watched.backends.prometheus.query(f"sum({everything}) > 0", PANEL_SECONDS_MAX)


@pytest.mark.parametrize("histogram", ["agent_tracer_llm_duration_seconds", "agent_tracer_agent_duration_seconds"])
@pytest.mark.parametrize("quantile", ["0.95", "0.99"])
def test_quantiles_are_recorded_under_the_histograms_name(watched: Watched, histogram: str, quantile: str) -> None:
    found = watched.backends.prometheus.query(f'{histogram}{{quantile="{quantile}"}} > 0', PANEL_SECONDS_MAX)
    assert found
    assert all("le" not in series["metric"] for series in found)


def test_every_rule_is_evaluated_without_an_error(watched: Watched) -> None:
    prometheus = watched.backends.prometheus
    groups = prometheus._get("rules")["groups"]
    assert {rule["health"] for group in groups for rule in group["rules"]} == {"ok"}
    assert sum(len(group["rules"]) for group in groups) > 20


def test_a_refused_span_raises_the_alert_on_it(watched: Watched) -> None:
    expr = 'ALERTS{alertname="AgentTracerSpansRejected",alertstate="firing",signal="traces"}'
    assert watched.backends.prometheus.query(expr, PANEL_SECONDS_MAX)


@pytest.fixture
def _tool(request: pytest.FixtureRequest) -> None:
    required(request, Prometheus.recipe)


@pytest.mark.usefixtures("_tool")
@pytest.mark.parametrize("tests", sorted((RULES / "tests").glob("*.yml")), ids=lambda path: str(path.stem))
def test_promtools_tests_of_the_rules_hold(tests: Path) -> None:
    done = promtool("test", "rules", str(tests))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.usefixtures("_tool")
def test_promtool_takes_configuration_and_rules() -> None:
    done = promtool("check", "config", str(RULES / "prometheus.yml"))
    assert done.returncode == 0, done.stdout + done.stderr
    linted = promtool(
        "check", "rules", "--lint=all", "--lint-fatal", str(RULES / "rules.yml"), str(RULES / "alerts.yml")
    )
    assert linted.returncode == 0, linted.stdout + linted.stderr
