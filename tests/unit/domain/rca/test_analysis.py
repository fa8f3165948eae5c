"""The whole answer: who, why, since when, what to do; and silence where nothing supports an answer."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_tracer.server import limits
from agent_tracer.server.domain.rca.analysis import Analysis, analyze
from agent_tracer.server.domain.rca.features import gather
from agent_tracer.server.domain.rca.graph import call_graph
from agent_tracer.server.domain.rca.model import CONFIDENCE_MAX, FITTED, confidence, shares
from agent_tracer.server.domain.rca.view import Alarm, Change, Incident, IncidentView, MetricSeries, Series, Window
from tests.unit.domain.rca.views import (
    CALLS,
    DURING,
    MINUTE_NS,
    SERVICES,
    START_NS,
    edge,
    log,
    metric,
    service,
    slow_chain,
    view,
)

LOST_LOCK = "@@ cart.go @@\n-  c.mu.Lock()\n-  defer c.mu.Unlock()\n   c.items[id]++\n"
RACE = "fatal error: concurrent map writes in cart items"


def cause(analysis: Analysis) -> str:
    assert analysis.root_cause is not None, analysis.abstained_reason
    return analysis.root_cause.component


def test_the_component_where_the_latency_arises_is_the_cause_and_its_callers_are_affected() -> None:
    analysis = analyze(view(metrics=slow_chain()), 3)
    assert cause(analysis) == "database"
    assert set(analysis.affected_services) == {"cart", "front"}
    assert analysis.causal_chain[-1].endswith("front: alert on latency_mean")
    assert "database" in analysis.causal_chain[0]
    assert analysis.candidates[0] == analysis.root_cause


def test_a_quiet_hour_is_answered_with_silence_and_its_reason() -> None:
    analysis = analyze(view(), 3)
    assert analysis.root_cause is None
    assert analysis.abstained_reason
    assert analysis.recommendations == ()


@pytest.mark.parametrize(
    ("incident", "component", "words"),
    [
        (view(metrics=[metric("cart", "cpu_usage", 5, 99)]), "cart", "CPU"),
        (view(metrics=[metric("cart", "memory_rss", 5, 99)]), "cart", "memory"),
        (view(edges=[edge(*pair, gap_ms=gap_ms) for pair, gap_ms in zip(CALLS, (2.0, 900.0, 2.0), strict=True)]), "catalog", "network"),
        (view(logs=[log("cart", "HikariPool-1 - Connection is not available, pool exhausted", 0, 30, 17)]), "cart", "connections"),
        (view(logs=[log("cart", "openai error 429 Too Many Requests", 0, 30, 17)]), "cart", "rate limit"),
        (view(logs=[log("cart", "This model's maximum context length is <*> tokens", 0, 30, 17)]), "cart", "context"),
        (view(logs=[log("cart", "x509: certificate has expired", 0, 30, 17)]), "cart", "certificate"),
        (view(logs=[log("cart", "java.lang.IllegalStateException: no total", 0, 30, 17)]), "cart", "errors of its own"),
        (view(logs=[log("cart", "KeyError: 'member_id'", 0, 30, 17)]), "cart", "errors of its own"),
        (view(logs=[log("cart", "RuntimeError: boom", 0, 30, 17)]), "cart", "errors of its own"),
        (view(logs=[log("cart", "OSError: [Errno <*>] Disk quota exceeded", 0, 30, 17)]), "cart", "errors of its own"),
        (view(logs=[log("cart", "bank transfer to account <*> rejected", 0, 30, 17)]), "cart", "errors of its own"),
        (view(logs=[log("cart", "payment refused by the issuer", 0, 30, 17)]), "cart", "errors of its own"),
        (view(logs=[log("cart", "scoreboard row missing", 0, 30, 17)]), "cart", "errors of its own"),
        (view(logs=[log("cart", "gift certificate already used", 0, 30, 17)]), "cart", "errors of its own"),
        (view(logs=[log("cart", "java.lang.OutOfMemoryError: Java heap space", 0, 30, 17)]), "cart", "memory"),
        (view(logs=[log("cart", "OOMKilled: container exceeded its limit", 0, 30, 17)]), "cart", "memory"),
        (view(logs=[log("cart", "dial tcp <*>: connect: connection refused", 0, 30, 17)]), "cart", "cannot reach"),
        (view(metrics=[metric("cart", "k8s.container.restarts", 0, 5)]), "cart", "was killed"),
        (view(logs=[log("cart", "transfer_to_billing_agent: unknown agent", 0, 30, 17)]), "cart", "hands over"),
    ],
)  # fmt: skip
def test_the_issue_is_named_by_its_signature_with_the_components_own_figures(
    incident: IncidentView, component: str, words: str
) -> None:
    complaint = replace(incident, incident=Incident("front", "failed orders", START_NS))
    analysis = analyze(complaint, 3)
    assert cause(analysis) == component
    assert analysis.root_cause is not None
    assert words in analysis.root_cause.issue
    assert any(component in text for text in analysis.recommendations)


def changed(**more: object) -> Change:
    told = {
        "time_ns": START_NS - 20 * MINUTE_NS,
        "components": ["cart"],
        "text": "simplify counter",
        "files": ["cart.go"],
    }
    return Change("c0ffee", "deploy", diff=LOST_LOCK, **(told | more))  # type: ignore[arg-type]


def racing(*changes: Change) -> Analysis:
    return analyze(view(logs=[log("cart", RACE, 0, 30, 17)], changes=changes, measure="failed orders"), 3)


def test_a_change_whose_diff_explains_the_symptom_is_named_and_a_restyling_beside_it_is_not() -> None:
    decoy = Change("decade", "deploy", START_NS - MINUTE_NS, ["cart"], "restyle cart", "-a: 1\n+a: 2\n", ["cart.css"])
    analysis = racing(changed(), decoy)
    assert analysis.root_cause is not None
    assert (analysis.root_cause.component, analysis.root_cause.change) == ("cart", "c0ffee")
    assert [each.subject for each in analysis.evidence if each.channel == "change"] == ["c0ffee"]
    assert "Roll back c0ffee" in analysis.recommendations[0]


def test_a_change_after_the_onset_is_not_its_cause() -> None:
    analysis = racing(changed(time_ns=START_NS + MINUTE_NS))
    assert analysis.root_cause is not None
    assert analysis.root_cause.change == ""


def test_lines_that_only_moved_explain_nothing() -> None:
    moved = LOST_LOCK + "+  c.mu.Lock()\n+  defer c.mu.Unlock()\n"
    analysis = racing(replace(changed(), diff=moved))
    assert analysis.root_cause is not None
    assert analysis.root_cause.change == ""


def test_an_expired_certificate_is_blamed_on_no_change() -> None:
    analysis = analyze(
        view(
            logs=[log("cart", "x509: certificate has expired", 0, 30, 17)], changes=[changed()], measure="failed orders"
        ),
        3,
    )
    assert analysis.root_cause is not None
    assert analysis.root_cause.change == ""


@pytest.mark.parametrize("name", ["up", "go.goroutine.count"])
def test_a_steady_measure_that_has_nothing_to_do_with_the_alert_does_not_silence_it(name: str) -> None:
    slow = [service(each, self_ms=500.0 if each == "database" else 5.0) for each in SERVICES]
    steady = [metric(each, name, 1, 1) for each in SERVICES]
    told = view(metrics=steady, services=slow, measure="Customers wait at the gate")
    without = view(services=slow, measure="Customers wait at the gate")
    assert cause(analyze(told, 3)) == "database"
    assert gather(told, 3).nothing == gather(without, 3).nothing == {"none": 1.0}


def test_a_measure_of_no_kind_is_the_alerts_own_where_the_alert_names_it() -> None:
    held = [metric("front", "ships_in_harbor", 40, 40), metric("front", "go.goroutine.count", 60, 600)]
    assert gather(view(metrics=held, measure="ships_in_harbor"), 3).nothing == {"observed": 1.0, "symptom": 0.0}


def test_silence_for_a_steady_measure_says_that_it_did_not_move() -> None:
    failing = [metric("cart", "parcels_failed_total", 0.02, 2.5), metric("front", "parcels_failed_total", 0.02, 0.02)]
    analysis = analyze(view(metrics=failing, edges=[], services=[], measure="parcels fail"), 3)
    assert analysis.root_cause is None
    assert analysis.abstained_reason == "the alerting service's error metric did not move"


def test_a_deploy_that_nothing_but_its_time_speaks_for_is_told_and_not_blamed() -> None:
    deploy = replace(changed(time_ns=START_NS - MINUTE_NS, files=[], text="release 7"), diff="")
    other = replace(deploy, change_id="beef", components=["catalog"])
    long_ago = replace(deploy, change_id="old", time_ns=START_NS - 90 * MINUTE_NS)
    analysis = racing(deploy, other, long_ago)
    assert analysis.root_cause is not None
    assert (analysis.root_cause.component, analysis.root_cause.change) == ("cart", "")
    (told,) = (each for each in analysis.evidence if each.channel == "change")
    assert told.description.startswith("deploy c0ffee (release 7): it went live here shortly before")
    assert analysis.causal_chain[0].endswith(told.description)
    assert analysis.recommendations[-1].startswith("Compare cart with how it was before deploy c0ffee (release 7)")


def test_an_alert_that_no_calls_connect_with_the_cause_is_told_so_and_is_not_affected() -> None:
    burning = metric("cart", "cpu_usage", 5, 99)
    apart = replace(view(metrics=[burning]), incident=Incident("catalog", "failed orders", START_NS))
    analysis = analyze(apart, 3)
    assert cause(analysis) == "cart"
    assert "catalog" not in analysis.affected_services
    assert "nothing of catalog left its usual range, and no calls lead from it to cart" in analysis.caveats
    assert not any(
        "no calls lead" in caveat for caveat in analyze(view(metrics=[burning], measure="failed orders"), 3).caveats
    )


def test_who_stands_between_the_alert_and_the_cause_is_affected() -> None:
    analysis = analyze(view(metrics=[metric("database", "cpu_usage", 5, 99)], measure="failed orders"), 3)
    assert cause(analysis) == "database"
    assert set(analysis.affected_services) == {"cart", "front"}


def test_what_chance_brings_is_no_link_of_the_chain() -> None:
    noise = MetricSeries("cart", "cpu_usage", Series([0.30, 0.31, 0.29] * 10, [0.3, 0.32, 0.33, 0.32, 0.33]))
    analysis = analyze(view(metrics=[metric("database", "cpu_usage", 5, 99), noise], measure="failed orders"), 3)
    assert cause(analysis) == "database"
    assert not any("cpu_usage went from 0.3" in link for link in analysis.causal_chain)
    assert "cart calls database and waits for it" in analysis.causal_chain


def test_what_failed_spans_say_is_not_told_as_logged() -> None:
    failed = replace(log("cart", "RuntimeError: no total", 0, 30, 17), is_of_spans=True)
    analysis = analyze(view(logs=[failed], measure="failed orders"), 3)
    assert analysis.root_cause is not None
    assert "spans failed with 'RuntimeError: no total' 150 times" in analysis.root_cause.issue
    assert "no logs of the time were there to look at" in analysis.caveats


def test_alarms_alone_are_answered_with_a_caveat() -> None:
    alarms = [
        Alarm("cart", "metric", "cpu_usage", "up", usual=0.01),
        Alarm("cart", "metric", "memory_usage", "up", usual=0.01),
    ]
    incident = IncidentView(
        Incident("", "", START_NS), Window([0], 1), Window([1], 1), alarms=alarms, edges=[edge(*pair) for pair in CALLS]
    )
    analysis = analyze(incident, 3)
    assert analysis.candidates[0].component == "cart"
    assert any("alarms" in caveat for caveat in analysis.caveats)


@given(st.permutations(SERVICES), st.floats(0.01, 100))
@settings(max_examples=25, deadline=None)
def test_neither_names_nor_units_decide(names: list[str], scale: float) -> None:
    named = dict(zip(SERVICES, names, strict=True))
    plain = view(metrics=slow_chain(scale))
    renamed = IncidentView(
        replace(plain.incident, component=named["front"]), plain.before, DURING,
        metrics=[MetricSeries(named[m.component], m.name, m.values) for m in plain.metrics],
        services=[replace(service(name), component=named[name]) for name in SERVICES],
        edges=[edge(named[caller], named[callee]) for caller, callee in CALLS],
    )  # fmt: skip
    assert cause(analyze(renamed, 3)) == named["database"]


def test_the_shares_add_up_to_one_and_confidence_rises_with_them_and_is_never_whole() -> None:
    found = shares(gather(view(metrics=slow_chain()), 3), FITTED)
    assert sum(found.values()) == pytest.approx(1.0)
    steps = [confidence(share / 20, FITTED) for share in range(21)]
    assert steps == sorted(steps)
    assert 0.0 <= steps[0] < steps[-1] == CONFIDENCE_MAX < 1.0


def test_a_view_that_is_too_large_is_refused_with_what_to_do() -> None:
    change = Change("c", "deploy", 0, [])
    with pytest.raises(ValueError, match="changes in one incident, more than 500: narrow its time window"):
        view(changes=[change] * (limits.RCA_CHANGES_MAX + 1))


def test_roads_and_callers_follow_the_calls_and_bear_circles() -> None:
    graph = call_graph([edge("a", "b"), edge("b", "c"), edge("c", "a"), edge("a", "a")])
    assert graph.road("a", "c", 3) == ["a", "b", "c"]
    assert graph.road("a", "c", 1) == []
    assert graph.affected("c", 5) == ["b", "a"]
