"""The REST API as an OpenAPI 3.1 document, made from the protos: paths of google.api.http, messages as schemas.

Sources: OpenAPI 3.1.1; google/api/http.proto (which field is path, query and body); the JSON mapping of proto3.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from google.api import annotations_pb2, field_behavior_pb2, http_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, MethodDescriptor

from agent_tracer.server.adapters.envoy.plan import SERVICES
from agent_tracer.server.config import Settings
from agent_tracer.v1 import ace_pb2, atlas_pb2, correlation_pb2, trace_pb2
from scripts.pages.examples import BODIES, VALUES

Json = dict[str, Any]

_PROTOS: Final = Path(__file__).resolve().parents[2] / "proto/agent_tracer/v1"
_FILES: Final = (trace_pb2, correlation_pb2, ace_pb2, atlas_pb2)
_VARIABLE: Final = re.compile(r"\{(\w+)\}")
_STATUS: Final = "google.rpc.Status"
_PORT_SETTINGS: Final = {"tracer": "port", "ace": "ace_port", "atlas": "atlas_port"}

_INTEGER: Final[Json] = {"type": "integer", "format": "int32"}
_LONG: Final[Json] = {"type": "string", "format": "int64"}
_SCALARS: Final[Mapping[int, Json]] = {
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.TYPE_FLOAT: {"type": "number", "format": "float"},
    FieldDescriptor.TYPE_INT32: _INTEGER,
    FieldDescriptor.TYPE_UINT32: _INTEGER,
    FieldDescriptor.TYPE_INT64: _LONG,
    FieldDescriptor.TYPE_UINT64: _LONG,
}
_WELL_KNOWN: Final[Mapping[str, Json]] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?s$"},
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.Value": {},
    "google.protobuf.Empty": {"type": "object"},
    "google.protobuf.Any": {"type": "object", "required": ["@type"], "properties": {"@type": {"type": "string"}}},
}


_ERROR: Final[Json] = {
    "type": "object",
    "description": "google.rpc.Status; the first detail is a google.rpc.ErrorInfo, whose reason programs go by.",
    "properties": {
        "code": {**_INTEGER, "description": "A google.rpc.Code."},
        "message": {"type": "string"},
        "details": {"type": "array", "items": _WELL_KNOWN["google.protobuf.Any"]},
    },
    "required": ["code", "message"],
}


def openapi(version: str) -> str:
    """The document as JSON text. `version`: the project's."""
    comments = _comments()
    schemas: dict[str, Json] = {}
    paths: dict[str, Json] = {}
    ports = {
        service: getattr(Settings().tracer, _PORT_SETTINGS[name]) for name, many in SERVICES.items() for service in many
    }
    for file in _FILES:
        for service in file.DESCRIPTOR.services_by_name.values():
            server = {"url": f"http://127.0.0.1:{ports[service.full_name]}"}
            for method in service.methods:
                for binding in _bindings(method):
                    item = paths.setdefault(binding.path, {"servers": [server]})
                    item[binding.verb] = _operation(method, binding, comments, schemas)
    schemas[_STATUS] = _ERROR
    return _text(version, paths, schemas)


def _text(version: str, paths: Mapping[str, Json], schemas: Mapping[str, Json]) -> str:
    tracer = Settings().tracer
    document = {
        "openapi": "3.1.1",
        "info": {
            "title": "Agent Tracer",
            "summary": "Observability for AI agents.",
            "description": "The REST form of the gRPC services, by proto3's JSON mapping.",
            "version": version,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "x-ossa": {"version": "1.0.0", "agent": {"id": "agent-tracer", "type": "monitor"}},
        "servers": [{"url": f"http://127.0.0.1:{tracer.port}"}],
        "tags": [{"name": s.name} for file in _FILES for s in file.DESCRIPTOR.services_by_name.values()],
        "paths": dict(paths),
        "components": {"schemas": dict(sorted(schemas.items()))},
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


class Binding(NamedTuple):
    """A way to call a method: which one of its ways, verb, path template and what of the message is the body."""

    number: int
    verb: str
    path: str
    body: str


def _bindings(method: MethodDescriptor) -> Iterator[Binding]:
    rule: http_pb2.HttpRule = method.GetOptions().Extensions[annotations_pb2.http]  # type: ignore[index]
    for number, one in enumerate((rule, *rule.additional_bindings)):
        verb = one.WhichOneof("pattern")
        if verb is not None:
            yield Binding(number, verb, getattr(one, verb), one.body)


def _operation(
    method: MethodDescriptor, binding: Binding, comments: Mapping[str, str], schemas: dict[str, Json]
) -> Json:
    number, path, body = binding.number, binding.path, binding.body
    request = method.input_type
    in_path = _VARIABLE.findall(path)
    made: Json = {
        "operationId": method.name + (f"_{number}" if number else ""),
        "tags": [method.containing_service.name],
        **_described(comments.get(method.full_name, "")),
    }
    parameters = [_parameter(request.fields_by_name[name], "path", comments, schemas) for name in in_path]
    if body == "":
        left = (field for field in request.fields if field.name not in in_path)
        parameters += [_parameter(field, "query", comments, schemas) for field in left]
    if parameters:
        made["parameters"] = parameters
    if body:
        message = request if body == "*" else request.fields_by_name[body].message_type
        assert message is not None, f"{path}: the body is a message"  # noqa: S101 - a program of this repository
        schema = _body(message, in_path, comments, schemas)
        media: Json = {"schema": schema, **({"example": BODIES[path]} if path in BODIES else {})}
        made["requestBody"] = {"required": True, "content": {"application/json": media}}
    made["responses"] = _responses(method, comments, schemas)
    return made


def _parameter(field: FieldDescriptor, place: str, comments: Mapping[str, str], schemas: dict[str, Json]) -> Json:
    """A path variable goes by the field's own name, as its template does; a query parameter by its JSON name."""
    example = VALUES.get(field.name)
    return {
        "name": field.name if place == "path" else field.json_name,
        "in": place,
        **({"required": True} if place == "path" or _is_required(field) else {}),
        **_described(comments.get(field.full_name, "")),
        "schema": _type_of(field, comments, schemas),
        **({"example": example} if example is not None and (place == "path" or _is_required(field)) else {}),
    }


def _body(message: Descriptor, in_path: list[str], comments: Mapping[str, str], schemas: dict[str, Json]) -> Json:
    """The message; where the path has some of its fields they are no part of the body (and a collision is refused)."""
    whole = _schema(message, comments, schemas)
    if not any(name in message.fields_by_name for name in in_path):
        return whole
    named = {message.fields_by_name[name].json_name for name in in_path if name in message.fields_by_name}
    schema = schemas[message.full_name]
    kept = {name: value for name, value in schema["properties"].items() if name not in named}
    required = [name for name in schema.get("required", []) if name not in named]
    return {"type": "object", "properties": kept, **({"required": required} if required else {})}


def _responses(method: MethodDescriptor, comments: Mapping[str, str], schemas: dict[str, Json]) -> Json:
    text = "One message a line, each as it comes." if method.server_streaming else "OK"
    answer = {"schema": _schema(method.output_type, comments, schemas)}
    error = {"schema": {"$ref": f"#/components/schemas/{_STATUS}"}}
    return {
        "200": {"description": text, "content": {"application/json": answer}},
        "default": {"description": "An error, with its reason.", "content": {"application/json": error}},
    }


def _schema(message: Descriptor, comments: Mapping[str, str], schemas: dict[str, Json]) -> Json:
    """A reference to the message's schema, which is added to `schemas` with those that it needs."""
    if message.full_name in _WELL_KNOWN:
        return dict(_WELL_KNOWN[message.full_name])
    if message.full_name not in schemas:
        made: Json = {"type": "object", **_described(comments.get(message.full_name, ""))}
        schemas[message.full_name] = made
        made["properties"] = {
            field.json_name: {**_type_of(field, comments, schemas), **_described(comments.get(field.full_name, ""))}
            for field in message.fields
        }
        if required := [field.json_name for field in message.fields if _is_required(field)]:
            made["required"] = required
    return {"$ref": f"#/components/schemas/{message.full_name}"}


def _type_of(field: FieldDescriptor, comments: Mapping[str, str], schemas: dict[str, Json]) -> Json:
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        values = _type_of(message.fields_by_name["value"], comments, schemas)
        return {"type": "object", "additionalProperties": values}
    single = _single(field, comments, schemas)
    return {"type": "array", "items": single} if field.is_repeated else single


def _single(field: FieldDescriptor, comments: Mapping[str, str], schemas: dict[str, Json]) -> Json:
    if field.message_type is not None:
        return _schema(field.message_type, comments, schemas)
    if field.enum_type is not None:
        values: EnumDescriptor = field.enum_type
        return {"type": "string", "enum": [value.name for value in values.values]}
    return dict(_SCALARS[field.type])


def _is_required(field: FieldDescriptor) -> bool:
    behaviours: Sequence[int] = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]  # type: ignore[index]
    return field_behavior_pb2.REQUIRED in behaviours


def _described(comment: str) -> Json:
    return {"description": comment} if comment else {}


def _comments() -> Mapping[str, str]:
    """The comment above each message, field and method of the protos, by its full name."""
    found: dict[str, str] = {}
    for path in sorted(_PROTOS.glob("*.proto")):
        scopes, comment = ["agent_tracer.v1"], ""
        for line in path.read_text().splitlines():
            text = line.strip()
            if text.startswith("//"):
                comment = f"{comment} {text.removeprefix('//').strip()}".strip()
                continue
            if match := re.match(r"(?:service|message|enum|rpc) (\w+)|(?:[\w.<>, ]+) (\w+) = \d+", text):
                name = ".".join((*scopes, match[1] or match[2]))
                if comment:
                    found[name] = comment
                scopes += [match[1]] * (text.count("{") > text.count("}"))
            elif text.endswith("{"):
                scopes.append("")
            if text.startswith("}") and len(scopes) > 1:
                scopes.pop()
            comment = ""
    return found
