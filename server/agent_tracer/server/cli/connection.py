"""The way to the server: its address, one channel, and gRPC errors in words."""

# Imports wait until a command needs them: `--help` must be quick.
# ruff: noqa: PLC0415

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from agent_tracer.server.cli.errors import RefusedByServerError, ServerNotReachedError, WrongUsageError
from agent_tracer.server.limits import CLI_CALL_SECONDS, CLI_RECEIVE_BYTES_MAX

if TYPE_CHECKING:
    import grpc

    from agent_tracer.v1.ace_pb2_grpc import AceServiceStub
    from agent_tracer.v1.atlas_pb2_grpc import AtlasServiceStub
    from agent_tracer.v1.correlation_pb2_grpc import CorrelationServiceStub
    from agent_tracer.v1.trace_pb2_grpc import TraceServiceStub

DEFAULT_ENDPOINT: Final = "127.0.0.1:50051"
ENDPOINT_VARIABLE: Final = "AGENT_TRACER_GRPC_URL"
CLIENTS_VARIABLE: Final = "AGENT_TRACER_URL"
"""Where agents send, most often the REST or an OTLP port."""

_GRPC_PORT: Final = 50051
_PORTS_BESIDE: Final = frozenset({None, 3007, 3008, 3009, 4317, 4318})
"""Who names a server by one of its usual ports, or by its host alone, means the server, which has gRPC on its own."""

_ENDPOINT: Final = re.compile(r"(?:(?:http|grpc)://)?((?:\[[0-9a-fA-F:.]+\]|[^\s:/\[\]@]+):[0-9]{1,5})/?")
_LOOPBACK: Final = re.compile(r"(?:127\.[0-9.]+|localhost|\[::1\]):[0-9]+")
_ELSEWHERE_CODES: Final = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED"})
_VERSION_HINT: Final = "is this the gRPC port of an Agent Tracer server, of this version? `agent-tracer doctor` shows"


def server_address(endpoint: str | None) -> str:
    """`host:port` of what `--endpoint` or AGENT_TRACER_GRPC_URL says, else of AGENT_TRACER_URL, else the default.

    Raises WrongUsageError.
    """
    given = endpoint or clients_server() or DEFAULT_ENDPOINT
    match = _ENDPOINT.fullmatch(given)
    if match is None:
        message = f"{given!r} is no server address"
        hint = f"write host:port in --endpoint or {ENDPOINT_VARIABLE}, such as {DEFAULT_ENDPOINT}"
        raise WrongUsageError(message, [hint])
    return match[1]


def clients_server() -> str | None:
    """`host:port` of gRPC on the server that AGENT_TRACER_URL names; None where it says nothing.

    Raises WrongUsageError, which does not show what may be a password.
    """
    given = os.environ.get(CLIENTS_VARIABLE, "").strip()
    try:
        url = urlsplit(given if "://" in given else f"//{given}")
        host, port = url.hostname, url.port
    except ValueError:
        host = port = None
    if given and (not host or url.scheme not in {"", "http", "grpc"}):
        message = f"{CLIENTS_VARIABLE} names no server that the command line can call"
        raise WrongUsageError(
            message, [f"write host:port of its gRPC in --endpoint or {ENDPOINT_VARIABLE}, without TLS"]
        )
    return address_of(host, _GRPC_PORT if port in _PORTS_BESIDE else port) if host else None


def address_of(host: str, port: int | None) -> str:
    """`host:port`, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(address: str) -> bool:
    """Whether the address is of this machine."""
    return _LOOPBACK.fullmatch(address) is not None


@contextmanager
def open_channel(endpoint: str | None) -> "Iterator[grpc.Channel]":
    """A channel to the server. gRPC errors of the block leave as CommandError.

    Raises:
        WrongUsageError: the endpoint is malformed.
        ServerNotReachedError: nobody answers there, or not in time.
        RefusedByServerError: the server answered with an error.
    """
    address = server_address(endpoint)
    # Set before grpc is first imported: its core logs to stderr what is said in words here.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    import grpc

    options = [
        ("grpc.max_receive_message_length", CLI_RECEIVE_BYTES_MAX),
        ("grpc.max_send_message_length", -1),
        ("grpc.enable_http_proxy", 0 if is_loopback(address) else 1),
    ]
    with grpc.insecure_channel(address, options=options) as channel:
        try:
            yield channel
        except grpc.RpcError as error:
            raise told(error, address) from None


@contextmanager
def trace_service(endpoint: str | None) -> "Iterator[TraceServiceStub]":
    """TraceService at the endpoint; errors as in `open_channel`."""
    with open_channel(endpoint) as channel:
        from agent_tracer.v1.trace_pb2_grpc import TraceServiceStub

        yield TraceServiceStub(channel)


@contextmanager
def ace_service(endpoint: str | None) -> "Iterator[AceServiceStub]":
    """AceService at the endpoint; errors as in `open_channel`."""
    with open_channel(endpoint) as channel:
        from agent_tracer.v1.ace_pb2_grpc import AceServiceStub

        yield AceServiceStub(channel)


@contextmanager
def atlas_service(endpoint: str | None) -> "Iterator[AtlasServiceStub]":
    """AtlasService at the endpoint; errors as in `open_channel`."""
    with open_channel(endpoint) as channel:
        from agent_tracer.v1.atlas_pb2_grpc import AtlasServiceStub

        yield AtlasServiceStub(channel)


@contextmanager
def correlation_service(endpoint: str | None) -> "Iterator[CorrelationServiceStub]":
    """CorrelationService at the endpoint; errors as in `open_channel`."""
    with open_channel(endpoint) as channel:
        from agent_tracer.v1.correlation_pb2_grpc import CorrelationServiceStub

        yield CorrelationServiceStub(channel)


def told(error: "grpc.RpcError", address: str) -> RefusedByServerError | ServerNotReachedError:
    """A gRPC error in words.

    UNAVAILABLE and DEADLINE_EXCEEDED are the server's own answers only where it says why (ErrorInfo).
    """
    from google.rpc import error_details_pb2
    from grpc_status import rpc_status

    code = error.code().name
    status = rpc_status.from_call(error)
    info, bad, retry = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.BadRequest(),
        error_details_pb2.RetryInfo(),
    )
    for detail in status.details if status else ():
        for known in (info, bad, retry):
            detail.Unpack(known)
    if code in _ELSEWHERE_CODES and not info.reason:
        return not_reached(address, too_slow=code == "DEADLINE_EXCEEDED")
    hints = [f"field {v.field}: {v.description}" for v in bad.field_violations]
    retry_seconds = retry.retry_delay.ToMilliseconds() / 1000 if retry.HasField("retry_delay") else None
    if retry_seconds is not None:
        hints.append(f"try again in {retry_seconds:g} s")
    if code == "UNIMPLEMENTED" and not info.reason:
        hints.append(_VERSION_HINT)
    return RefusedByServerError(code, error.details() or "the server gave no reason", hints, retry_seconds)


def not_reached(address: str, *, too_slow: bool = False) -> ServerNotReachedError:
    """Nobody answers at the address, and what to do."""
    what = f"did not answer within {CLI_CALL_SECONDS:g} s" if too_slow else "does not answer"
    return ServerNotReachedError(
        f"the server at {address} {what}",
        [
            "start one on this machine: agent-tracer start",
            f"or name another: --endpoint HOST:PORT, or {ENDPOINT_VARIABLE}=HOST:PORT",
        ],
    )
