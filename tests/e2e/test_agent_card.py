"""What the started program says of itself, through the real Envoy: agent card and OpenAPI document, path by path."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from a2a.client.card_resolver import parse_agent_card
from google.protobuf import json_format
from google.rpc import status_pb2

from agent_tracer.server.api.discovery import AGENT_CARD_PATH, OPENAPI_PATH
from tests.e2e.talk import CALL_SECONDS, create, error_info, rest
from tests.fixtures.program import Program, running_program

KEPT: Final = Path(__file__).resolve().parents[2] / "server/agent_tracer/server/api/openapi.json"
OPERATIONS: Final = [
    (path, verb) for path, item in json.loads(KEPT.read_text())["paths"].items() for verb in item if verb != "servers"
]


@pytest.fixture(scope="module")
def own_program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """One of its own: the examples' ids are fixed."""
    with running_program(tmp_path_factory.mktemp("documented")) as started:
        yield started


@pytest.fixture(scope="module")
def document(own_program: Program) -> Mapping[str, Any]:
    with rest(own_program) as client:
        answer = client.get(OPENAPI_PATH)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    found: Mapping[str, Any] = answer.json()
    return found


def test_the_card_is_one_that_a2a_clients_read_and_names_addresses_that_answer(program: Program) -> None:
    with rest(program) as client:
        answer = client.get(AGENT_CARD_PATH)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    card = parse_agent_card(answer.json())
    assert {"traces", "root-cause", "ace", "atlas"} <= {skill.id for skill in card.skills}
    interfaces = {interface.url: interface.protocol_binding for interface in card.supported_interfaces}
    assert set(interfaces) == {
        f"http://127.0.0.1:{port}" for port in (program.rest, program.ace, program.atlas, program.grpc)
    }
    assert not {"JSONRPC", "GRPC", "HTTP+JSON"} & set(interfaces.values()), "A2A's own messages are not answered"
    with rest(program) as client:
        assert client.get(card.documentation_url).json()["openapi"] == "3.1.1"


def test_addresses_are_those_that_the_caller_used(program: Program) -> None:
    with rest(program) as client:
        through = client.get(AGENT_CARD_PATH, headers={"host": "localhost:8443"}).json()
        foreign = client.get(AGENT_CARD_PATH, headers={"host": "elsewhere.example"})
    assert through["url"] == "http://localhost:8443"
    assert foreign.status_code == 403, "a page that was rebound to this machine is not told anything"


def test_the_document_is_the_kept_one_with_this_servers_addresses(
    document: Mapping[str, Any], own_program: Program
) -> None:
    ports = {"3007": own_program.rest, "3008": own_program.ace, "3009": own_program.atlas}
    text = re.sub(r"(http://127\.0\.0\.1:)(\d+)", lambda found: f"{found[1]}{ports[found[2]]}", KEPT.read_text())
    assert document == json.loads(text)


def example_of(parameter: Mapping[str, Any]) -> str:
    assert "example" in parameter, f"{parameter['name']} is required and has no example"
    return str(parameter["example"])


def in_order() -> list[tuple[str, str]]:
    """Traces and incidents are made, then asked for, then deleted."""
    ranks = {"post": 0, "get": 1, "delete": 2}
    made = ("/api/v1/traces", "/api/v1/incidents")
    return sorted(OPERATIONS, key=lambda pair: (ranks[pair[1]], "{" in pair[0], pair[0] not in made))


def call(item: Mapping[str, Any], path: str, verb: str) -> httpx.Response:
    """The operation with the examples that the document gives for it."""
    operation = item[verb]
    needed = [parameter for parameter in operation.get("parameters", ()) if parameter.get("required")]
    for parameter in (p for p in needed if p["in"] == "path"):
        path = path.replace(f"{{{parameter['name']}}}", example_of(parameter))
    query = {p["name"]: example_of(p) for p in needed if p["in"] == "query"}
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
    url = item["servers"][0]["url"] + path
    return httpx.request(verb, url, params=query, json=body, timeout=CALL_SECONDS, trust_env=False)


def test_every_path_answers_and_every_example_works(document: Mapping[str, Any], own_program: Program) -> None:
    with rest(own_program) as client:  # the second agent of the examples, and their workflow
        create(client, "trace-of-another", "api-builder-001", workflowId="feature-development")
    seen = {}
    for path, verb in in_order():
        item = document["paths"][path]
        if item[verb]["operationId"] != "WatchTraces":  # never ends; see the next test
            answer = call(item, path, verb)
            seen[item[verb]["operationId"]] = (answer.status_code, reason_of(answer))
    assert len(seen) == len(OPERATIONS) - 1
    refused = {name: answer for name, answer in seen.items() if answer[0] != 200}
    assert refused == {"GetBenchmark": (404, "BENCHMARK_NOT_FOUND")}, "its id is the server's to give"


def test_a_live_tail_answers_under_its_documented_path(document: Mapping[str, Any]) -> None:
    path = next(
        path for path, item in document["paths"].items() if item.get("get", {}).get("operationId") == "WatchTraces"
    )
    url = document["paths"][path]["servers"][0]["url"] + path
    # The answer begins before there is anything to tell, and never ends.
    with httpx.stream("GET", url, timeout=CALL_SECONDS, trust_env=False) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"


def reason_of(answer: httpx.Response) -> str:
    if answer.status_code == 200:
        return ""
    status = json_format.Parse(answer.text, status_pb2.Status())
    return error_info(status).reason
