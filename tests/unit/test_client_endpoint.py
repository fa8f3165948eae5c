"""Where the client goes for what callers and the environment say."""

import pytest

from agent_tracer.client.api.connection import Settings
from agent_tracer.client.api.endpoint import Endpoint, api_key_or_default, endpoint_or_default

ACE = "agent_tracer.v1.AceService"
ATLAS = "agent_tracer.v1.AtlasService"
TRACES = "agent_tracer.v1.TraceService"


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("127.0.0.1:50051", Endpoint("127.0.0.1", 50051)),
        ("localhost", Endpoint("localhost", 50051)),
        ("tracer.internal:7", Endpoint("tracer.internal", 7)),
        ("[::1]:50051", Endpoint("::1", 50051)),
        ("http://localhost:3007", Endpoint("localhost", 3007)),
        ("http://localhost:3007/", Endpoint("localhost", 3007)),
        ("https://tracer.example", Endpoint("tracer.example", 443, tls=True)),
        ("https://tracer.example:50051", Endpoint("tracer.example", 50051, tls=True)),
        ("grpc://localhost", Endpoint("localhost", 50051)),
        ("grpcs://localhost:1", Endpoint("localhost", 1, tls=True)),
    ],
)
def test_an_endpoint_is_a_host_and_port_or_a_url(text: str, endpoint: Endpoint) -> None:
    assert Endpoint.parse(text) == endpoint
    assert Endpoint.parse(str(endpoint)) == endpoint


@pytest.mark.parametrize(
    "text",
    [
        "", " ", ":50051", "localhost:0", "localhost:65536", "localhost:x", "ftp://localhost", "http://", "a b",
        "http://user:secret@localhost", "http://localhost/v1/traces", "http://localhost?x=1", "unix:///run/socket",
    ],
)  # fmt: skip
def test_another_endpoint_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"such as 127\.0\.0\.1:50051"):
        Endpoint.parse(text)


@pytest.mark.parametrize(
    ("port", "service", "its_port"),
    [
        (50051, ACE, 50051),
        (3007, ACE, 3008),
        (3007, ATLAS, 3009),
        (3007, TRACES, 3007),
        (3008, TRACES, 3007),
        (3009, ACE, 3008),
        (4318, ACE, 50051),
        (4317, TRACES, 50051),
        (8443, ATLAS, 8443),
    ],
)
def test_from_any_usual_port_each_service_is_found_at_its_own(port: int, service: str, its_port: int) -> None:
    assert Endpoint("h", port, tls=True).of_service(service) == Endpoint("h", its_port, tls=True)


def test_what_is_given_goes_before_the_environment_and_that_before_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AGENT_TRACER_URL", "AGENT_TRACER_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    assert (str(endpoint_or_default(None)), api_key_or_default(None)) == ("127.0.0.1:50051", None)
    monkeypatch.setenv("AGENT_TRACER_URL", "http://there:3007")
    monkeypatch.setenv("AGENT_TRACER_API_KEY", "from-outside")
    assert (str(endpoint_or_default(None)), api_key_or_default(None)) == ("there:3007", "from-outside")
    assert (str(endpoint_or_default("here:1")), api_key_or_default("given")) == ("here:1", "given")
    assert api_key_or_default("") is None


def test_a_key_that_no_header_can_carry_is_refused_without_telling_it() -> None:
    with pytest.raises(ValueError, match="api_key or AGENT_TRACER_API_KEY") as refused:
        Settings.of("localhost", api_key="geheim\nx")
    assert "geheim" not in str(refused.value)


@pytest.mark.parametrize("given", [{"retries": -1}, {"timeout_seconds": 0}, {"timeout_seconds": -2}])
def test_settings_that_cannot_be_are_refused(given: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="retries must be 0 or more"):
        Settings.of("localhost", **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("endpoint", "tls", "spoken"),
    [("http://h", None, False), ("https://h", None, True), ("h", True, True), ("https://h", False, False)],
)
def test_tls_goes_by_the_scheme_where_nothing_is_said(endpoint: str, tls: bool | None, spoken: bool) -> None:
    assert Settings.of(endpoint, tls=tls).is_tls is spoken


def test_a_password_in_what_is_no_endpoint_is_not_told() -> None:
    with pytest.raises(ValueError, match=r"\*\*\*@host") as refused:
        Endpoint.parse("http://me:s3cret@host:1")
    assert "s3cret" not in str(refused.value)
