"""What an exporter's endpoint stands for."""

import pytest

from agent_tracer.server.adapters.exporters.answers import retry_after_seconds
from agent_tracer.server.adapters.exporters.destination import (
    Destination,
    destination,
    jaeger_destination,
    loki_destination,
)
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.services.forwarding_pauses import Pauses


def where(found: Destination) -> str:
    return f"grpc {found.target}" if found.protocol == "grpc" else f"{found.protocol} {found.url(Signal.TRACES)}"


@pytest.mark.parametrize(
    ("endpoint", "protocol", "expected"),
    [
        ("http://localhost:4317", "auto", "grpc localhost:4317"),
        ("http://localhost:4317/", "auto", "grpc localhost:4317"),
        ("https://tempo.example:4317", "auto", "grpc tempo.example:4317"),
        ("http://[::1]:4317", "auto", "grpc [::1]:4317"),
        ("http://localhost:4318", "auto", "http/protobuf http://localhost:4318/v1/traces"),
        ("http://localhost:4318/v1/traces", "auto", "http/protobuf http://localhost:4318/v1/traces"),
        ("http://localhost:4317/v1/traces", "auto", "http/protobuf http://localhost:4317/v1/traces"),
        ("http://localhost:6006", "auto", "http/protobuf http://localhost:6006/v1/traces"),
        ("http://localhost:6006/", "auto", "http/protobuf http://localhost:6006/v1/traces"),
        ("https://api.example/otlp/v1/logs", "auto", "http/protobuf https://api.example:443/otlp/v1/traces"),
        ("http://[::1]:9/a?key=1", "auto", "http/protobuf http://[::1]:9/a/v1/traces?key=1"),
        ("http://collector:5000", "grpc", "grpc collector:5000"),
        ("https://collector", "grpc", "grpc collector:443"),
        ("http://collector", "grpc", "grpc collector:4317"),
        ("http://localhost:4317", "http/protobuf", "http/protobuf http://localhost:4317/v1/traces"),
    ],
)
def test_an_endpoint_says_protocol_and_place(endpoint: str, protocol: str, expected: str) -> None:
    assert where(destination(endpoint, protocol)) == expected


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("http://localhost:14268/api/traces", "http://localhost:14268/api/traces"),
        ("http://localhost:14268", "http://localhost:14268/api/traces"),
        ("https://jaeger.example/collect/api/traces/", "https://jaeger.example:443/collect/api/traces"),
    ],
)
def test_jaegers_older_collector_speaks_thrift(endpoint: str, expected: str) -> None:
    found = jaeger_destination(endpoint)

    assert (found.protocol, found.base) == ("thrift", expected)


def test_jaeger_elsewhere_speaks_otlp() -> None:
    assert where(jaeger_destination("http://localhost:4317")) == "grpc localhost:4317"
    assert where(jaeger_destination("http://localhost:4318")) == "http/protobuf http://localhost:4318/v1/traces"


@pytest.mark.parametrize(
    "endpoint",
    ["http://loki:3100", "http://loki:3100/otlp", "http://loki:3100/otlp/v1/logs", "http://loki:3100/loki/api/v1/push"],
)
def test_lokis_otlp_is_found_from_any_of_its_addresses(endpoint: str) -> None:
    assert loki_destination(endpoint).url(Signal.LOGS) == "http://loki:3100/otlp/v1/logs"


def test_user_and_password_become_a_header_and_are_nowhere_else() -> None:
    found = destination("https://me:s3cr%40t@host/x")

    assert found.headers == {"authorization": "Basic bWU6czNjckB0"}
    assert "s3cr" not in repr(found)
    assert "bWU6" not in repr(found)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        ("0", 0),
        ("Thu, 01 Jan 1970 00:02:00 GMT", 20),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("soon", None),
        ("-5", None),
        ("", None),
        (None, None),
        ("9" * 400, None),
    ],
)
def test_retry_after_is_a_number_or_a_date(header: str | None, seconds: float | None) -> None:
    found = retry_after_seconds(header, now=100)

    assert found == seconds or (found == float("inf") and seconds is None)


def test_an_hours_outage_costs_some_hundred_attempts() -> None:
    pauses, at, attempts = Pauses(lambda: 0.5), 0.0, 0
    while at < 3600:
        at += pauses.following(None)
        attempts += 1

    assert 120 <= attempts <= 200
    assert pauses.following(None) <= 30, "and half a minute after it is back it gets its telemetry"


def test_chance_spreads_pauses_and_success_makes_them_short_again() -> None:
    low, high = Pauses(lambda: 0.999), Pauses(lambda: 0.0)

    assert low.following(None) < high.following(None) == 0.5
    assert high.following(None) == 1
    high.reset()
    assert high.following(None) == 0.5


def test_a_backends_own_pause_counts_within_bounds() -> None:
    pauses = Pauses(lambda: 0.0)

    assert pauses.following(90) == 90
    assert pauses.following(1e9) == 600
    assert pauses.following(0) == 2, "no shorter than our own"
