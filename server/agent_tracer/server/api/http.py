"""The HTTP applications: OTLP, what operators look at, and both together for Envoy."""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Final

from google.rpc import code_pb2, status_pb2
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import CollectorRegistry
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from agent_tracer.server.api.discovery import Ports, discovery_routes
from agent_tracer.server.api.http_server import serve
from agent_tracer.server.api.otlp_http import default_tenant, otlp_routes, status_response
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.services.health import Readiness
from agent_tracer.server.services.ingest import Ingest

__all__ = ["combined_app", "ops_app", "otlp_app", "serve"]

_LOCAL_ORIGINS: Final = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?"
_PREFLIGHT_SECONDS: Final = 3600


def otlp_app(
    ingest: Ingest,
    *,
    tenant_of: Callable[[Request], TenantId] = default_tenant,
    cors_origins: Sequence[str] = (),
) -> Starlette:
    """OTLP over HTTP. Pages of `cors_origins` ("*": any) may send; by default those of this machine."""
    cors = Middleware(
        CORSMiddleware,
        allow_origins=cors_origins,
        allow_origin_regex=None if cors_origins else _LOCAL_ORIGINS,
        allow_methods=("POST",),
        allow_headers=("*",),
        max_age=_PREFLIGHT_SECONDS,
    )
    return _app(otlp_routes(ingest, tenant_of), [cors])


def ops_app(registry: CollectorRegistry, readiness: Readiness) -> Starlette:
    """/metrics for Prometheus, /healthz (the process lives), /readyz (200 or 503, with each component)."""
    return _app(_ops_routes(registry, readiness))


def combined_app(
    ingest: Ingest,
    registry: CollectorRegistry,
    readiness: Readiness,
    *,
    tenant_of: Callable[[Request], TenantId] = default_tenant,
    ports: Ports = Ports(),  # noqa: B008 - frozen
) -> Starlette:
    """OTLP, operations and what the server says of itself, as Envoy's backend. Without CORS: Envoy answers browsers.

    `ports` are those that callers reach the API at.
    """
    return _app([*otlp_routes(ingest, tenant_of), *_ops_routes(registry, readiness), *discovery_routes(ports)])


def _app(routes: Sequence[Route], middleware: Sequence[Middleware] = ()) -> Starlette:
    return Starlette(routes=routes, middleware=list(middleware), exception_handlers={HTTPException: _http_exception})


def _ops_routes(registry: CollectorRegistry, readiness: Readiness) -> Sequence[Route]:
    async def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"content-type": content_type})

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_request: Request) -> Response:
        is_ready = readiness.is_ready
        components = {name: state._asdict() for name, state in readiness.components.items()}
        return JSONResponse({"ready": is_ready, "components": components}, 200 if is_ready else 503)

    return [Route("/metrics", metrics), Route("/healthz", healthz), Route("/readyz", readyz)]


async def _http_exception(_request: Request, error: Exception) -> Response:
    """No route, or not with this method: answered like every other error."""
    http_status = error.status_code if isinstance(error, HTTPException) else HTTPStatus.INTERNAL_SERVER_ERROR
    code = code_pb2.NOT_FOUND if http_status == HTTPStatus.NOT_FOUND else code_pb2.UNIMPLEMENTED
    status = status_pb2.Status(code=code, message=HTTPStatus(http_status).phrase)
    response = status_response(status, http_status=http_status)
    response.headers.update(getattr(error, "headers", None) or {})
    return response
