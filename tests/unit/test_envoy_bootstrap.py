"""Envoy's configuration, as it is made from the settings and the protos."""

import re
from pathlib import Path
from typing import Any

import pytest
from google.rpc import code_pb2

from agent_tracer.server import limits
from agent_tracer.server.adapters.envoy.bootstrap import bootstrap, default_text, descriptor_set
from agent_tracer.server.adapters.envoy.contract import ContractError, read_contract
from agent_tracer.server.adapters.envoy.plan import (
    SERVICES,
    Address,
    Bounds,
    Listener,
    Plan,
    plan_of,
    reachable,
)
from agent_tracer.server.adapters.envoy.replies import replies
from agent_tracer.server.config import load_settings
from agent_tracer.v1.error_reason_pb2 import ErrorReason

ROOT = Path(__file__).resolve().parents[2]
CONTRACT = read_contract(descriptor_set())


def made(**flags: object) -> dict[str, Any]:
    settings = load_settings(flags={k.replace("__", "."): v for k, v in flags.items()})
    return bootstrap(plan_of(settings, descriptor_path="api.binpb", http_port=4400), CONTRACT)


def listeners(message: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {listener["name"]: listener for listener in message["static_resources"]["listeners"]}


def manager(listener: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = listener["filter_chains"][0]["filters"][-1]["typed_config"]
    return found


def http_filters(listener: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {f["name"]: f["typed_config"] for f in manager(listener)["http_filters"]}


def routes(listener: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = manager(listener)["route_config"]["virtual_hosts"][0]["routes"]
    return found


def test_the_kept_bootstrap_is_what_the_settings_and_protos_make() -> None:
    kept = (ROOT / "envoy" / "bootstrap.json").read_text()

    assert kept == default_text(), "run `python -m agent_tracer.server.adapters.envoy.bootstrap > envoy/bootstrap.json`"


def test_every_service_of_the_protos_has_one_port() -> None:
    placed = [service for services in SERVICES.values() for service in services]

    assert sorted(placed) == sorted(CONTRACT.streams)


def test_each_listener_transcodes_its_own_services_only() -> None:
    for name, listener in listeners(made()).items():
        transcoder = http_filters(listener)["envoy.filters.http.grpc_json_transcoder"]
        assert tuple(transcoder["services"]) == SERVICES[name]


def test_a_listener_can_be_left_out() -> None:
    plan = plan_of(load_settings(), listeners=["ace"], descriptor_path="api.binpb")

    assert list(listeners(bootstrap(plan, CONTRACT))) == ["ace"]


def test_ports_and_host_come_from_the_settings() -> None:
    message = made(tracer__port=4007, tracer__host="0.0.0.0")  # noqa: S104 - the address is what is tested

    address = listeners(message)["tracer"]["address"]["socket_address"]
    assert address == {"address": "0.0.0.0", "port_value": 4007}  # noqa: S104


@pytest.mark.parametrize(
    ("listening", "called"),
    [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("127.0.0.1", "127.0.0.1"), ("10.0.0.7", "10.0.0.7")],  # noqa: S104
)
def test_backends_that_listen_everywhere_are_called_on_loopback(listening: str, called: str) -> None:
    assert reachable(Address(listening, 1)) == Address(called, 1)


def test_admin_is_on_loopback_whatever_the_host() -> None:
    message = made(tracer__host="0.0.0.0")  # noqa: S104

    assert message["admin"]["address"]["socket_address"]["address"] == "127.0.0.1"


def test_ports_are_not_shared_with_another_envoy_in_silence() -> None:
    assert all(listener["enable_reuse_port"] is False for listener in listeners(made()).values())


def test_connections_are_bounded_on_every_listener() -> None:
    for listener in listeners(made()).values():
        limit = listener["filter_chains"][0]["filters"][0]["typed_config"]
        assert limit["max_connections"] == limits.ENVOY_CONNECTIONS_MAX


def test_native_grpc_to_another_ports_service_ends_before_the_catch_all() -> None:
    for listener in listeners(made()).values():
        *_, stop, last = routes(listener)
        assert stop["match"] == {"prefix": "/", "grpc": {}}
        assert stop["direct_response"]["status"] == 404
        assert last["match"] == {"prefix": "/"}


def test_every_streaming_method_has_a_route_without_deadline_before_its_services_own() -> None:
    for name, listener in listeners(made()).items():
        listed = routes(listener)
        for service in SERVICES[name]:
            unary = next(i for i, r in enumerate(listed) if r["match"].get("prefix") == f"/{service}/")
            for stream in CONTRACT.streams_of(service):
                at = next(i for i, r in enumerate(listed) if r["match"].get("path") == stream.grpc_path)
                assert at < unary
                assert listed[at]["route"]["timeout"] == "0s"
                assert listed[at]["route"]["idle_timeout"] == "0s"


def test_watch_is_known_as_a_stream_with_its_rest_path() -> None:
    streams = {s.grpc_path: s for s in CONTRACT.streams_of("agent_tracer.v1.TraceService")}

    watch = streams["/agent_tracer.v1.TraceService/WatchTraces"]
    assert [bool(re.fullmatch(path, "/api/v1/traces:watch")) for path in watch.rest_paths] == [True]


def test_grpc_routes_do_not_buffer_for_that_would_break_streams() -> None:
    for listener in listeners(made()).values():
        for route in routes(listener):
            if "grpc" in route["match"] and "route" in route:
                assert route["typed_per_filter_config"]["envoy.filters.http.buffer"]["disabled"] is True


def test_the_body_limit_counts_what_comes_out_of_the_decompressor() -> None:
    for listener in listeners(made()).values():
        order = list(http_filters(listener))
        assert order.index("envoy.filters.http.decompressor") < order.index("envoy.filters.http.buffer")
        assert order.index("envoy.filters.http.buffer") < order.index("envoy.filters.http.grpc_json_transcoder")


def test_nothing_is_logged_per_request() -> None:
    assert all("access_log" not in manager(listener) for listener in listeners(made()).values())


def test_otlp_health_and_metrics_are_on_the_front_listener_only() -> None:
    def has_http(name: str) -> bool:
        return any(r.get("route", {}).get("cluster") == "http" for r in routes(listeners(made())[name]))

    assert has_http("tracer")
    assert not has_http("ace")
    assert not has_http("atlas")


def test_clusters_have_no_health_checks_which_would_delay_the_start() -> None:
    assert all("health_checks" not in cluster for cluster in made()["static_resources"]["clusters"])


def test_every_reply_has_a_known_reason_and_code() -> None:
    for reply in replies(Bounds()):
        assert f"ERROR_REASON_{reply.reason}" in ErrorReason.keys()  # noqa: SIM118 - no mapping
        assert reply.code in code_pb2.Code.values()


def test_a_service_that_is_in_no_proto_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent_tracer.server.adapters.envoy.plan.SERVICES", {"tracer": ("agent_tracer.v1.Nonsense",)})
    here = Address("127.0.0.1", 1)
    plan = Plan((Listener("tracer", here, "tracer.port"),), here, here, "api.binpb")

    with pytest.raises(ContractError, match="Nonsense"):
        bootstrap(plan, CONTRACT)
