"""A journal without room: refused with a time to come back, nothing half taken, and taken again without help."""

import asyncio
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from prometheus_client import CollectorRegistry

from agent_tracer.server.adapters.journal import FileJournal
from agent_tracer.server.api.grpc_server import GrpcServer, handler_service
from agent_tracer.server.api.http import otlp_app, serve
from agent_tracer.server.api.listening import ListenAddress, bound_socket
from agent_tracer.server.api.otlp_grpc import otlp_handlers
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.services.ingest import REJECT_REASONS, Ingest
from tests.fixtures.ingesting import ingest_into
from tests.fixtures.load import METHODS, Load, traces
from tests.fixtures.loading import ListStore, loader_over
from tests.fixtures.program import Program, running_program
from tests.fixtures.stored import assert_all_there_once

LOCAL = ListenAddress("127.0.0.1", 0, "")
BUDGET_BYTES = 400_000
DISK_BYTES = 400 * 1024 * 1024
LEFT_BYTES = 3 * 1024 * 1024
WAIT_SECONDS = 60


@dataclass
class Intake:
    """Journal, loader and both OTLP servers; the store is held up while `store.gate` is cleared."""

    store: ListStore
    registry: CollectorRegistry
    channel: grpc.aio.Channel
    client: httpx.AsyncClient
    url: str
    journal: FileJournal
    taken: list[bytes] = field(default_factory=list)
    sent: int = 0

    def request(self) -> bytes:
        self.sent += 1
        return traces([f"{self.sent}-{n}" for n in range(50)]).SerializeToString()

    async def send_grpc(self) -> grpc.aio.AioRpcError | None:
        """The refusal, None where it was taken."""
        payload = self.request()
        try:
            await self.channel.unary_unary(METHODS[Signal.TRACES])(payload, timeout=WAIT_SECONDS)  # type: ignore[arg-type]
        except grpc.aio.AioRpcError as error:
            return error
        self.taken.append(payload)
        return None

    async def send_http(self) -> httpx.Response:
        payload = self.request()
        headers = {"content-type": "application/x-protobuf"}
        answer = await self.client.post(f"{self.url}/v1/traces", content=payload, headers=headers)
        if answer.status_code == 200:
            self.taken.append(payload)
        return answer

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"agent_tracer_{name}_total", {"signal": "traces", **labels}) or 0


@pytest.fixture
async def intake(tmp_path: Path) -> AsyncIterator[Intake]:
    store, registry = ListStore(), CollectorRegistry()
    store.gate.clear()
    with FileJournal.open(tmp_path / "journal", bytes_max=BUDGET_BYTES, segment_bytes=50_000) as journal:
        loader = loader_over(tmp_path, journal, store)
        ingest = ingest_into(journal, registry, time.time_ns)
        loading = asyncio.create_task(loader.run())
        async with served(ingest) as (target, url), grpc.aio.insecure_channel(target) as channel:
            async with httpx.AsyncClient(timeout=WAIT_SECONDS, trust_env=False) as client:
                yield Intake(store, registry, channel, client, url, journal)
        store.gate.set()
        await journal.aclose()
        await loading


@asynccontextmanager
async def served(ingest: Ingest) -> AsyncIterator[tuple[str, str]]:
    server = GrpcServer([handler_service(handler) for handler in otlp_handlers(ingest)], [LOCAL])
    await server.start(serving=True)
    listener, stop = bound_socket(LOCAL), asyncio.Event()
    http = asyncio.create_task(serve(otlp_app(ingest), [listener], stop=stop))
    try:
        yield f"127.0.0.1:{server.ports[0]}", f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        stop.set()
        await asyncio.gather(http, server.stop(0))


async def refusal(intake: Intake) -> grpc.aio.AioRpcError:
    """Send until the journal is full."""
    for _ in range(200):
        error = await intake.send_grpc()
        if error is not None:
            return error
    pytest.fail("a budget that lets everything pass")


async def until_taken(intake: Intake) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while await intake.send_grpc() is not None:
            await asyncio.sleep(0.05)


def retry_seconds(error: grpc.aio.AioRpcError) -> float:
    status: Any = rpc_status.from_call(error)
    retry, info = error_details_pb2.RetryInfo(), error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(retry) for detail in status.details)
    assert any(detail.Unpack(info) for detail in status.details)
    assert info.reason == "OVERLOADED"
    seconds: float = retry.retry_delay.ToTimedelta().total_seconds()
    return seconds


async def test_a_full_budget_refuses_over_grpc_with_a_time_to_come_back(intake: Intake) -> None:
    error = await refusal(intake)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert 0 < retry_seconds(error) <= 60
    assert len(intake.taken) > 5, "up to the budget everything is taken"


async def test_a_full_budget_refuses_over_http_with_a_time_to_come_back(intake: Intake) -> None:
    await refusal(intake)
    answer = await intake.send_http()
    assert answer.status_code in (429, 503)
    assert 0 < int(answer.headers["retry-after"]) <= 60


async def test_what_was_refused_is_not_stored_and_what_was_taken_is_once_the_store_is_back(intake: Intake) -> None:
    await refusal(intake)
    for _ in range(20):
        assert (await intake.send_http()).status_code in (429, 503)
    intake.store.gate.set()
    await until_taken(intake)
    assert (await intake.send_http()).status_code == 200
    async with asyncio.timeout(WAIT_SECONDS):
        while len(intake.store.records) < len(intake.taken):
            await asyncio.sleep(0.02)
    assert sorted(intake.store.payloads(Signal.TRACES)) == sorted(intake.taken)
    rejected = sum(intake.count("rejected", reason=str(reason)) for reason in REJECT_REASONS)
    assert intake.count("received") == intake.count("accepted") + rejected
    assert intake.count("accepted") == 50 * len(intake.taken)
    assert rejected == 50 * (intake.sent - len(intake.taken))


async def test_many_at_once_at_the_edge_of_the_budget_are_each_taken_or_refused(intake: Intake) -> None:
    errors = await asyncio.gather(*(intake.send_grpc() for _ in range(100)))
    refused = [error for error in errors if error is not None]
    assert refused
    assert {error.code() for error in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert len(intake.taken) + len(refused) == 100
    assert intake.journal.stats().appended_records == len(intake.taken)
    assert intake.journal.stats().held_bytes <= BUDGET_BYTES


# A real disk that is full.


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of DISK_BYTES that nobody else writes to."""
    point = tmp_path / "disk"
    point.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(point)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("NOT TESTED: a full disk under the started server, which needs the right to mount a tmpfs")
    yield point
    subprocess.run(["umount", "--lazy", str(point)], check=True)


def fill(disk: Path, left_bytes: int) -> Path:
    """A file that leaves so much room."""
    ballast = disk / "ballast"
    room = shutil.disk_usage(disk).free - left_bytes
    with ballast.open("wb") as file:
        for _ in range(room // 2**20):
            file.write(bytes(2**20))
    return ballast


def readiness(program: Program) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"http://127.0.0.1:{program.metrics}/readyz", timeout=WAIT_SECONDS).json()
    return found


def tells_of_a_full_disk(found: dict[str, Any]) -> bool:
    return not found["ready"] and "disk of data_dir is full" in found["components"]["journal"]["detail"]


def refused_writes(load: Load) -> int:
    return load.refused.get(grpc.StatusCode.RESOURCE_EXHAUSTED, 0)


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 2 * WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def test_a_full_disk_refuses_writes_keeps_reads_and_ends_by_itself_with_nothing_lost(small_disk: Path) -> None:
    with running_program(small_disk.parent / "program", data_dir=str(small_disk / "data")) as program:
        with Load(program.target) as load:
            load.wait_for_more(200)
            ballast = fill(small_disk, LEFT_BYTES)
            until(lambda: refused_writes(load) > 0, "a disk that never fills shows nothing")
            until(lambda: tells_of_a_full_disk(readiness(program)), "it is not ready, and says why")
            assert httpx.get(f"{program.url}/api/v1/traces", timeout=WAIT_SECONDS).status_code == 200, "reads go on"
            time.sleep(3)  # let it meet the full disk in every part
            ballast.unlink()
            load.wait_for_more(500)
            until(lambda: readiness(program)["ready"], "ready again")
        assert program.stop() == 0
        assert_all_there_once(load, small_disk / "data")


def test_a_server_killed_on_a_full_disk_starts_again_once_there_is_room_and_has_lost_nothing(small_disk: Path) -> None:
    with running_program(small_disk.parent / "program", data_dir=str(small_disk / "data")) as program:
        with Load(program.target) as load:
            load.wait_for_more(200)
            ballast = fill(small_disk, LEFT_BYTES)
            until(lambda: refused_writes(load) > 0, "a disk that never fills shows nothing")
            program.kill()
        ballast.unlink()
        program.start()
        assert program.stop() == 0
        assert_all_there_once(load, small_disk / "data")
