"""OTLP over HTTP/1.1, in protobuf and JSON (OpenTelemetry protocol specification, section OTLP/HTTP)."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from google.protobuf import json_format
from google.rpc import code_pb2, error_details_pb2, status_pb2
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from agent_tracer.server.api.errors import status_of
from agent_tracer.server.api.http_body import BodyError, read_body, too_large
from agent_tracer.server.api.otlp_signals import OTLP_SERVICES, export_response
from agent_tracer.server.api.otlp_signals import Response as ExportResponse
from agent_tracer.server.domain.errors import InvalidFieldsError, invalid
from agent_tracer.server.domain.ids import DEFAULT_TENANT, TenantId
from agent_tracer.server.domain.otlp_json import OtlpJsonError, format_response, parse_request
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.limits import HTTP_INLINE_BYTES_MAX, MESSAGE_BYTES_MAX
from agent_tracer.server.services.ingest import Ingest

_PROTOBUF: Final = "application/x-protobuf"
_JSON: Final = "application/json"

_HTTP_STATUSES: Final[Mapping[int, int]] = {
    code_pb2.INVALID_ARGUMENT: 400,
    code_pb2.UNAUTHENTICATED: 401,
    code_pb2.PERMISSION_DENIED: 403,
    code_pb2.NOT_FOUND: 404,
    code_pb2.RESOURCE_EXHAUSTED: 429,
    code_pb2.UNAVAILABLE: 503,
    code_pb2.DEADLINE_EXCEEDED: 504,
}


def default_tenant(_request: Request) -> TenantId:
    """Everybody's telemetry belongs to the one tenant that there is without keys."""
    return DEFAULT_TENANT


def otlp_routes(ingest: Ingest, tenant_of: Callable[[Request], TenantId] = default_tenant) -> Sequence[Route]:
    """POST /v1/traces, /v1/logs, /v1/metrics."""
    return [
        Route(service.http_path, _endpoint(ingest, signal, tenant_of), methods=["POST"])
        for signal, service in OTLP_SERVICES.items()
    ]


def status_response(status: status_pb2.Status, media_type: str = _JSON, http_status: int | None = None) -> Response:
    """A google.rpc.Status as the body of an HTTP answer, with Retry-After where it has a RetryInfo."""
    retry_seconds = _retry_seconds(status)
    if http_status is None:
        http_status = _HTTP_STATUSES.get(status.code, 500)
        # Without a time to try again it is the request that is too large, not the server that is busy.
        if status.code == code_pb2.RESOURCE_EXHAUSTED and retry_seconds is None:
            http_status = 413
    body = _MEDIA[media_type].format_status(status)
    headers = {} if retry_seconds is None else {"retry-after": str(retry_seconds)}
    return Response(body, http_status, headers, media_type)


def _retry_seconds(status: status_pb2.Status) -> int | None:
    """Whole seconds, as Retry-After has no fractions, and at least one."""
    info = error_details_pb2.RetryInfo()
    for detail in status.details:
        if detail.Unpack(info):
            seconds: float = info.retry_delay.ToTimedelta().total_seconds()
            return max(1, math.ceil(seconds))
    return None


@dataclass(frozen=True, slots=True)
class _Media:
    """How a content type is read and written. `decode` gives a serialised export request."""

    decode: Callable[[Signal, bytes], Awaitable[bytes]]
    format_response: Callable[[ExportResponse], bytes]
    format_status: Callable[[status_pb2.Status], bytes]


async def _as_it_is(_signal: Signal, body: bytes) -> bytes:
    return body


async def _from_json(signal: Signal, body: bytes) -> bytes:
    if len(body) <= HTTP_INLINE_BYTES_MAX:
        return _transcode(signal, body)
    return await asyncio.to_thread(_transcode, signal, body)


def _transcode(signal: Signal, body: bytes) -> bytes:
    try:
        return parse_request(signal, body).SerializeToString()
    except OtlpJsonError as error:
        raise _json_error(error) from None


def _json_error(error: OtlpJsonError) -> InvalidFieldsError:
    return invalid(error.path or "body", error.reason)


def _status_json(status: status_pb2.Status) -> bytes:
    return json_format.MessageToJson(status, indent=None).encode()


_MEDIA: Final[Mapping[str, _Media]] = {
    _PROTOBUF: _Media(
        _as_it_is, lambda response: response.SerializeToString(), lambda status: status.SerializeToString()
    ),
    _JSON: _Media(_from_json, format_response, _status_json),
}


def _endpoint(
    ingest: Ingest, signal: Signal, tenant_of: Callable[[Request], TenantId]
) -> Callable[[Request], Awaitable[Response]]:
    async def export(request: Request) -> Response:
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type not in _MEDIA:
            error = invalid("content-type", f"must be {' or '.join(_MEDIA)}")
            return status_response(status_of(error), http_status=415)
        media = _MEDIA[media_type]
        try:
            tenant = tenant_of(request)
            payload = await media.decode(signal, await _body(request))
            outcome = await ingest.export(signal, tenant, payload)
        except BodyError as error:
            return status_response(status_of(error.cause), media_type, error.http_status)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it
        except Exception as error:  # noqa: BLE001 - status_of logs what it does not foresee
            return status_response(status_of(error), media_type)
        return Response(media.format_response(export_response(signal, outcome)), media_type=media_type)

    return export


async def _body(request: Request) -> bytes:
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > MESSAGE_BYTES_MAX:
        raise too_large()
    encoding = request.headers.get("content-encoding", "").strip().lower()
    return await read_body(request.stream(), encoding)
