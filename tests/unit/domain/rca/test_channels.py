"""Each channel tells of its own kind of trouble, at the component where it is, and of nothing in quiet hours."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_tracer.server.domain.rca.evidence import Evidence, quantile, robust
from agent_tracer.server.domain.rca.excess_evidence import excess_evidence
from agent_tracer.server.domain.rca.graph import call_graph
from agent_tracer.server.domain.rca.metric_evidence import kind_of, metric_evidence
from agent_tracer.server.domain.rca.span_evidence import (
    edge_evidence,
    error_evidence,
    latency_evidence,
    log_evidence,
)
from tests.unit.domain.rca.views import CALLS, SERVICES, START_NS, edge, log, metric, service, slow_chain, view


def strongest(evidence: list[Evidence], feature: str) -> str:
    return max((each for each in evidence if each.feature == feature), key=lambda each: each.strength).component


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50), st.floats(0, 1))
def test_a_quantile_is_numpys(values: list[float], share: float) -> None:
    assert quantile(sorted(values), share) == pytest.approx(float(np.quantile(values, share)), rel=1e-9, abs=1e-6)


def test_the_robust_spread_is_the_normal_one_for_normal_values_and_unmoved_by_outliers() -> None:
    drawn = np.random.default_rng(7).normal(100, 30, 10_001).tolist()
    middle, spread = robust([*drawn, *[1e9] * 50], 0.0)
    assert middle == pytest.approx(100, abs=2)
    assert spread == pytest.approx(30, rel=0.05)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("cpu_usage", "cpu"), ("container_memory_rss", "memory"), ("http_5xx_ratio", "error"), ("PodWorkload", "traffic"),
        ("ServerLatencyP99", "latency"), ("disk_io_time", "disk"), ("db_pool_in_use", "pool"), ("tcp_retransmits", "network"),
        ("temperature", "other"), ("availability_average", "error"),
    ],
)  # fmt: skip
def test_what_a_metric_measures_is_in_its_name(name: str, kind: str) -> None:
    assert kind_of(name) == kind


def test_no_channel_says_anything_in_a_quiet_hour() -> None:
    quiet = view(logs=[log("cart", "order placed", 10, 10)])
    channels = (metric_evidence, log_evidence, latency_evidence, error_evidence, edge_evidence)
    assert [each for channel in channels for each in channel(quiet)] == []


def test_a_metric_that_left_its_range_is_found_with_its_onset_and_figures() -> None:
    (found,) = metric_evidence(
        view(metrics=[metric("cart", "cpu_usage", 10, 95), metric("front", "latency_mean", 0.02, 0.02)])
    )
    assert (found.component, found.feature, found.during) == ("cart", "metric_cpu", 95)
    assert found.time_ns == START_NS + 60 * 10**9
    assert "95" in found.description


def test_a_resource_that_is_used_less_is_no_fault() -> None:
    assert list(metric_evidence(view(metrics=[metric("cart", "memory_rss", 100, 20)]))) == []


def test_availability_that_falls_by_two_points_is_found_though_two_percent_of_a_hundred_are_little() -> None:
    found = list(
        metric_evidence(
            view(metrics=[metric("cart", "availability", 97.0, 60.0), metric("front", "availability", 97.0, 97.0)])
        )
    )
    assert [each.component for each in found] == ["cart"]


def test_a_burst_of_errors_in_the_log_is_stronger_than_the_same_ratio_of_few_records() -> None:
    found = list(log_evidence(view(logs=[log("cart", "boom", 0, 40, 17), log("front", "ouch", 0, 0.4, 17)])))
    assert strongest(found, "log_error") == "cart"
    strengths = {each.component: each.strength for each in found}
    assert strengths["cart"] > 2 * strengths.get("front", 0.0)


def test_a_template_that_is_no_longer_written_is_evidence_too() -> None:
    found = list(log_evidence(view(logs=[log("cart", "order placed", 20, 0)])))
    assert [(each.component, each.feature) for each in found] == [("cart", "log_less")]


def test_own_time_is_found_at_the_service_that_takes_it() -> None:
    services = [service(name, self_ms=80.0 if name == "database" else 5.0) for name in SERVICES]
    assert [each.component for each in latency_evidence(view(services=services))] == ["database"]


def test_ochiai_of_the_only_failing_service_is_the_root_of_its_failing_share() -> None:
    services = [service(name, own_errors=25.0 if name == "cart" else 0.0) for name in SERVICES]
    (found,) = error_evidence(view(services=services))
    assert found.component == "cart"
    assert found.strength == pytest.approx(math.sqrt(25 / 100))


def test_a_slow_network_is_laid_to_the_callee_that_all_its_callers_wait_for() -> None:
    pairs = [*CALLS, ("catalog", "cart")]
    edges = [edge(*pair, gap_ms=500.0 if pair[1] == "cart" else 2.0) for pair in pairs]
    found = list(edge_evidence(view(edges=edges)))
    assert strongest(found, "edge_in") == "cart"
    assert strongest(found, "edge_out") == "catalog"


def test_a_server_that_outlives_its_client_has_no_gap() -> None:
    queue = edge("front", "cart", gap_ms=400.0)
    queue.gap_ms.before[:] = [-24.0] * len(queue.gap_ms.before)  # type: ignore[index]
    assert list(edge_evidence(view(edges=[queue]))) == []


def test_excess_is_laid_where_it_arises_and_not_on_those_who_wait() -> None:
    incident = view(metrics=slow_chain())
    found = list(excess_evidence(incident, call_graph(incident.edges)))
    assert strongest(found, "own_symptom") == "database"
    assert {each.component for each in found} == {"database"}


def test_without_a_symptom_there_is_no_excess_to_lay_anywhere() -> None:
    calm_front = [each for each in slow_chain() if each.component != "front"]
    incident = view(metrics=[*calm_front, metric("front", "latency_mean", 0.02, 0.02)])
    assert list(excess_evidence(incident, call_graph(incident.edges))) == []
