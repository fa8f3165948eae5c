"""The example configuration as it stands, with the backends that it names at the ports that it names.

The ports are fixed and may be taken on this machine, so everything runs in a network of its own (`unshare -rn`). Tempo
cannot be had here: Jaeger's OTLP port stands in for it.
"""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.fixtures.program import Program
from tests.fixtures.servers import absent, required
from tests.integration.test_exporters_servers import agent_run, send
from tests.servers.child import eventually
from tests.servers.jaeger import Jaeger
from tests.servers.phoenix import Phoenix

pytestmark = [pytest.mark.servers, pytest.mark.timeout(900)]

EXAMPLE = Path(__file__).resolve().parents[2] / "config" / "tracer.yaml"
INSIDE = "PRIVATE_NETWORK_OF_TESTS"


def test_the_example_configuration_exports_to_all_three(request: pytest.FixtureRequest) -> None:
    required(request, Jaeger.recipe, Phoenix.recipe)
    up = "ip link set lo up"
    if subprocess.run(["unshare", "-rn", "sh", "-c", up], capture_output=True, check=False).returncode:
        absent(request, "this machine gives no network of its own (unshare -rn, ip)")
    again = f"{sys.executable} -m pytest -q -m servers {__file__} -k inside -p no:cacheprovider"
    done = subprocess.run(
        ["unshare", "-rn", "sh", "-c", f"{up} && exec {again}"],
        env={**os.environ, INSIDE: "1"},
        cwd=EXAMPLE.parents[1],
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    assert "1 passed" in done.stdout


@pytest.mark.skipif(INSIDE not in os.environ, reason="runs inside of the test above")
def test_inside_everything_arrives_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEO4J_PASSWORD", "not-there")
    program = Program(tmp_path / "tracer")
    program.config.write_text(f"{EXAMPLE.read_text()}\ndata_dir: {tmp_path / 'data'}\n")
    program.rest, program.ace, program.atlas, program.grpc, program.metrics = 3007, 3008, 3009, 50051, 9090
    program.otlp_http = 4318
    jaeger, phoenix = Jaeger(tmp_path / "jaeger"), Phoenix(tmp_path / "phoenix")
    jaeger.thrift_http, jaeger.otlp_grpc = "127.0.0.1:14268", "127.0.0.1:4317"
    phoenix._http, phoenix.url, phoenix.otlp_grpc = 6006, "http://127.0.0.1:6006", "127.0.0.1:16006"
    with jaeger, phoenix:
        program.start()
        try:
            trace_id = os.urandom(16)
            send(program, agent_run(trace_id))
            # Once by Thrift, and once by OTLP in Tempo's place.
            assert len(jaeger.trace(trace_id.hex(), spans_min=6, seconds_max=90)["spans"]) == 6
            assert len(phoenix.spans("llm-agents", count_min=3, seconds_max=90)) == 3
            ready = httpx.get("http://127.0.0.1:3007/readyz", trust_env=False, timeout=30)
            assert ready.status_code == 200, "neither Neo4j nor Qdrant is there, and nothing waits for them"
            assert eventually(lambda: "exported" if _sent() == {"phoenix", "jaeger", "tempo"} else "", 90)
            assert program.stop() == 0
        finally:
            if program.process is not None:
                program.kill()


def _sent() -> set[str]:
    """The exporters whose backend has taken the trace's three spans."""
    text = httpx.get("http://127.0.0.1:9090/metrics", trust_env=False, timeout=30).text
    names = ("phoenix", "jaeger", "tempo", "loki")
    return {n for n in names if f'agent_tracer_exporter_sent_total{{exporter="{n}",signal="traces"}} 3.0' in text}
