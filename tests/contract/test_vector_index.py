"""What every VectorIndex promises, and its bindings: Qdrant Edge on disk, the Qdrant client's own index in memory."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agent_tracer.server.adapters.vectors.edge import EdgeVectors
from agent_tracer.server.adapters.vectors.qdrant import QdrantVectors
from agent_tracer.server.domain.ids import AgentId, OtelTraceId, TenantId
from agent_tracer.server.domain.telemetry import TimeRange
from agent_tracer.server.ports.vectors import (
    Vector,
    VectorConditions,
    VectorIndex,
    VectorPoint,
    VectorsDownError,
    VectorsMismatchError,
)
from tests.fixtures.memory_vectors import MemoryVectors
from tests.fixtures.ports import closed_port

DIMENSIONS = 8
S = 1_000_000_000
NOON = 1_790_000_000 * S
ONE, OTHER = TenantId("one"), TenantId("otherö")

Opener = Callable[[], AbstractAsyncContextManager[VectorIndex]]
"""Opens the same index at every call."""


def trace(number: int) -> OtelTraceId:
    return OtelTraceId(number.to_bytes(16, "big"))


def point(number: int, tenant: TenantId = ONE, embedder: str = "e:1", status: str = "success") -> VectorPoint:
    return VectorPoint(
        tenant, trace(number), embedder, AgentId("a\u00f6"), "plan", status, NOON + number, NOON + number * S
    )


def towards(angle: float) -> Vector:
    """In the plane of the first two axes; cosines of two of them are those of their angles."""
    vector = np.zeros(DIMENSIONS, np.float32)
    vector[:2] = np.cos(angle), np.sin(angle)
    return vector * 3


def anyone(**more: object) -> VectorConditions:
    return replace(VectorConditions(ONE, "e:1"), **more)  # type: ignore[arg-type]


async def fill(index: VectorIndex, points: Sequence[VectorPoint]) -> None:
    """Each point's vector is its number in tenths of a radian away from the first axis."""
    await index.upsert(points, [towards(int.from_bytes(one.trace_id) / 10) for one in points])


async def numbers(index: VectorIndex, where: VectorConditions, limit: int = 100) -> list[int]:
    near = await index.nearest(towards(0), where, limit=limit)
    return [int.from_bytes(one.point.trace_id) for one in near]


_SERVER = f"""
import asyncio, sys
from pathlib import Path
import numpy as np
from agent_tracer.server.adapters.vectors.edge import EdgeVectors
from agent_tracer.server.ports.vectors import VectorPoint

async def main():
    index = EdgeVectors(Path(sys.argv[1]), {DIMENSIONS})
    point = VectorPoint("one", (1).to_bytes(16, "big"), "e:1", "a", "plan", "success", 1, 1)
    await index.upsert([point], [np.ones({DIMENSIONS}, np.float32)])
    print(index.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""
"""A server that writes a point and says its process's id."""


def is_running(pid: int) -> bool:
    """Not so where it has ended and nobody has asked how."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except FileNotFoundError:
        return False


class VectorIndexContract:
    """Bind it by deriving a Test class with an `opener` fixture."""

    async def test_the_nearest_come_first_with_their_cosine_and_every_field(self, opener: Opener) -> None:
        async with opener() as index:
            await fill(index, [point(n) for n in (5, 1, 3, 31)])
            near = await index.nearest(towards(0), anyone(), limit=3)
            assert [one.point for one in near] == [point(1), point(3), point(5)]
            assert [one.similarity for one in near] == pytest.approx(np.cos([0.1, 0.3, 0.5]), abs=1e-5)
            (_, _, _, last) = await index.nearest(towards(0), anyone(), limit=9)
            assert last.similarity == pytest.approx(np.cos(3.1), abs=1e-5), "opposite is -1"

    async def test_an_index_without_points_has_no_nearest(self, opener: Opener) -> None:
        async with opener() as index:
            assert await index.nearest(towards(0), anyone(), limit=3) == []
            assert await index.count() == 0
            await index.upsert([], [])
            await index.delete(ONE, [])
            await index.delete(ONE, [trace(1)])
            assert await index.received(ONE, "e:1", []) == {}

    async def test_no_tenant_sees_the_points_of_another_though_the_trace_ids_be_equal(self, opener: Opener) -> None:
        async with opener() as index:
            await fill(index, [point(1), point(2), point(1, OTHER)])
            assert await numbers(index, anyone()) == [1, 2]
            assert await numbers(index, anyone(tenant=OTHER)) == [1]
            await index.delete(OTHER, [trace(1), trace(2)])
            assert await numbers(index, anyone()) == [1, 2]
            assert await numbers(index, anyone(tenant=OTHER)) == []

    async def test_vectors_of_another_embedder_are_not_compared(self, opener: Opener) -> None:
        async with opener() as index:
            await fill(index, [point(1), point(2, embedder="e:2"), point(3)])
            assert await numbers(index, anyone()) == [1, 3]
            assert (await index.count(), await index.count("e:2"), await index.count("e:3")) == (3, 1, 0)
            await index.keep_only("e:2")
            assert await numbers(index, anyone()) == []
            assert await numbers(index, anyone(embedder="e:2")) == [2]

    async def test_status_and_start_narrow_the_answer(self, opener: Opener) -> None:
        async with opener() as index:
            statuses = ("success", "error", "running")
            made = [replace(point(n, status=statuses[n % 3]), start_ns=NOON + n * S) for n in range(1, 10)]
            await fill(index, made)
            assert await numbers(index, anyone(statuses=["error"])) == [1, 4, 7]
            assert await numbers(index, anyone(statuses=["error", "running"])) == [1, 2, 4, 5, 7, 8]
            between = TimeRange(NOON + 2 * S, NOON + 5 * S)
            assert await numbers(index, anyone(time_range=between)) == [2, 3, 4]
            assert await numbers(index, anyone(time_range=between, statuses=["error"])) == [4]
            assert await numbers(index, anyone(), limit=2) == [1, 2]

    async def test_a_trace_has_one_point_the_last_that_was_put_there(self, opener: Opener) -> None:
        async with opener() as index:
            await fill(index, [point(1), point(2)])
            later = replace(point(1, embedder="e:2", status="error"), received_ns=NOON + 99 * S)
            await fill(index, [later])
            assert await index.count() == 2
            assert await numbers(index, anyone()) == [2]
            (found,) = await index.nearest(towards(0), anyone(embedder="e:2"), limit=9)
            assert found.point == later

    async def test_it_tells_which_traces_are_there_and_as_of_when(self, opener: Opener) -> None:
        async with opener() as index:
            await fill(index, [point(1), point(2, embedder="e:2"), point(3, OTHER), point(4)])
            asked = [trace(n) for n in range(1, 6)]
            assert await index.received(ONE, "e:1", asked) == {trace(1): NOON + S, trace(4): NOON + 4 * S}

    async def test_trimming_removes_what_is_old_then_what_came_first(self, opener: Opener) -> None:
        async with opener() as index:
            await fill(index, [point(n) for n in (7, 2, 9, 4, 1, 8, 3)])
            assert await index.trim(keep=10, received_from_ns=NOON + 3 * S) is None
            assert await numbers(index, anyone()) == [3, 4, 7, 8, 9]
            assert await index.trim(keep=3, received_from_ns=0) == NOON + 7 * S
            assert await numbers(index, anyone()) == [7, 8, 9]
            assert await index.trim(keep=3, received_from_ns=0) is None

    async def test_calls_at_once_do_not_get_each_others_answers(self, opener: Opener) -> None:
        async with opener() as index:
            await fill(index, [point(n) for n in range(1, 21)])
            found = await asyncio.gather(*(numbers(index, anyone(), limit=n) for n in range(1, 21)))
            assert [len(one) for one in found] == list(range(1, 21))

    async def test_a_call_that_is_given_up_leaves_its_answer_to_nobody(self, opener: Opener) -> None:
        async with opener() as index:
            await fill(index, [point(n) for n in range(1, 4)])
            given_up = asyncio.create_task(numbers(index, anyone(), limit=1))
            await asyncio.sleep(0)
            given_up.cancel()
            assert await index.count() == 3
            assert await numbers(index, anyone(), limit=2) == [1, 2]


class TestQdrantClient(VectorIndexContract):
    pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning")

    @pytest.fixture
    def opener(self) -> Opener:
        @asynccontextmanager
        async def opened() -> AsyncGenerator[VectorIndex]:
            index = QdrantVectors(":memory:", "traces", DIMENSIONS)
            yield index
            await index.aclose()

        return opened

    async def test_a_collection_of_other_vectors_is_not_touched(self, opener: Opener) -> None:
        index = QdrantVectors(":memory:", "traces", DIMENSIONS)
        await fill(index, [point(1)])
        wider = QdrantVectors(":memory:", "traces", DIMENSIONS + 1)
        client = index._client
        assert client is not None
        with pytest.raises(VectorsMismatchError, match=r"analytics\.qdrant\.collection"):
            await wider._make(client)
        assert await index.count() == 1
        await index.aclose()

    async def test_a_server_that_is_not_there_is_down(self) -> None:
        with closed_port() as port:
            index = QdrantVectors(f"http://127.0.0.1:{port}", "traces", DIMENSIONS)
            for _ in range(2):
                with pytest.raises(VectorsDownError, match=r"analytics\.qdrant\.url") as told:
                    await index.count()
                assert str(port) not in str(told.value)
        await index.aclose()


class TestEdge(VectorIndexContract):
    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        @asynccontextmanager
        async def opened() -> AsyncGenerator[VectorIndex]:
            index = EdgeVectors(tmp_path / "vectors", DIMENSIONS)
            yield index
            await index.aclose()

        return opened

    async def test_what_was_written_is_there_after_reopening(self, opener: Opener) -> None:
        async with opener() as index:
            await fill(index, [point(n) for n in range(1, 6)])
            await index.delete(ONE, [trace(2)])
            await index.flush()
        async with opener() as index:
            assert await numbers(index, anyone()) == [1, 3, 4, 5]

    async def test_its_process_may_be_killed_at_any_call_and_nothing_answered_is_lost(self, tmp_path: Path) -> None:
        index = EdgeVectors(tmp_path / "vectors", DIMENSIONS)
        for n in range(1, 6):
            await fill(index, [point(n)])
            assert index.pid is not None
            os.kill(index.pid, signal.SIGKILL)
        assert await numbers(index, anyone()) == [1, 2, 3, 4, 5]
        await index.aclose()

    async def test_a_kill_in_the_midst_of_writing_leaves_batches_whole_and_the_index_usable(
        self, tmp_path: Path
    ) -> None:
        index = EdgeVectors(tmp_path / "vectors", DIMENSIONS)
        await fill(index, [point(0)])
        writing = asyncio.create_task(fill(index, [point(n) for n in range(1, 4001)]))
        await asyncio.sleep(0.05)
        assert index.pid is not None
        os.kill(index.pid, signal.SIGKILL)
        await writing  # made once more in the next process
        assert await index.count() == 4001
        await index.aclose()

    async def test_an_idle_process_ends_and_the_next_call_starts_another(self, tmp_path: Path) -> None:
        index = EdgeVectors(tmp_path / "vectors", DIMENSIONS, idle_seconds=1)
        await fill(index, [point(1)])
        async with asyncio.timeout(60):
            while index.pid is not None:
                await asyncio.sleep(0.01)
        assert await numbers(index, anyone()) == [1]
        await index.aclose()

    async def test_its_process_ends_with_the_server(self, tmp_path: Path) -> None:
        index = EdgeVectors(tmp_path / "vectors", DIMENSIONS)
        await index.count()
        process = index._process
        assert process is not None
        await index.aclose()
        assert process.returncode == 0

    async def test_after_the_server_is_killed_its_successor_finds_what_was_answered(self, tmp_path: Path) -> None:
        server = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _SERVER, str(tmp_path / "vectors"), stdout=asyncio.subprocess.PIPE
        )
        assert server.stdout is not None
        child = int(await server.stdout.readline())
        server.kill()
        await server.wait()
        index = EdgeVectors(tmp_path / "vectors", DIMENSIONS)
        assert await numbers(index, anyone()) == [1]
        assert not is_running(child), "the folder has one process only"
        await index.aclose()

    async def test_no_process_is_started_before_the_first_call(self, tmp_path: Path) -> None:
        index = EdgeVectors(tmp_path / "vectors", DIMENSIONS)
        assert index.pid is None
        await index.aclose()
        assert not (tmp_path / "vectors").exists()

    async def test_vectors_of_other_dimensions_are_replaced_for_they_can_be_made_again(self, tmp_path: Path) -> None:
        narrow = EdgeVectors(tmp_path / "vectors", DIMENSIONS)
        await fill(narrow, [point(1)])
        await narrow.aclose()
        wide = EdgeVectors(tmp_path / "vectors", DIMENSIONS * 2)
        assert await wide.count() == 0
        await wide.upsert([point(1)], [np.ones(DIMENSIONS * 2, np.float32)])
        assert await wide.count() == 1
        await wide.aclose()

    async def test_a_damaged_index_comes_back_empty(self, tmp_path: Path) -> None:
        index = EdgeVectors(tmp_path / "vectors", DIMENSIONS)
        await fill(index, [point(1)])
        await index.aclose()
        for path in (tmp_path / "vectors" / "shard" / "segments").rglob("*"):
            if path.is_file():
                path.write_bytes(b"rubbish")
        assert await index.count() == 0
        await fill(index, [point(2)])
        assert await numbers(index, anyone()) == [2]
        await index.aclose()

    async def test_a_folder_that_cannot_be_used_is_told_without_its_path(self, tmp_path: Path) -> None:
        (tmp_path / "vectors").write_text("a file")
        index = EdgeVectors(tmp_path / "vectors", DIMENSIONS)
        with pytest.raises(VectorsDownError, match="log") as told:
            await index.count()
        assert str(tmp_path) not in str(told.value)
        (tmp_path / "vectors").unlink()
        assert await index.count() == 0, "it is tried again"
        await index.aclose()

    async def test_what_the_library_refuses_costs_that_call_only(self, tmp_path: Path) -> None:
        index = EdgeVectors(tmp_path / "vectors", DIMENSIONS)
        with pytest.raises(VectorsDownError):
            await index.upsert([point(1)], [np.ones(DIMENSIONS + 1, np.float32)])
        await fill(index, [point(2)])
        assert await index.count() == 1
        await index.aclose()


class TestMemory(VectorIndexContract):
    """The one that unit tests use."""

    @pytest.fixture
    def opener(self) -> Opener:
        @asynccontextmanager
        async def opened() -> AsyncGenerator[VectorIndex]:
            yield MemoryVectors()

        return opened
