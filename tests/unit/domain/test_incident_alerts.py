"""What Alertmanager's notifications make of incidents."""

from collections.abc import Mapping
from typing import Any

import pytest
from google.protobuf import json_format

from agent_tracer.server.api.incident_convert import alerts_from
from agent_tracer.server.domain.alert_labels import bounded, service_of, severity_of, title_of, trace_ids_of
from agent_tracer.server.domain.errors import InvalidFieldsError
from agent_tracer.server.domain.incident_alerts import (
    Alert,
    AlertGroup,
    check_alerts,
    goes_on,
    group_prefix,
    incident_id_of,
    incident_of,
    told_until,
)
from agent_tracer.server.domain.incidents import Incident, IncidentSource, IncidentStatus
from agent_tracer.server.limits import (
    ALERTS_MAX,
    INCIDENT_CHARACTERS_MAX,
    INCIDENT_ENTRIES_MAX,
    INCIDENT_TRACE_IDS_MAX,
    INCIDENT_VALUE_LENGTH_MAX,
)
from agent_tracer.v1 import correlation_pb2 as pb
from tests.fixtures.alertmanager import alert, notification

S = 1_000_000_000
NOON = 1_790_000_000
NOW = (NOON + 7200) * S


def group(*alerts: Mapping[str, Any], **more: Any) -> AlertGroup:
    """As it comes out of JSON."""
    return alerts_from(json_format.ParseDict(notification(alerts, **more), pb.ReceiveAlertsRequest()))


def told(*alerts: Mapping[str, Any], former: Incident | None = None, **more: Any) -> Incident:
    made = group(*alerts, **more)
    check_alerts(made, NOW)
    return incident_of(made, former, NOW)


def wrong(made: AlertGroup) -> list[str]:
    with pytest.raises(InvalidFieldsError) as refused:
        check_alerts(made, NOW)
    return [violation.field for violation in refused.value.violations]


def test_a_firing_group_is_an_open_incident() -> None:
    found = told(
        alert(NOON + 5, labels={"instance": "10.0.0.7:80"}), alert(NOON + 2, labels={"instance": "10.0.0.8:80"})
    )
    assert (found.status, found.source) == (IncidentStatus.OPEN, IncidentSource.ALERTMANAGER)
    assert (found.title, found.severity, found.service) == ("5xx above 5 %", "critical", "checkout")
    assert (found.start_ns, found.end_ns) == ((NOON + 2) * S, None), "the first alert began it"
    assert found.labels == {"alertname": "HighErrorRate", "service": "checkout", "severity": "critical"}
    assert found.annotations["summary"] == "5xx above 5 %"
    assert found.annotations["alert_count"] == "2"
    assert found.annotations["external_url"] == "http://alertmanager.example.test:9093"
    assert found.annotations["generator_url"].startswith("http://prometheus.example.test:9090/graph?")
    assert "truncated_alerts" not in found.annotations


def test_a_repeat_changes_nothing() -> None:
    firing = (alert(NOON, labels={"pod": "a"}), alert(NOON + 3, labels={"pod": "b"}))
    first = told(*firing)
    assert told(*firing) == told(*firing, former=first) == first


def test_a_group_that_changes_stays_one_incident_with_its_first_start() -> None:
    first = told(alert(NOON))
    later = group(alert(NOON + 60, labels={"pod": "b"}))
    assert goes_on(later, first, NOW), "the first alert ended and was told of before"
    after = incident_of(later, first, NOW)
    assert (after.incident_id, after.start_ns, after.status) == (first.incident_id, NOON * S, IncidentStatus.OPEN)


def test_the_resolve_message_ends_it_with_its_last_alert() -> None:
    first = told(alert(NOON, annotations={"runbook": "r"}), alert(NOON + 1))
    last = group(alert(NOON, NOON + 600), alert(NOON + 1, NOON + 900))
    assert goes_on(last, first, NOW)
    after = incident_of(last, first, NOW)
    assert (after.incident_id, after.status, after.end_ns) == (
        first.incident_id,
        IncidentStatus.RESOLVED,
        (NOON + 900) * S,
    )
    assert (after.labels, after.annotations) == (first.labels, first.annotations)
    assert goes_on(last, after, NOW), "a second copy of the message is of the same incident"
    assert incident_of(last, after, NOW) == after


def test_a_group_that_fires_again_later_is_another_incident() -> None:
    ended = told(alert(NOON, NOON + 600))
    again = group(alert(NOON + 900))
    assert not goes_on(again, ended, NOW)
    assert incident_id_of(again, NOW) != ended.incident_id
    assert incident_id_of(again, NOW).startswith(group_prefix(again))


def test_an_incident_whose_alert_goes_on_after_all_is_open_again() -> None:
    ended = told(alert(NOON, NOON + 600))
    again = group(alert(NOON))
    assert goes_on(again, ended, NOW), "Alertmanager keeps the start of an alert that did not really end"
    assert incident_of(again, ended, NOW).status == IncidentStatus.OPEN


def test_a_notification_tells_of_the_time_until_its_last_end_or_now() -> None:
    assert told_until(group(alert(NOON, NOON + 600), alert(NOON, NOON + 300)), NOW) == (NOON + 600) * S
    assert told_until(group(alert(NOON, NOON + 600), alert(NOON)), NOW) == NOW


def test_one_that_is_first_heard_of_when_it_ends_is_kept_as_resolved() -> None:
    found = told(alert(NOON, NOON + 30))
    assert (found.status, found.start_ns, found.end_ns) == (IncidentStatus.RESOLVED, NOON * S, (NOON + 30) * S)


def test_a_group_fires_while_the_group_says_so_though_all_alerts_that_were_sent_have_ended() -> None:
    found = told(alert(NOON, NOON + 30), status="firing", truncatedAlerts=4)
    assert found.status == IncidentStatus.OPEN
    assert (found.annotations["alert_count"], found.annotations["truncated_alerts"]) == ("5", "4")


def test_without_a_status_of_the_group_its_alerts_say_it() -> None:
    assert told(alert(NOON, NOON + 30), alert(NOON), status="").status == IncidentStatus.OPEN
    assert told(alert(NOON, NOON + 30), status="").status == IncidentStatus.RESOLVED


def test_groups_do_not_share_an_incident() -> None:
    one, other = group(alert(NOON), key="a"), group(alert(NOON), key="b")
    assert group_prefix(one) != group_prefix(other)
    unkeyed = [group(alert(NOON, labels={"service": name}), groupKey="") for name in ("a", "a", "b")]
    for made in unkeyed:
        check_alerts(made, NOW)
    nameless = [group(alert(NOON, labels={"alertname": name}), groupKey="") for name in ("a", "a", "b")]
    prefixes = [group_prefix(made) for made in nameless]
    assert prefixes[0] == prefixes[1] != prefixes[2]


def test_times_that_are_left_out_are_now() -> None:
    found = incident_of(AlertGroup([Alert(status="resolved", starts_ns=-62135596800 * S, ends_ns=None)]), None, NOW)
    assert (found.start_ns, found.end_ns) == (NOW, NOW)


def test_all_wrong_fields_are_told_at_once() -> None:
    body = AlertGroup(
        [
            Alert(status="fires", starts_ns=1),
            Alert(status="resolved", starts_ns=NOON * S, ends_ns=NOW + 7200 * S),
            Alert(status="firing", ends_ns=NOW + 7200 * S),
        ],
        status="ok",
    )
    assert wrong(body) == ["status", "alerts[0].status", "alerts[0].starts_at", "alerts[1].ends_at"]
    assert wrong(AlertGroup([])) == ["alerts"]
    assert wrong(AlertGroup([Alert()] * (ALERTS_MAX + 1))) == ["alerts"]


def test_a_malformed_time_is_told_with_its_alert() -> None:
    request = pb.ReceiveAlertsRequest(alerts=[pb.Alert(), pb.Alert()])
    request.alerts[1].ends_at.nanos = -1
    with pytest.raises(InvalidFieldsError) as refused:
        alerts_from(request)
    assert [violation.field for violation in refused.value.violations] == ["alerts[1].ends_at"]


@pytest.mark.parametrize(
    ("labels", "service"),
    [
        ({"service": "checkout", "job": "scrape"}, "checkout"),
        ({"service_name": "checkout", "service": "checkout-svc"}, "checkout"),
        ({"service.name": "checkout"}, "checkout"),
        ({"job": "shop/checkout"}, "checkout"),
        ({"app": "checkout", "job": "pods", "namespace": "shop"}, "checkout"),
        ({"deployment": "checkout", "namespace": "shop", "job": "kube-state-metrics"}, "checkout"),
        ({"service": "prometheus-node-exporter", "job": "node-exporter", "container": "checkout"}, "checkout"),
        ({"container": "POD", "job": "kubelet", "pod": "checkout-7d4b9c8d5f-x2k4z"}, "checkout"),
        ({"pod": "checkout-db-0"}, "checkout-db"),
        ({"pod": "checkout-gateway"}, "checkout-gateway"),
        ({"job": "node-exporter"}, "node-exporter"),
        ({"agent_id": "planner"}, "planner"),
        ({"service": "a\nb"}, "a b"),
        ({"alertname": "Watchdog"}, ""),
    ],
)
def test_the_service_is_the_surest_label_of_what_is_measured(labels: Mapping[str, str], service: str) -> None:
    assert service_of(labels, []) == service
    assert service_of({}, [Alert(labels=labels)]) == service


def test_of_alerts_of_several_services_the_first_to_fire_is_the_incidents() -> None:
    found = told(
        alert(NOON + 9, labels={"service": "web"}),
        alert(NOON + 1, labels={"service": "db"}),
        alert(NOON, NOON + 5, labels={"service": "gone"}),
    )
    assert found.service == "db"
    assert found.annotations["services"] == "web, db, gone"


def test_names_that_the_alerts_differ_in_are_all_told() -> None:
    found = told(
        alert(NOON, labels={"alertname": "Slow", "metric": "latency"}), alert(NOON, labels={"alertname": "Errors"})
    )
    assert (found.labels["alertname"], found.labels["metric"]) == ("Slow, Errors", "latency")


@pytest.mark.parametrize(
    ("given", "worst"),
    [
        (["warning", "critical"], "critical"),
        (["Warning", "P1"], "P1"),
        (["info", "urgent", "warning"], "warning"),
        (["info", "urgent"], "urgent"),
        ([], ""),
    ],
)
def test_the_severity_is_the_worst_as_it_is_written(given: list[str], worst: str) -> None:
    assert severity_of([Alert(labels={"severity": name}) for name in given]) == worst


def test_severities_have_other_names_too() -> None:
    assert severity_of([Alert(labels={"priority": "P2"})]) == "P2"


def test_the_title_is_what_the_alerts_say_else_their_names() -> None:
    named = [Alert(labels={"alertname": "Slow", "service": "web"}, annotations={"summary": "one is slow"})]
    assert title_of({"description": "all\nare slow"}, named) == "all are slow"
    assert title_of({}, named) == "one is slow", "a single alert speaks for its group"
    others = [Alert(labels={"alertname": name, "service": "web"}) for name in "abcde"]
    assert title_of({"runbook": "x"}, [*named, *others]) == "Slow, a, b and 3 more in web"
    assert title_of({}, [Alert()]) == "alert"


def test_traces_are_named_by_labels_and_annotations() -> None:
    found = told(
        alert(NOON, annotations={"trace_id": "t1"}),
        alert(NOON, labels={"traceID": "t2"}, annotations={"trace.ids": "t1, t3;t4"}),
    )
    assert sorted(found.trace_ids) == ["t1", "t2", "t3", "t4"]
    after = told(alert(NOON, annotations={"trace_id": "t0"}), former=found)
    assert after.trace_ids == (*found.trace_ids, "t0")
    many = ",".join(map(str, range(INCIDENT_TRACE_IDS_MAX + 5)))
    assert len(told(alert(NOON, annotations={"trace_ids": many})).trace_ids) == INCIDENT_TRACE_IDS_MAX
    assert list(trace_ids_of({"trace_id": "x" * 257, "retrace": "y"})) == []


def test_what_is_too_long_is_cut_and_not_refused() -> None:
    long = {f"k{n}": "v" * (INCIDENT_VALUE_LENGTH_MAX + 9) for n in range(INCIDENT_ENTRIES_MAX + 9)}
    kept = bounded(long)
    assert kept["k0"] == "v" * (INCIDENT_VALUE_LENGTH_MAX - 1) + "…"
    assert sum(len(key) + len(value) for key, value in kept.items()) <= INCIDENT_CHARACTERS_MAX // 2
    assert len(bounded({str(n): "v" for n in range(INCIDENT_ENTRIES_MAX + 9)})) == INCIDENT_ENTRIES_MAX
    assert len(told(alert(NOON, annotations={"summary": "t" * 10_000})).title) == 1024
