"""Agent Tracer's API for programs in asyncio, on stubs that are generated from the protos.

    import agent_tracer.client
    from agent_tracer.betterproto.agent_tracer.v1 import GetTraceRequest

    async with agent_tracer.client.connect("127.0.0.1:50051") as tracer:
        trace = await tracer.traces.get_trace(GetTraceRequest(trace_id="my-first-trace"))

Spans go to the server by OpenTelemetry's own exporters, not by this package. A call that the server refuses raises
grpclib.GRPCError with its code and text; a server that is not there raises OSError.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from grpclib.client import Channel

from agent_tracer.betterproto.agent_tracer.v1 import (
    AceServiceStub,
    AtlasServiceStub,
    CorrelationServiceStub,
    TraceServiceStub,
)

__all__ = ["DEFAULT_ENDPOINT", "Services", "connect"]

DEFAULT_ENDPOINT: Final = "127.0.0.1:50051"
_ENDPOINT: Final = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^\s:/\[\]@]+):(?P<port>[0-9]{1,5})")
_PORT_MAX: Final = 65_535


@dataclass(frozen=True, slots=True)
class Services:
    """The four services, one connection for all; methods are named after the protos' in snake_case."""

    endpoint: str
    traces: TraceServiceStub
    ace: AceServiceStub
    atlas: AtlasServiceStub
    correlation: CorrelationServiceStub


@asynccontextmanager
async def connect(endpoint: str = DEFAULT_ENDPOINT) -> AsyncIterator[Services]:
    """The server at `host:port`, its gRPC port or one of its REST ports.

    The connection is made with the first call, and again after one was lost. Raises ValueError for another endpoint.
    """
    host, port = _address(endpoint)
    channel = Channel(host, port)
    try:
        yield Services(
            endpoint,
            TraceServiceStub(channel),
            AceServiceStub(channel),
            AtlasServiceStub(channel),
            CorrelationServiceStub(channel),
        )
    finally:
        channel.close()


def _address(endpoint: str) -> tuple[str, int]:
    match = _ENDPOINT.fullmatch(endpoint)
    if match is None or not 0 < int(match["port"]) <= _PORT_MAX:
        message = f"{endpoint!r} is no endpoint: write host:port, such as {DEFAULT_ENDPOINT}"
        raise ValueError(message)
    return match["host"].strip("[]"), int(match["port"])
