"""Envoy's process, and what callers see when it or the server is overloaded or gone."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from agent_tracer.server.adapters.envoy.bootstrap import descriptor_set
from agent_tracer.server.adapters.envoy.plan import Bounds
from agent_tracer.server.adapters.envoy.process import EnvoyError, EnvoyProcess, PortUnavailableError
from agent_tracer.server.limits import ENVOY_GRACE_SECONDS
from tests.fixtures.envoy_backend import Backend, free_ports, running_backend
from tests.fixtures.envoy_served import HOST, SECONDS_MAX, Served, error_of, plan_for, serving
from tests.fixtures.envoy_served import served as served
from tests.fixtures.envoy_served import shared as shared

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]


async def test_requests_beyond_the_servers_limit_are_429_with_retry_info() -> None:
    async with serving(Bounds(requests=1, waiting=1)) as served:
        held = asyncio.create_task(served.client.get("/api/v1/traces/slow"))
        async with asyncio.timeout(SECONDS_MAX):
            await served.backend.begun.wait()
        refused = await served.client.get("/api/v1/traces/t")
        served.backend.may_finish.set()
        taken = await held

    error = error_of(refused, 429, "OVERLOADED")
    assert error["code"] == 8
    assert error["details"][1] == {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1s"}
    assert taken.status_code == 200


async def test_connections_beyond_the_limit_are_closed_and_the_others_live() -> None:
    async with serving(Bounds(connections=1)) as served:
        assert (await served.client.get("/healthz")).status_code == 200
        reader, writer = await asyncio.open_connection(HOST, served.port("tracer"))
        async with asyncio.timeout(SECONDS_MAX):
            assert await reader.read() == b""
        writer.close()
        assert (await served.client.get("/healthz")).status_code == 200


async def test_a_server_that_is_not_there_is_503_with_retry_info_and_no_inner_text() -> None:
    grpc_port, http_port = free_ports(2)
    dead = Backend(grpc_port, http_port)
    plan = plan_for(dead, Bounds(), ("tracer",))
    async with EnvoyProcess(plan, descriptor_set()), httpx.AsyncClient(timeout=SECONDS_MAX) as client:
        base = f"http://{HOST}:{plan.listeners[0].address.port}"
        answers = [await client.get(f"{base}/api/v1/traces/t"), await client.get(f"{base}/healthz")]

    for answer in answers:
        error = error_of(answer, 503, "BACKEND_DOWN")
        assert error["message"] == "the server behind this port does not answer"
        assert error["details"][1]["retryDelay"] == "1s"


async def test_a_busy_port_is_an_error_that_names_port_and_setting() -> None:
    async with running_backend() as backend:
        plan = plan_for(backend, Bounds())
        taken = plan.listeners[1].address
        with socket.create_server((taken.host, taken.port)), pytest.raises(PortUnavailableError) as error:
            async with EnvoyProcess(plan, descriptor_set()):
                pass

    assert str(taken.port) in str(error.value)
    assert "setting.of.ace" in str(error.value)


async def test_a_second_envoy_does_not_share_a_port_in_silence(served: Served) -> None:
    with pytest.raises(PortUnavailableError):
        async with EnvoyProcess(served.plan, descriptor_set()):
            pass


async def test_an_end_that_nobody_asked_for_is_reported() -> None:
    async with serving(Bounds()) as served:
        watch = asyncio.create_task(served.envoy.wait_exit())
        os.kill(served.envoy.pid, signal.SIGKILL)
        with pytest.raises(EnvoyError, match="signal 9"):
            async with asyncio.timeout(SECONDS_MAX):
                await watch


async def test_an_end_that_was_asked_for_is_no_error() -> None:
    async with serving(Bounds()) as served:
        watch = asyncio.create_task(served.envoy.wait_exit())
        await served.envoy.stop()
        async with asyncio.timeout(SECONDS_MAX):
            await watch


async def test_stop_lets_requests_under_way_finish_and_takes_no_new_ones() -> None:
    async with serving(Bounds()) as served:
        held = asyncio.create_task(served.client.get("/api/v1/traces/slow"))
        async with asyncio.timeout(SECONDS_MAX):
            await served.backend.begun.wait()
            stopping = asyncio.create_task(served.envoy.stop())
            await refuses_connections(served.port("tracer"))
            assert not stopping.done()
            served.backend.may_finish.set()
            assert (await held).status_code == 200
            await stopping


async def refuses_connections(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection(HOST, port)
        except ConnectionRefusedError:
            return
        writer.close()
        await asyncio.sleep(0.01)


async def test_stop_does_not_wait_longer_than_its_grace_for_a_stream() -> None:
    async with serving(Bounds()) as served, served.client.stream("GET", "/api/v1/traces:watch"):
        async with asyncio.timeout(ENVOY_GRACE_SECONDS):
            await served.envoy.stop(grace_seconds=0.1)


async def test_envoy_ends_with_the_server_even_when_that_is_killed(tmp_path: Path) -> None:
    """Else the next start would find its ports taken."""
    program = """
import asyncio, sys
from agent_tracer.server.adapters.envoy.bootstrap import descriptor_set
from agent_tracer.server.adapters.envoy.plan import Address, Listener, Plan
from agent_tracer.server.adapters.envoy.process import EnvoyProcess

async def main(port):
    here = Address("127.0.0.1", port)
    nobody = Address("127.0.0.1", 9)
    plan = Plan((Listener("ace", here, "s"),), nobody, nobody, "")
    async with EnvoyProcess(plan, descriptor_set()) as envoy:
        print(envoy.pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main(int(sys.argv[1])))
"""
    (port,) = free_ports(1)
    leaves = {**os.environ, "TMPDIR": str(tmp_path)}  # it cannot remove its files
    server = subprocess.Popen([sys.executable, "-c", program, str(port)], stdout=subprocess.PIPE, text=True, env=leaves)
    with server:
        assert server.stdout is not None
        assert await asyncio.to_thread(server.stdout.readline)
        _, writer = await asyncio.open_connection(HOST, port)
        writer.close()
        server.kill()
    async with asyncio.timeout(SECONDS_MAX):
        await refuses_connections(port)
