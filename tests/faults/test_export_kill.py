"""What exporters have still to send outlives the server, however it ends; no backend keeps it from starting."""

import asyncio
import re
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from agent_tracer.server.domain.signals import Signal
from tests.fixtures.otlp_requests import log_record, logs_request, span, trace_request
from tests.fixtures.ports import closed_port
from tests.fixtures.program import Program, running_program
from tests.fixtures.sink import Reply, Sink, running_sink

WAIT_SECONDS = 60


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with running_sink() as running:
        yield running


async def send(program: Program, *numbers: int) -> None:
    now = span().start_time_unix_nano
    for number in numbers:
        made = span(number)
        made.start_time_unix_nano = made.end_time_unix_nano = now - 10**17
        await post(program, "traces", trace_request(made).SerializeToString())


async def post(program: Program, signal: str, body: bytes) -> None:
    url = f"http://127.0.0.1:{program.otlp_http}/v1/{signal}"
    async with httpx.AsyncClient(timeout=WAIT_SECONDS, trust_env=False) as client:
        answer = await client.post(url, content=body, headers={"content-type": "application/x-protobuf"})
    assert answer.status_code == 200


async def told_by_doctor(program: Program, pattern: str) -> str:
    """What doctor prints, once that is in it: the server looks at its parts from time to time."""
    async with asyncio.timeout(2 * WAIT_SECONDS):
        told = ""
        while not re.search(pattern, told):
            command = ("doctor", "--config", str(program.config))
            told = (await asyncio.to_thread(program.run, *command, check=False)).stdout
    return told


def names(first: int, last: int) -> set[str]:
    return {f"span {number}" for number in range(first, last + 1)}


async def test_a_killed_server_sends_the_rest_after_its_restart(tmp_path: Path, sink: Sink) -> None:
    exporters = {"otlp": {"sink": {"endpoint": sink.target, "protocol": "grpc"}}}
    with running_program(tmp_path, exporters=exporters) as program:
        await send(program, *range(1, 6))
        await sink.until(lambda: names(1, 5) <= set(sink.span_names))
        sink.rule = lambda _: Reply(503)
        await send(program, *range(6, 41))
        await sink.until(lambda: len(sink.seen) > len(sink.taken) + 1)
        program.kill()
        sink.rule = lambda _: Reply()
        await asyncio.to_thread(program.restart)
        await sink.until(lambda: names(1, 40) <= set(sink.span_names))
        assert program.stop() == 0
    assert sink.span_names.count("span 1") == 1, "what was committed does not come again"


def unreachable(port: int) -> dict[str, object]:
    endpoint = f"http://me:s3cret@127.0.0.1:{port}"
    return {name: {"enabled": True, "endpoint": endpoint} for name in ("phoenix", "jaeger", "tempo", "loki")}


async def test_backends_that_are_not_there_hold_nothing_up(tmp_path: Path) -> None:
    with closed_port() as port, running_program(tmp_path, exporters=unreachable(port)) as program:
        await send(program, 1)
        async with asyncio.timeout(WAIT_SECONDS):
            while "takes nothing" not in program.log:
                await asyncio.sleep(0.05)
        async with httpx.AsyncClient(timeout=WAIT_SECONDS, trust_env=False) as client:
            ready = await client.get(f"{program.url}/readyz")
        assert ready.status_code == 200, "a backend that is down makes nobody unready"
        await told_by_doctor(program, r"WARN\s+exporters\.\w+\s+the backend")
        assert await asyncio.to_thread(program.stop) == 0
    assert "s3cret" not in program.log


async def test_a_signal_that_a_backend_lacks_is_told_with_the_setting_to_change(tmp_path: Path, sink: Sink) -> None:
    sink.lacks = {Signal.LOGS}
    exporters = {"otlp": {"sink": {"endpoint": sink.url, "signals": ["logs", "traces"]}}}
    record = log_record()
    record.time_unix_nano = time.time_ns()
    with running_program(tmp_path, exporters=exporters) as program:
        await post(program, "logs", logs_request(record).SerializeToString())
        async with asyncio.timeout(WAIT_SECONDS):
            while "lacks a signal" not in program.log:
                await asyncio.sleep(0.05)
        await send(program, 1)
        await sink.until(lambda: sink.span_names == ["span 1"])
        told = await told_by_doctor(program, r"WARN\s+exporters\.otlp\.sink\s+the backend")
        assert "exporters.otlp.sink.signals" in told
    assert program.log.count("exporters.otlp.sink.signals") == 1


def test_a_name_that_leads_to_the_server_itself_is_refused_at_the_start(tmp_path: Path) -> None:
    program = Program(tmp_path)
    text = f"\nexporters: {{tempo: {{enabled: true, endpoint: 'http://127.1:{program.grpc}'}}}}\n"
    program.config.write_text(program.config.read_text() + text)
    program.launch()
    try:
        assert program.ended(2 * WAIT_SECONDS) != 0
    except subprocess.TimeoutExpired:
        program.kill()
        raise
    assert "exporters.tempo.endpoint" in program.log
    assert "is this server itself (tracer.grpc_port)" in program.log
