"""`incidents ...` against a real gRPC server whose answers the test chooses."""

import json
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from agent_tracer.v1 import correlation_pb2 as pb
from tests.integration.cli_server import START, Server, error_info, refusal, run, serving


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    for name in ("AGENT_TRACER_GRPC_URL", "COLUMNS", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


def incident(incident_id: str, lasted_s: int | None = None, **fields: Any) -> pb.Incident:
    made = pb.Incident(
        incident_id=incident_id,
        title=fields.pop("title", "checkout is slow"),
        status="open" if lasted_s is None else "resolved",
        severity="critical",
        service="checkout",
        source="api",
        **fields,
    )
    made.start_time.seconds = START
    if lasted_s is not None:
        made.end_time.seconds = START + lasted_s
    return made


def test_a_list_is_a_line_each_and_names_the_next_page(server: Server) -> None:
    answer = pb.ListIncidentsResponse(incidents=[incident("a-1"), incident("b-2", 125)])
    answer.next_page_token = "more"  # noqa: S105 - a place, no secret
    server.correlation.put(answer)
    result = run(
        server, "incidents", "list", "--status", "open", "--service", "web", "--limit", "2", "--page-token", "t"
    )
    assert result.exit_code == 0, result.stderr
    titles, first, second = result.stdout.splitlines()
    assert titles.split() == ["STARTED", "INCIDENT", "STATUS", "TITLE", "SERVICE", "SEVERITY", "LASTED", "SOURCE"]
    assert "a-1" in first
    assert "open" in first
    assert "2 m 5 s" in second
    assert "--page-token more" in result.stderr
    (request,) = server.correlation.requests
    assert (request.status, request.service, request.page_size, request.page_token) == ("open", "web", 2, "t")
    as_json = run(server, "incidents", "list", "--json")
    assert json_format.Parse(as_json.stdout, pb.ListIncidentsResponse()) == answer


def test_no_incidents_is_said_and_no_error(server: Server) -> None:
    result = run(server, "incidents", "list")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "No incidents.\n")


def test_one_is_shown_with_all_that_is_known_of_it(server: Server) -> None:
    known = incident("a-1", 60, labels={"metric": "p95"}, annotations={"source": "see\x1b[2J"}, trace_ids=["t1", "t2"])
    server.correlation.put(known)
    result = run(server, "incidents", "get", "--incident-id", "a-1")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["checkout", "is", "slow", "✓", "resolved"]
    facts = dict(line.split(maxsplit=1) for line in lines[1:])
    assert (facts["incident"], facts["lasted"], facts["labels"], facts["traces"]) == (
        "a-1",
        "1 m",
        "metric=p95",
        "t1, t2",
    )
    assert [line.split() for line in lines if "source" in line] == [["source", "api"], ["source", "see\\x1b[2J"]]


def test_create_sends_what_was_said_and_nothing_else(server: Server) -> None:
    server.correlation.put(incident("a-1"))
    said = {"--title": "slow", "--service": "web", "--severity": "high", "--start": "2026-05-01T12:00:00Z"}
    arguments = [part for pair in said.items() for part in pair]
    result = run(
        server,
        *("incidents", "create", *arguments, "--incident-id", "mine", "--end", "2026-05-01T12:30:00+00:00"),
        *("--label", "metric=p95", "--label", "q=a=b", "--annotation", "note=x y", "--trace-id", "t1", "--json"),
    )
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["incidentId"] == "a-1"
    (request,) = server.correlation.requests
    assert json_format.MessageToDict(request) == {
        "incidentId": "mine",
        "title": "slow",
        "severity": "high",
        "service": "web",
        "startTime": "2026-05-01T12:00:00Z",
        "endTime": "2026-05-01T12:30:00Z",
        "labels": {"metric": "p95", "q": "a=b"},
        "annotations": {"note": "x y"},
        "traceIds": ["t1"],
    }
    run(server, "incidents", "create")
    assert server.correlation.requests[-1] == pb.CreateIncidentRequest()


def test_resolve_ends_it_now_or_then_and_leaves_what_has_ended(server: Server) -> None:
    server.correlation.put(incident("a-1"))
    assert run(server, "incidents", "resolve", "--incident-id", "a-1").exit_code == 0
    asked, ended = server.correlation.requests
    assert asked == pb.GetIncidentRequest(incident_id="a-1")
    assert (ended.incident_id, ended.title, ended.HasField("start_time")) == ("a-1", "", False)
    assert ended.end_time.seconds > START - 86_400 * 365

    server.correlation.put(incident("a-1", 60))
    assert run(server, "incidents", "resolve", "--incident-id", "a-1").exit_code == 0
    assert isinstance(server.correlation.requests[-1], pb.GetIncidentRequest)
    run(server, "incidents", "resolve", "--incident-id", "a-1", "--end", "2026-05-01T12:00:00Z")
    last: Any = server.correlation.requests[-1]
    assert last.end_time.ToJsonString() == "2026-05-01T12:00:00Z"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("create", "--start", "yesterday"), "--start 'yesterday' is no RFC 3339 time"),
        (("create", "--label", "metric"), "--label 'metric' is not KEY=VALUE"),
        (("create", "--annotation", "=x"), "--annotation '=x' is not KEY=VALUE"),
        (("resolve", "--incident-id", "a", "--end", "soon"), "--end 'soon' is no RFC 3339 time"),
        (("get",), "--incident-id"),
    ],
)
def test_what_cannot_be_meant_is_told_before_the_server_is_asked(
    server: Server, arguments: tuple[str, ...], told: str
) -> None:
    result = run(server, "incidents", *arguments)
    assert result.exit_code == 2
    assert told in result.stderr
    assert server.correlation.requests == []


def test_refusals_are_told_with_their_code(server: Server) -> None:
    server.correlation.refusals.append(
        refusal(grpc.StatusCode.NOT_FOUND, "no incident 'a' is stored", error_info("INCIDENT_NOT_FOUND"))
    )
    result = run(server, "incidents", "get", "--incident-id", "a")
    assert result.exit_code == 1
    assert "NOT_FOUND: no incident 'a' is stored" in result.stderr
