"""What the descriptor set says about each service that Envoy must know: its streams and their REST paths."""

import re
from dataclasses import dataclass
from typing import Final

from google.api import annotations_pb2, http_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet, MethodDescriptorProto

_VARIABLE: Final = re.compile(r"\{[^}]*\}")


class ContractError(ValueError):
    """The descriptor set lacks a service that a listener offers."""


@dataclass(frozen=True, slots=True)
class Stream:
    """A server-streaming method: its gRPC path, and regular expressions of the REST paths that lead to it."""

    grpc_path: str
    rest_paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Contract:
    """The server-streaming methods of every service, by the service's full name."""

    streams: dict[str, tuple[Stream, ...]]

    def streams_of(self, service: str) -> tuple[Stream, ...]:
        """The service's server-streaming methods. Raises ContractError where the service is unknown."""
        if service not in self.streams:
            raise ContractError(f"{service} is in no proto of the descriptor set: run `make gen`")
        return self.streams[service]


def read_contract(descriptor_set: bytes) -> Contract:
    """Reads a serialised google.protobuf.FileDescriptorSet."""
    streams: dict[str, tuple[Stream, ...]] = {}
    for file in FileDescriptorSet.FromString(descriptor_set).file:
        for service in file.service:
            name = f"{file.package}.{service.name}"
            streams[name] = tuple(
                Stream(f"/{name}/{method.name}", _rest_paths(method))
                for method in service.method
                if method.server_streaming
            )
    return Contract(streams)


def _rest_paths(method: MethodDescriptorProto) -> tuple[str, ...]:
    rule: http_pb2.HttpRule = method.options.Extensions[annotations_pb2.http]  # type: ignore[index]
    templates = [_template(r) for r in (rule, *rule.additional_bindings)]
    return tuple(_regex(template) for template in templates if template)


def _template(rule: http_pb2.HttpRule) -> str:
    pattern = rule.WhichOneof("pattern")
    return "" if pattern is None or pattern == "custom" else str(getattr(rule, pattern))


def _regex(template: str) -> str:
    """A path template (google/api/http.proto) as a regular expression; each variable is one segment."""
    literals = _VARIABLE.split(template)
    return "[^/]+".join(re.escape(literal).replace("\\-", "-") for literal in literals)
