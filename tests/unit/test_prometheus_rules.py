"""The rules for Prometheus, as far as they can be held without it: names, runbooks, and that each has a test."""

import re
from itertools import chain
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from agent_tracer.server.config import load_settings

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = ROOT / "config/prometheus"


def loaded(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text()))


def rules_of(name: str) -> list[dict[str, Any]]:
    return list(chain.from_iterable(group["rules"] for group in loaded(FOLDER / name)["groups"]))


RECORDED: Final = rules_of("rules.yml")
ALERTS: Final = rules_of("alerts.yml")
TESTS: Final = [test for path in sorted((FOLDER / "tests").glob("*.yml")) for test in loaded(path)["tests"]]


def cases() -> list[dict[str, Any]]:
    return [case for test in TESTS for case in test.get("alert_rule_test", [])]


@pytest.mark.parametrize("histogram", ["agent_tracer_llm_duration_seconds", "agent_tracer_agent_duration_seconds"])
def test_both_histograms_have_their_quantiles_under_their_own_name(histogram: str) -> None:
    made = {rule["labels"]["quantile"]: rule["expr"] for rule in RECORDED if rule["record"] == histogram}
    assert {"0.95", "0.99"} <= made.keys()
    for quantile, expr in made.items():
        assert expr.startswith(f"histogram_quantile({quantile}, ")
        assert f"{histogram}_bucket" in expr


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_an_alert_says_what_is_wrong_how_bad_where_and_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert alert["labels"]["service"], "an incident is of a service"
    assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}
    page, _, anchor = alert["annotations"]["runbook_url"].partition("#")
    assert anchor == alert["alert"].lower()
    assert f"\n### {alert['alert']}\n" in (ROOT / page).read_text()


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_a_promtool_test_holds_when_it_fires_and_when_it_does_not(alert: dict[str, Any]) -> None:
    mine = [case["exp_alerts"] for case in cases() if case["alertname"] == alert["alert"]]
    assert any(mine), "no test in which it fires"
    assert not all(mine), "no test in which it is silent"


def test_promtool_tests_hold_every_recorded_series() -> None:
    asked = " ".join(case["expr"] for test in TESTS for case in test.get("promql_expr_test", []))
    assert {rule["record"] for rule in RECORDED if rule["record"] not in asked} == set()


def test_an_alert_on_several_services_keeps_them_apart() -> None:
    """A label that a rule sets takes the place of the series' own; alerts that then are the same would be an error."""
    over_service = [alert for alert in ALERTS if re.search(r"by \(service\)|rpc_error_ratio", alert["expr"])]
    assert over_service
    assert [alert["alert"] for alert in over_service if "label_replace" not in alert["expr"]] == []


def test_the_scraped_port_is_the_servers_default() -> None:
    (scrape,) = loaded(FOLDER / "prometheus.yml")["scrape_configs"]
    settings = load_settings()
    assert scrape["job_name"] == "agent-tracer", "alerts ask for up of this job"
    assert scrape["static_configs"] == [{"targets": [f"localhost:{settings.tracer.port}"]}]


def test_its_rule_files_are_there() -> None:
    assert all((FOLDER / name).is_file() for name in loaded(FOLDER / "prometheus.yml")["rule_files"])
