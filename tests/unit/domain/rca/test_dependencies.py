"""A caller that cannot reach what it calls is a victim, where what it calls shows that it went wrong."""

from collections.abc import Sequence

from agent_tracer.server.domain.rca.analysis import analyze
from agent_tracer.server.domain.rca.dependencies import failed_first
from agent_tracer.server.domain.rca.features import gather
from agent_tracer.server.domain.rca.telling import is_telling
from agent_tracer.server.domain.rca.view import EdgeSeries, LogSeries, MetricSeries, Series
from tests.unit.domain.rca.views import CALLS, NOISY, QUIET, edge, log, metric, view

SHARES = {"cart": 0.9, "database": 0.1}
REFUSED = "ConnectionError: connection refused"


def silent(caller: str, callee: str) -> EdgeSeries:
    nothing = Series([0.0] * QUIET, [0.0] * NOISY)
    return EdgeSeries(caller, callee, Series([50.0] * QUIET, [0.0] * NOISY), nothing, nothing)


def answer(
    logs: Sequence[LogSeries], metrics: Sequence[MetricSeries] = (), edges: Sequence[EdgeSeries] | None = None
) -> tuple[str, str]:
    found = analyze(view(logs=logs, metrics=metrics, edges=edges, measure="5xx of front"), 3)
    assert found.root_cause is not None, found.abstained_reason
    return found.root_cause.component, found.root_cause.issue


def test_a_killed_database_comes_before_the_caller_that_cannot_reach_it() -> None:
    logs = [log("cart", REFUSED, 0, 30, 17), log("database", "container was OOMKilled", 0, 1, 17)]
    restarts = metric("database", "k8s.container.restarts", 0, 3)
    component, issue = answer(logs, [restarts, metric("cart", "k8s.container.restarts", 0, 0)])
    assert component == "database"
    assert issue.startswith("database")


def test_a_callee_that_only_fell_silent_may_be_not_called_and_does_not_come_before_its_caller() -> None:
    logs = [log("cart", REFUSED, 0, 30, 17), log("database", "query served", 20, 0, 9)]
    findings = gather(view(logs=logs, edges=[edge("front", "cart"), silent("cart", "database")]), 3)
    assert is_telling("database", findings.evidence)
    assert failed_first(findings, SHARES, ["cart", "database"]) == (SHARES, ["cart", "database"])


def test_the_shares_change_places_with_the_components() -> None:
    logs = [log("cart", REFUSED, 0, 30, 17), log("database", "container was OOMKilled", 0, 1, 17)]
    shares, order = failed_first(gather(view(logs=logs), 3), SHARES, ["cart", "front", "database"])
    assert order == ["database", "cart", "front"]
    assert shares == {"cart": 0.1, "database": 0.9}


def test_the_issue_names_the_callee_whose_calls_stay_away() -> None:
    edges = [edge("front", "cart"), edge("front", "catalog"), edge("cart", "catalog"), silent("cart", "database")]
    component, issue = answer([log("cart", REFUSED, 0, 30, 17)], edges=edges)
    assert (component, issue.partition(":")[0]) == ("cart", "cart cannot reach database")


def test_the_issue_names_the_callee_that_the_line_names() -> None:
    edges = [edge(*pair) for pair in CALLS]
    _, issue = answer([log("cart", "dial database: connection refused", 0, 30, 17)], edges=edges)
    assert issue.startswith("cart cannot reach database:")


def test_what_the_graph_does_not_know_is_not_made_up() -> None:
    _, issue = answer([log("cart", REFUSED, 0, 30, 17)])
    assert issue.startswith("cart cannot reach something it depends on:")
