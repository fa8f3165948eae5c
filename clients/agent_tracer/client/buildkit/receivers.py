"""The receivers that the environment names, and OpenTelemetry's exporters to them."""

import logging
import os
import socket
import time
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from opentelemetry.sdk.trace.export import SpanExporter

from agent_tracer.client._shared.environment import PHOENIX_ENDPOINT, BadEndpointError, Target, chosen, target

SEND_SECONDS_MAX: Final = 6.0
"""One request with what is tried again; less than a build waits in all, so that its failure can still be told."""
CONNECT_SECONDS_MAX: Final = 2.0
"""How long a server that refuses connections is given to come back: a build that nobody watches is not to wait."""
_CONNECT_AGAIN_SECONDS: Final = 0.2

_logger: Final = logging.getLogger("agent_tracer.client.buildkit")


def is_listening(receiver: Target, seconds: float) -> bool:
    """Whether somebody takes connections there, within so long. Behind a proxy nobody can tell, and it is believed."""
    parts = urlsplit(receiver.url)
    host, port = parts.hostname or "", parts.port or 0
    if parts.scheme in getproxies() and not proxy_bypass(host):
        return True
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((host, port), CONNECT_SECONDS_MAX).close()
        except OSError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_CONNECT_AGAIN_SECONDS)
        else:
            return True


def receivers() -> list[Target]:
    """Where spans go: the target of AGENT_TRACER_URL or OTEL_*, and Phoenix where PHOENIX_COLLECTOR_ENDPOINT names it.

    A wrong address is warned of and left out. Nowhere where OTEL_TRACES_EXPORTER is none.
    """
    if "none" in chosen("traces"):
        return []
    found: list[Target] = []
    for find in (target, _phoenix):
        try:
            one = find()
        except BadEndpointError as error:
            _logger.warning("%s", error)
            continue
        if one is not None and one.url not in [other.url for other in found]:
            found.append(one)
    return found


def _phoenix() -> Target | None:
    endpoint = os.environ.get(PHOENIX_ENDPOINT, "").strip()
    if not endpoint:
        return None
    key = os.environ.get("PHOENIX_API_KEY", "").strip()
    try:
        found = target(endpoint)
    except BadEndpointError as error:
        raise BadEndpointError(f"{PHOENIX_ENDPOINT}: {error}") from error
    # Agent Tracer's key is not for Phoenix. OTEL_EXPORTER_OTLP_HEADERS are for all receivers: the exporter adds them.
    own = {"authorization": f"Bearer {key}"} if key else {}
    return replace(found, headers={**own, **found.credentials})


def exporter(receiver: Target) -> SpanExporter:
    """OpenTelemetry's own, imported only here: it is heavy."""
    if receiver.transport == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter as GrpcExporter,
        )

        return GrpcExporter(
            endpoint=receiver.url, insecure=receiver.insecure, headers=dict(receiver.headers), timeout=SEND_SECONDS_MAX
        )
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter as HttpExporter,
    )

    return HttpExporter(endpoint=receiver.traces_url, headers=dict(receiver.headers), timeout=SEND_SECONDS_MAX)
