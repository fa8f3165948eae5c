"""Our OSSA documents against what the published schemas ask, and the OpenAPI document against its own rules."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from a2a.types import AgentCard
from google.protobuf import json_format
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from jsonschema import Draft7Validator, Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from agent_tracer.server.adapters.envoy.bootstrap import descriptor_set
from agent_tracer.server.adapters.envoy.routes import FRONT_PATHS
from agent_tracer.server.api.discovery import AGENT_CARD_PATH, OPENAPI_PATH, Ports, agent_card, openapi_document
from agent_tracer.server.config import Settings
from scripts.openapi import KEPT, document
from scripts.pages.examples import BODIES, VALUES
from tests.fixtures.ossa import MANIFEST, X_OSSA

ROOT: Final = Path(__file__).resolve().parents[2]
OPENAPI: Final = json.loads((ROOT / KEPT).read_text())
VERBS: Final = {"get", "post", "put", "patch", "delete"}


def manifest() -> Any:
    return yaml.safe_load((ROOT / "config/agent.ossa.yaml").read_text())


def errors(schema: Mapping[str, Any], instance: object) -> list[str]:
    Draft7Validator.check_schema(schema)
    return [f"{error.json_path}: {error.message}" for error in Draft7Validator(schema).iter_errors(instance)]


@pytest.mark.parametrize("version", MANIFEST)
def test_the_manifest_keeps_what_each_published_version_asks(version: str) -> None:
    assert errors(MANIFEST[version], manifest()) == []


@pytest.mark.parametrize("version", ["0.2.9", "0.3.6"])
@pytest.mark.parametrize(
    "broken",
    [
        {"apiVersion": "ossa/v2"}, {"kind": "Monitor"}, {"metadata": {"name": "Agent Tracer"}}, {"spec": {"role": ""}},
        {"spec": {"role": "x", "tools": [{"type": "otlp"}]}}, {"status": {}},
    ],
)  # fmt: skip
def test_what_the_schemas_refuse_is_refused_here(version: str, broken: dict[str, Any]) -> None:
    assert errors(MANIFEST[version], manifest() | broken) != []


def test_the_manifest_says_what_is() -> None:
    found, project = manifest(), tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (found["apiVersion"], found["kind"]) == ("ossa/v1.0", "Agent")
    assert found["metadata"]["version"] == project["version"]
    tools = {tool["name"]: tool for tool in found["spec"]["tools"]}
    settings = Settings()
    assert tools["agent-tracer-grpc"]["endpoint"].endswith(f":{settings.tracer.grpc_port}")
    assert tools["agent-tracer-rest"]["config"]["openapi"].endswith(f":{settings.tracer.port}{OPENAPI_PATH}")
    assert tools["otlp"]["endpoint"].endswith(f":{settings.otlp.http_port}")
    services = {
        f"{file.package}.{service.name}"
        for file in FileDescriptorSet.FromString(descriptor_set()).file
        for service in file.service
    }
    assert set(tools["agent-tracer-grpc"]["config"]["services"]) == services


def test_the_openapi_document_names_the_agent_as_ossa_asks() -> None:
    assert errors(X_OSSA, OPENAPI["x-ossa"]) == []
    assert OPENAPI["x-ossa"]["agent"] == {"id": manifest()["metadata"]["name"], "type": "monitor"}
    assert errors(X_OSSA, {"version": "1.0.0", "agent": {"id": "Agent Tracer", "type": "observer"}}) != []


def test_the_openapi_document_is_that_of_the_protos() -> None:
    assert (ROOT / KEPT).read_text() == document(), "run `make gen`"


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in OPENAPI["paths"].items():
        for verb in VERBS & set(item):
            yield path, verb, item[verb]


def test_every_binding_of_the_protos_is_an_operation() -> None:
    from google.api import annotations_pb2  # noqa: PLC0415 - only here

    bound = set()
    for file in FileDescriptorSet.FromString(descriptor_set()).file:
        for method in (method for service in file.service for method in service.method):
            rule: Any = method.options.Extensions[annotations_pb2.http]  # type: ignore[index]
            for one in (rule, *rule.additional_bindings):
                bound.add((getattr(one, one.WhichOneof("pattern")), one.WhichOneof("pattern")))
    assert {(path, verb) for path, verb, _ in operations()} == bound
    names = [operation["operationId"] for _, _, operation in operations()]
    assert sorted(names) == sorted(set(names))


def test_every_variable_of_a_path_is_a_parameter_and_the_other_way_round() -> None:
    for path, _, operation in operations():
        named = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "path" and p["required"]}
        assert named == set(re.findall(r"\{(\w+)\}", path)), path
        pairs = [(p["name"], p["in"]) for p in operation.get("parameters", ())]
        assert len(pairs) == len(set(pairs)), path


def references(part: object) -> Iterator[str]:
    if isinstance(part, Mapping):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def test_every_schema_is_json_schema_and_every_reference_leads_to_one() -> None:
    schemas = OPENAPI["components"]["schemas"]
    for name, schema in schemas.items():
        Draft202012Validator.check_schema(schema)
        assert re.fullmatch(r"[a-zA-Z0-9._-]+", name)
    wanted = set(references(OPENAPI))
    assert {f"#/components/schemas/{name}" for name in schemas} == wanted, "neither missing nor unused"


def test_every_example_fits_its_schema_and_nothing_else_has_one() -> None:
    seen = set()
    for path, _, operation in operations():
        if "requestBody" not in operation:
            continue
        media = operation["requestBody"]["content"]["application/json"]
        schema = {**media["schema"], "components": OPENAPI["components"]}
        assert [error.message for error in Draft202012Validator(schema).iter_errors(media["example"])] == [], path
        wrong = {**media["example"], next(iter(media["example"])): []}
        assert not Draft202012Validator(schema).is_valid(wrong), path
        seen.add(path)
    assert seen == set(BODIES)
    assert {name for path in OPENAPI["paths"] for name in re.findall(r"\{(\w+)\}", path)} == set(VALUES)


def test_the_card_is_a2as_and_offers_only_what_is_answered() -> None:
    card = dict(agent_card("https://tracer.example", Ports(rest=443, ace=None)))
    for name in ("protocolVersion", "url", "preferredTransport"):  # of version 0.3, which the new form does not have
        assert card.pop(name)
    read = json_format.ParseDict(card, AgentCard())
    assert [interface.url for interface in read.supported_interfaces] == [
        "https://tracer.example:443", "https://tracer.example:3009", "https://tracer.example:50051",
    ]  # fmt: skip
    assert "ace" not in {skill.id for skill in read.skills}
    assert read.version == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    paths = {f"{verb.upper()} {path}" for path, verb, _ in operations()}
    assert {example for skill in read.skills for example in skill.examples} <= paths


def test_a_service_that_is_not_answered_is_not_in_the_document() -> None:
    found = openapi_document("http://h", Ports(rest=1, ace=None, atlas=3))
    services = {item["servers"][0]["url"] for item in found["paths"].values()}
    assert services == {"http://h:1", "http://h:3"}


def test_both_documents_are_on_the_front_port() -> None:
    assert {AGENT_CARD_PATH, OPENAPI_PATH} <= set(FRONT_PATHS)


def test_the_document_is_one_by_openapi_3_1() -> None:
    assert list(OpenAPIV31SpecValidator(OPENAPI).iter_errors()) == []
