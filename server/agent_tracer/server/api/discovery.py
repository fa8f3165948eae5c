"""What the server says of itself to programs: an A2A agent card, and the OpenAPI document of its REST ports.

Sources: A2A protocol 1.0, "Agent Discovery: The Agent Card" (and 0.3 for its older names); OSSA's agent card and its
OpenAPI extensions, which both look for the card at the well-known path.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

AGENT_CARD_PATH: Final = "/.well-known/agent-card.json"
OPENAPI_PATH: Final = "/openapi.json"

_A2A: Final = "1.0"
_REST: Final = "urn:agent-tracer:rest:v1"
_GRPC: Final = "urn:agent-tracer:grpc:v1"
"""Bindings of our own: the API's calls, not A2A's messages, are what these interfaces answer."""
_MEDIA: Final = "application/json"
_HOST: Final = re.compile(r"[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]")
_PORT: Final = re.compile(r":([0-9]{1,5})\Z")


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the API is answered; a service whose port is None is not offered."""

    rest: int | None = 3007
    ace: int | None = 3008
    atlas: int | None = 3009
    grpc: int | None = 50051


@dataclass(frozen=True, slots=True)
class Skill:
    """What one or several calls of a service answer."""

    id: str
    name: str
    description: str
    tags: tuple[str, ...]
    example: str
    port: str = "rest"


SKILLS: Final = (
    Skill(
        "traces", "Traces", "Keeps traces of agents durably; finds, reads, exports and aggregates them.",
        ("observability", "tracing", "opentelemetry"), "POST /api/v1/traces",
    ),
    Skill(
        "evaluations", "Evaluations", "Takes judgements of traces and spans by people, code and models.",
        ("evaluation",), "POST /api/v1/traces/{trace_id}/evaluations",
    ),
    Skill(
        "correlations", "Correlations", "Finds traces, metrics, logs and events that belong to a trace.",
        ("correlation",), "POST /api/v1/correlations",
    ),
    Skill(
        "root-cause", "Root cause", "Ranks what caused an incident, with the evidence.",
        ("root-cause", "incidents"), "POST /api/v1/rca",
    ),
    Skill(
        "failure-attribution", "Failure attribution", "Names the agent and the step that made a run fail.",
        ("failures", "multi-agent"), "GET /api/v1/traces/{trace_id}/failure",
    ),
    Skill(
        "service-graph", "Service graph", "Shows which services, agents, models and tools call each other.",
        ("graph",), "GET /api/v1/graph",
    ),
    Skill(
        "ace", "ACE scores", "Scores agents, ranks them and compares their versions, with intervals.",
        ("evaluation", "benchmarks"), "POST /api/v1/ace/score", "ace",
    ),
    Skill(
        "atlas", "ATLAS analytics", "Tells whether agents learn and where workflows lose time.",
        ("learning", "workflows"), "GET /api/v1/atlas/analytics/{agent_id}", "atlas",
    ),
)  # fmt: skip


def discovery_routes(ports: Ports) -> Sequence[Route]:
    """GET of the card and of the OpenAPI document, with the addresses under which the caller reached this server."""

    async def card(request: Request) -> Response:
        return JSONResponse(agent_card(*_reached(request, ports)))

    async def openapi(request: Request) -> Response:
        return JSONResponse(openapi_document(*_reached(request, ports)))

    return [Route(AGENT_CARD_PATH, card), Route(OPENAPI_PATH, openapi)]


def agent_card(base: str, ports: Ports) -> Mapping[str, Any]:
    """The card. `base`: scheme and host, such as `http://127.0.0.1`."""
    offered = {name: port for name in ("rest", "ace", "atlas") if (port := getattr(ports, name)) is not None}
    skills = [skill for skill in SKILLS if skill.port in offered]
    rest = [(f"{base}:{port}", _REST) for port in offered.values()]
    grpc = [(f"{base}:{ports.grpc}", _GRPC)] if ports.grpc is not None else []
    return {
        "name": "Agent Tracer",
        "description": "Observability for AI agents: durable traces, scores, learning analytics and root cause.",
        "version": _version(),
        "supportedInterfaces": [
            {"url": url, "protocolBinding": binding, "protocolVersion": _A2A} for url, binding in rest + grpc
        ],
        # The same for readers of A2A 0.3, which had one interface at the top.
        "protocolVersion": _A2A,
        "url": (rest + grpc)[0][0] if rest + grpc else base,
        "preferredTransport": _REST,
        "documentationUrl": f"{base}:{ports.rest}{OPENAPI_PATH}",
        "capabilities": {"streaming": False, "pushNotifications": False, "extendedAgentCard": False},
        "defaultInputModes": [_MEDIA],
        "defaultOutputModes": [_MEDIA],
        "skills": [
            {
                "id": skill.id,
                "name": skill.name,
                "description": skill.description,
                "tags": list(skill.tags),
                "examples": [skill.example],
                "inputModes": [_MEDIA],
                "outputModes": [_MEDIA],
            }
            for skill in skills
        ],
    }


def openapi_document(base: str, ports: Ports) -> Mapping[str, Any]:
    """The document that is made from the protos, with this server's addresses in place of the default ones."""
    usual = Ports()
    moved = {
        f"http://127.0.0.1:{getattr(usual, name)}": f"{base}:{port}"
        for name in ("rest", "ace", "atlas")
        if (port := getattr(ports, name)) is not None
    }
    kept = _kept_document()
    paths = {path: _at(item, moved) for path, item in kept["paths"].items() if item["servers"][0]["url"] in moved}
    return {**_at(kept, moved), "paths": paths}


def _at(part: Mapping[str, Any], moved: Mapping[str, str]) -> Mapping[str, Any]:
    return {**part, "servers": [{"url": moved.get(one["url"], one["url"])} for one in part["servers"]]}


@cache
def _kept_document() -> Mapping[str, Any]:
    text = resources.files("agent_tracer.server.api").joinpath("openapi.json").read_text(encoding="utf-8")
    found: Mapping[str, Any] = json.loads(text)
    return found


def _reached(request: Request, ports: Ports) -> tuple[str, Ports]:
    """Scheme and host as the caller wrote them, and the port that was asked, which a forwarder may have changed."""
    given = request.headers.get("host", "")
    port = _PORT.search(given)
    host = given[: port.start()] if port else given
    scheme = "https" if request.headers.get("x-forwarded-proto") == "https" else "http"
    if _HOST.fullmatch(host) is None:
        return f"{scheme}://127.0.0.1", ports
    return f"{scheme}://{host}", replace(ports, rest=int(port[1])) if port and ports.rest is not None else ports


def _version() -> str:
    try:
        return version("agent-tracer")
    except PackageNotFoundError:
        return "0.0.0"
