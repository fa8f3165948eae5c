"""Incidents against the started program: by the API, by Alertmanager's webhook, by the command line."""

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import grpc
import httpx
import pytest
from google.rpc import code_pb2

from agent_tracer.v1 import correlation_pb2 as pb
from agent_tracer.v1.correlation_pb2_grpc import CorrelationServiceStub
from tests.e2e.talk import CALL_SECONDS, error_info, grpc_refusal, message, refusal, rest, unique, wrong_fields
from tests.fixtures.alertmanager import alert, notification
from tests.fixtures.program import Program, running_program

INCIDENTS, ALERTS = "/api/v1/incidents", "/api/v1/alerts"
START: Final = "2026-05-01T12:00:00Z"
PROBE: Final = r"""{"receiver":"agent-tracer","status":"firing","alerts":[{"status":"firing","labels":{"alertname":"ProbeFailure",
"instance":"https://shop.example.test","job":"http_checks","monitor":"main","severity":"critical"},"annotations":
{"description":"https://shop.example.test has been down for over 5m.\nJob: http_checks","summary":"Probe of \"shop\" fails"},
"startsAt":"2026-02-06T14:08:45.828266876+01:00","endsAt":"0001-01-01T00:00:00Z",
"generatorURL":"http://prometheus.example.test:9090/graph?g0.expr=probe_success+%3D%3D+0\u0026g0.tab=1",
"fingerprint":"1a30ba71cca2921f"}],"groupLabels":{"alertname":"ProbeFailure"},"commonLabels":{"alertname":"ProbeFailure",
"instance":"https://shop.example.test","job":"http_checks","monitor":"main","severity":"critical"},"commonAnnotations":
{"description":"https://shop.example.test has been down for over 5m.\nJob: http_checks","summary":"Probe of \"shop\" fails"},
"externalURL":"http://alertmanager.example.test:9093","version":"4",
"groupKey":"{}/{severity=\"critical\"}:{alertname=\"ProbeFailure\"}","truncatedAlerts":0}
"""
"""A body as it goes over the wire."""


@pytest.fixture
def http(program: Program) -> Iterator[httpx.Client]:
    with rest(program) as client:
        yield client


@pytest.fixture
def stub(program: Program) -> Iterator[CorrelationServiceStub]:
    with grpc.insecure_channel(program.target) as channel:
        yield CorrelationServiceStub(channel)


def create(http: httpx.Client, **fields: Any) -> pb.Incident:
    return message(http.post(INCIDENTS, json=fields), pb.Incident)


def get(http: httpx.Client, incident_id: str) -> pb.Incident:
    return message(http.get(f"{INCIDENTS}/{incident_id}"), pb.Incident)


def listed(http: httpx.Client, **conditions: Any) -> pb.ListIncidentsResponse:
    return message(http.get(INCIDENTS, params=conditions), pb.ListIncidentsResponse)


def receive(http: httpx.Client, body: Mapping[str, Any]) -> pb.Incident:
    """As Alertmanager posts it; its answer's body is of no interest to Alertmanager, but to us."""
    headers = {"content-type": "application/json", "user-agent": "Alertmanager/0.28.1"}
    answer = message(http.post(ALERTS, content=json.dumps(body), headers=headers), pb.ReceiveAlertsResponse)
    (incident,) = answer.incidents
    return incident


def test_an_incident_is_created_found_and_listed(http: httpx.Client) -> None:
    service = unique("web")
    made = create(
        http,
        title="p95 doubled",
        service=service,
        severity="critical",
        startTime=START,
        labels={"metric": "latency_p95", "team": "shop"},
        annotations={"runbook": "https://runbooks.example.test/p95?x=1&y=ü"},
        traceIds=["t-1"],
    )
    assert (made.status, made.source, made.start_time.ToJsonString()) == ("open", "api", START)
    assert not made.HasField("end_time")
    assert dict(made.labels) == {"metric": "latency_p95", "team": "shop"}
    assert get(http, made.incident_id) == made
    assert list(listed(http, service=service).incidents) == [made]


def test_an_incident_without_a_time_begins_now(http: httpx.Client) -> None:
    before = time.time()
    made = create(http, service=unique("web"))
    assert before - 2 <= made.start_time.ToNanoseconds() / 1e9 <= time.time() + 2
    assert made.title
    assert made.incident_id


def test_the_same_again_is_the_same_answer_and_other_content_is_a_conflict(http: httpx.Client) -> None:
    said = {"incidentId": unique("inc"), "title": "slow", "service": unique("web"), "startTime": START}
    made = create(http, **said)
    assert create(http, **said) == made
    answer = http.post(INCIDENTS, json={**said, "title": "fast", "severity": "low"})
    assert answer.status_code == 409
    status = refusal(answer)
    assert (status.code, error_info(status).reason) == (code_pb2.ALREADY_EXISTS, "ID_CONFLICT")
    assert "title, severity" in status.message
    assert get(http, made.incident_id) == made


def test_an_incident_is_resolved_by_its_end(http: httpx.Client) -> None:
    service = unique("web")
    made = create(http, service=service, startTime=START)
    assert [of.incident_id for of in listed(http, service=service, status="open").incidents] == [made.incident_id]
    ended = create(http, incidentId=made.incident_id, endTime="2026-05-01T12:30:00Z")
    assert (ended.status, ended.end_time.ToJsonString()) == ("resolved", "2026-05-01T12:30:00Z")
    assert (ended.service, ended.start_time) == (service, made.start_time)
    assert not listed(http, service=service, status="open").incidents
    assert list(listed(http, service=service, status="resolved").incidents) == [ended]


def test_an_id_may_hold_what_paths_and_texts_may_not(http: httpx.Client) -> None:
    made = create(http, incidentId=unique("INC/42: it's ünï 50% {x}"), startTime=START)
    assert get(http, quote(made.incident_id, safe="")) == made


def test_wrong_fields_are_all_told_by_rest_and_grpc(http: httpx.Client, stub: CorrelationServiceStub) -> None:
    fields: dict[str, Any] = {"service": "a\u0007", "start_time": START, "end_time": "2026-05-01T11:00:00Z"}
    by_rest = refusal(http.post(INCIDENTS, json={**fields, "trace_ids": [""], "labels": {"k": "v" * 5000}}))
    assert wrong_fields(by_rest) == ["service", "end_time", "labels", "trace_ids[0]"]
    request = pb.CreateIncidentRequest(service="a\u0007", trace_ids=[""], labels={"k": "v" * 5000})
    request.start_time.FromJsonString(START)
    request.end_time.FromJsonString("2026-05-01T11:00:00Z")
    assert grpc_refusal(lambda: stub.CreateIncident(request, timeout=CALL_SECONDS)) == by_rest


def test_an_unknown_incident_is_not_found(http: httpx.Client, stub: CorrelationServiceStub) -> None:
    answer = http.get(f"{INCIDENTS}/nobody-told-of-this")
    assert answer.status_code == 404
    status = refusal(answer)
    assert error_info(status).reason == "INCIDENT_NOT_FOUND"
    assert error_info(status).metadata["incident_id"] == "nobody-told-of-this"
    request = pb.GetIncidentRequest(incident_id="nobody-told-of-this")
    assert grpc_refusal(lambda: stub.GetIncident(request, timeout=CALL_SECONDS)) == status


@pytest.mark.parametrize(
    ("conditions", "field"),
    [({"status": "closed"}, "status"), ({"page_token": "zzz"}, "page_token"), ({"page_size": -1}, "page_size")],
)
def test_wrong_conditions_of_a_list_are_told(http: httpx.Client, conditions: dict[str, Any], field: str) -> None:
    answer = http.get(INCIDENTS, params=conditions)
    assert answer.status_code == 400
    assert wrong_fields(refusal(answer)) == [field]


def test_a_list_is_read_page_by_page_newest_first(http: httpx.Client) -> None:
    service = unique("web")
    made = [create(http, service=service, startTime=f"2026-05-01T12:{n // 2:02}:00Z") for n in range(5)]
    seen: list[str] = []
    token = ""
    while True:
        page = listed(http, service=service, page_size=2, page_token=token)
        seen += [of.incident_id for of in page.incidents]
        token = page.next_page_token
        if not token:
            break
    expected = sorted(made, key=lambda of: (of.start_time.seconds, of.incident_id), reverse=True)
    assert seen == [of.incident_id for of in expected]


def test_a_body_as_alertmanager_writes_it_is_taken(http: httpx.Client) -> None:
    answer = http.post(ALERTS, content=PROBE, headers={"content-type": "application/json"})
    (found,) = message(answer, pb.ReceiveAlertsResponse).incidents
    assert (found.title, found.severity, found.service) == ('Probe of "shop" fails', "critical", "http_checks")
    assert (found.status, found.source) == ("open", "alertmanager")
    assert found.start_time.ToNanoseconds() == 1_770_383_325_828_266_876
    assert not found.HasField("end_time")
    assert found.labels["instance"] == "https://shop.example.test"
    assert found.annotations["description"].endswith("over 5m.\nJob: http_checks")
    assert get(http, found.incident_id) == found


def test_a_group_of_alerts_is_one_incident_until_it_fires_again(http: httpx.Client) -> None:
    now, service = time.time() - 3600, unique("checkout")
    one, two = {"service": service, "pod": "a"}, {"service": service, "pod": "b"}
    first = receive(http, notification([alert(now, labels=one)], key=service))
    assert receive(http, notification([alert(now, labels=one)], key=service)) == first
    receive(http, notification([alert(now, labels=one), alert(now + 60, labels=two)], key=service))
    ended = receive(
        http, notification([alert(now, now + 90, labels=one), alert(now + 60, now + 95, labels=two)], key=service)
    )
    assert (ended.incident_id, ended.status) == (first.incident_id, "resolved")
    assert ended.end_time.ToMilliseconds() - ended.start_time.ToMilliseconds() == 95_000
    again = receive(http, notification([alert(now + 900, labels=one)], key=service))
    assert again.incident_id != first.incident_id
    assert list(listed(http, service=service).incidents) == [again, ended]


def test_what_other_senders_add_to_the_webhook_is_passed_over(http: httpx.Client) -> None:
    """Grafana posts the same shape with fields of its own."""
    service = unique("checkout")
    own = {**alert(time.time() - 60, labels={"service": service}), "values": {"B": 44.2, "C": 1}, "silenceURL": "x"}
    body = notification([own], key=service, orgId=1, title="[FIRING:1]", state="alerting", message="m", version="1")
    assert receive(http, body).service == service


def test_what_is_empty_may_be_null_or_missing(http: httpx.Client) -> None:
    service = unique("checkout")
    own = {"status": "firing", "labels": {"service": service}, "annotations": None, "startsAt": START}
    body = {"alerts": [own], "commonLabels": None, "commonAnnotations": None, "groupKey": service}
    found = receive(http, body)
    assert (found.service, found.start_time.ToJsonString(), found.status) == (service, START, "open")
    assert found.title == f"alert in {service}"


def test_a_body_that_is_no_notification_is_told_what_is_wrong(http: httpx.Client) -> None:
    for body, fields in (
        ({}, ["alerts"]),
        ({"status": "ok", "alerts": [{"status": "on", "startsAt": "1999-01-01T00:00:00Z"}]},
         ["status", "alerts[0].status", "alerts[0].starts_at"]),
    ):  # fmt: skip
        answer = http.post(ALERTS, json=body)
        assert answer.status_code == 400
        assert wrong_fields(refusal(answer)) == fields
    assert refusal(http.post(ALERTS, json={"alerts": [{"startsAt": "soon"}]})).code == code_pb2.INVALID_ARGUMENT


def test_the_command_line_tells_lists_shows_and_resolves(program: Program) -> None:
    service, incident_id = unique("web"), unique("inc")
    told = ["--title", "p95 doubled", "--service", service, "--start", START, "--incident-id", incident_id]
    made = json.loads(program.run("incidents", "create", *told, "--label", "metric=p95", "--json").stdout)
    assert (made["incidentId"], made["labels"]) == (incident_id, {"metric": "p95"})
    shown = program.run("incidents", "list", "--service", service, "--status", "open").stdout
    assert incident_id in shown
    assert "p95 doubled" in shown
    ended = program.run("incidents", "resolve", "--incident-id", incident_id).stdout
    assert "resolved" in ended
    known = json.loads(program.run("incidents", "get", "--incident-id", incident_id, "--json").stdout)
    assert known["status"] == "resolved"
    unknown = program.run("incidents", "get", "--incident-id", "nobody-told-of-this", check=False)
    assert unknown.returncode == 1
    assert "nobody-told-of-this" in unknown.stderr


def test_incidents_outlive_a_crash(tmp_path: Path) -> None:
    with running_program(tmp_path / "crash") as program:
        with rest(program) as http:
            made = create(http, service="web", startTime=START)
            firing = receive(http, notification([alert(time.time() - 600)]))
        program.kill()
        program.restart()
        with rest(program) as http:
            assert list(listed(http).incidents) == [firing, made]
            later = notification([alert(firing.start_time.ToMilliseconds() / 1e3, time.time() - 60)])
            assert receive(http, later).incident_id == firing.incident_id
