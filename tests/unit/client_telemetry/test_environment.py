"""Where telemetry goes, by argument and environment."""

import pytest

from agent_tracer.client._shared.environment import BadEndpointError, target


@pytest.mark.parametrize(
    ("endpoint", "traces_url", "transport", "grpc_target"),
    [
        ("http://h:3007", "http://h:3007/v1/traces", "http/protobuf", "h:3007"),
        ("http://h:4318/", "http://h:4318/v1/traces", "http/protobuf", "h:4318"),
        ("http://h:4318/v1/traces", "http://h:4318/v1/traces", "http/protobuf", "h:4318"),
        ("http://h:4317", "http://h:4317/v1/traces", "grpc", "h:4317"),
        ("h:4317", "http://h:4317/v1/traces", "grpc", "h:4317"),
        ("127.0.0.1:50051", "http://127.0.0.1:50051/v1/traces", "grpc", "127.0.0.1:50051"),
        ("grpc://h", "http://h:4317/v1/traces", "grpc", "h:4317"),
        ("grpcs://h:9", "https://h:9/v1/traces", "grpc", "h:9"),
        ("https://h", "https://h:443/v1/traces", "http/protobuf", "h:443"),
        ("https://h/prefix", "https://h:443/prefix/v1/traces", "http/protobuf", "h:443"),
        ("http://[::1]:4318", "http://[::1]:4318/v1/traces", "http/protobuf", "[::1]:4318"),
        ("h", "http://h:4318/v1/traces", "http/protobuf", "h:4318"),
        ("h/v1/traces", "http://h:4318/v1/traces", "http/protobuf", "h:4318"),
        ("[::1]", "http://[::1]:4318/v1/traces", "http/protobuf", "[::1]:4318"),
        ("http://h", "http://h:80/v1/traces", "http/protobuf", "h:80"),
        (" http://h:1 ", "http://h:1/v1/traces", "http/protobuf", "h:1"),
    ],
)
def test_what_is_accepted_as_an_endpoint(endpoint: str, traces_url: str, transport: str, grpc_target: str) -> None:
    found = target(endpoint)
    assert (found.traces_url, found.transport, found.grpc_target) == (traces_url, transport, grpc_target)
    assert found.insecure is traces_url.startswith("http:")


@pytest.mark.parametrize(
    "endpoint", ["ftp://h:1", "http://", "http://h:99999", "http://h:x", "h h:1", "http://h:1?q=1"]
)
def test_what_is_no_address_is_refused_with_its_setting(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    with pytest.raises(BadEndpointError, match="endpoint: "):
        target(endpoint)
    monkeypatch.setenv("AGENT_TRACER_URL", endpoint)
    with pytest.raises(BadEndpointError, match="AGENT_TRACER_URL: "):
        target()


def test_the_order_of_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    assert target().traces_url == "http://127.0.0.1:4318/v1/traces"
    monkeypatch.setenv("PHOENIX_COLLECTOR_ENDPOINT", "http://phoenix:6006")
    assert target().url == "http://127.0.0.1:4318"
    assert target(phoenix=True).traces_url == "http://phoenix:6006/v1/traces"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://otel:4318")
    assert target(phoenix=True).traces_url == "http://otel:4318/v1/traces"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:4318/custom/path")
    assert target().traces_url == "http://traces:4318/custom/path"
    assert target(signal="logs").signal_url("logs") == "http://otel:4318/v1/logs"
    monkeypatch.setenv("AGENT_TRACER_URL", "http://ours:3007")
    assert target().traces_url == "http://ours:3007/v1/traces"
    assert target("http://argument:1").traces_url == "http://argument:1/v1/traces"


def test_the_protocol_variable_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    assert target("http://h:3007").transport == "grpc"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf")
    assert target("http://h:4317").transport == "http/protobuf"
    assert target("http://h:4317", signal="logs").transport == "grpc"


@pytest.mark.parametrize(("endpoint", "host"), [("h", "h"), (None, "127.0.0.1")])
def test_a_host_alone_is_asked_on_the_protocols_own_port(
    monkeypatch: pytest.MonkeyPatch, endpoint: str | None, host: str
) -> None:
    assert target(endpoint).grpc_target == f"{host}:4318"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    assert target(endpoint).grpc_target == f"{host}:4317"


def test_headers_and_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "X-One=1,authorization=Basic%20abc")
    assert target().headers == {"x-one": "1", "authorization": "Basic abc"}
    monkeypatch.setenv("AGENT_TRACER_API_KEY", "k1")
    assert target().headers["authorization"] == "Bearer k1"
    assert target(api_key="k2").headers["authorization"] == "Bearer k2"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-two=2")
    assert "x-one" not in target().headers
    assert "k2" not in repr(target(api_key="k2")), "a key is not for logs"


@pytest.mark.parametrize("scheme", ["http", "https", "grpc", "grpcs"])
def test_the_user_of_an_address_is_a_header_and_no_part_of_a_hosts_name(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setenv("AGENT_TRACER_API_KEY", "k1")
    found = target(f"{scheme}://me:p%40ss@h:9")
    assert (found.grpc_target, found.headers["authorization"]) == ("h:9", "Basic bWU6cEBzcw==")
    assert found.shown == found.url.replace("://", "://***@")
    assert "@" not in found.url
    assert "bWU6" not in repr(found), "a password is not for logs"


def test_an_address_that_is_none_is_told_without_its_secrets() -> None:
    with pytest.raises(BadEndpointError, match=r"http://\*\*\*@h:1\?\*\*\*") as refused:
        target("http://me:hush@h:1?key=hush")
    assert "hush" not in str(refused.value)


def test_a_key_of_ours_does_not_go_to_phoenix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHOENIX_COLLECTOR_ENDPOINT", "http://phoenix:6006")
    monkeypatch.setenv("AGENT_TRACER_API_KEY", "k1")
    assert "authorization" not in target(phoenix=True).headers
