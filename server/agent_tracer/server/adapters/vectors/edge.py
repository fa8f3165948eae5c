"""ports.vectors.VectorIndex in a folder, embedded: Qdrant Edge in a process of its own (edge_process says why)."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import structlog

from agent_tracer.server.adapters.vectors.frames import HEAD, FrameError, decode, encode, lengths
from agent_tracer.server.adapters.vectors.points import payload, point_id, read_payload
from agent_tracer.server.domain.ids import OtelTraceId, TenantId
from agent_tracer.server.limits import (
    VECTORS_ANSWER_SECONDS_MAX,
    VECTORS_CALL_SECONDS_MAX,
    VECTORS_IDLE_SECONDS,
    VECTORS_START_SECONDS_MAX,
)
from agent_tracer.server.ports.vectors import Neighbour, Vector, VectorConditions, VectorPoint, VectorsDownError

_log: Final = structlog.get_logger("vectors")
_PROGRAM: Final = "agent_tracer.server.adapters.vectors.edge_process"
_DOWN: Final = "the index of similar traces does not answer; the server's log has the reason"
_BUSY: Final = "the index of similar traces is being tidied; try again in some seconds"
_END_SECONDS: Final = 5.0
_GONE: Final = (EOFError, ConnectionError, asyncio.IncompleteReadError)


class EdgeVectors:
    """See the port. The first call starts the process; one that finds it gone is made once more in a new one."""

    def __init__(self, folder: Path, dimensions: int, *, idle_seconds: float = VECTORS_IDLE_SECONDS) -> None:
        """`folder` is the index's alone. Needs no event loop yet."""
        self._arguments = (str(folder), str(dimensions), str(idle_seconds))
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._exchanges: set[asyncio.Task[Any]] = set()

    @property
    def pid(self) -> int | None:
        """Of the process; None where it is not running."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def upsert(self, points: Sequence[VectorPoint], vectors: Sequence[Vector]) -> None:
        """See the port."""
        if points:
            ids = [point_id(point.tenant, point.trace_id) for point in points]
            block = b"".join(vector.astype("<f4").tobytes() for vector in vectors)
            await self._call("upsert", block, ids=ids, payloads=[payload(point) for point in points])

    async def nearest(self, vector: Vector, where: VectorConditions, *, limit: int) -> Sequence[Neighbour]:
        """See the port."""
        values = {"tenant": [where.tenant], "embedder": [where.embedder]}
        if where.statuses:
            values["status"] = list(where.statuses)
        ranges = {"start_ns": (where.time_range.start_ns, where.time_range.end_ns)} if where.time_range else {}
        block = vector.astype("<f4").tobytes()
        found = await self._call("nearest", block, limit=limit, values=values, ranges=ranges)
        return [Neighbour(read_payload(fields), similarity) for similarity, fields in found]

    async def received(
        self, tenant: TenantId, embedder: str, trace_ids: Sequence[OtelTraceId]
    ) -> Mapping[OtelTraceId, int]:
        """See the port."""
        if not trace_ids:
            return {}
        ids = [point_id(tenant, trace_id) for trace_id in trace_ids]
        found = await self._call("payloads", ids=ids, fields=["trace_id", "embedder", "received_ns"])
        return {
            OtelTraceId(bytes.fromhex(fields["trace_id"])): fields["received_ns"]
            for fields in found
            if fields["embedder"] == embedder
        }

    async def delete(self, tenant: TenantId, trace_ids: Sequence[OtelTraceId]) -> None:
        """See the port."""
        if trace_ids:
            await self._call("delete", ids=[point_id(tenant, trace_id) for trace_id in trace_ids])

    async def count(self, embedder: str = "") -> int:
        """See the port."""
        return int(await self._call("count", values={"embedder": [embedder]} if embedder else {}))

    async def keep_only(self, embedder: str) -> None:
        """See the port."""
        await self._call("keep_only", field="embedder", value=embedder, wait_seconds=VECTORS_CALL_SECONDS_MAX)

    async def trim(self, *, keep: int, received_from_ns: int) -> int | None:
        """See the port."""
        cut: int | None = await self._call(
            "trim", field="received_ns", keep=keep, least=received_from_ns, wait_seconds=VECTORS_CALL_SECONDS_MAX
        )
        return cut

    async def flush(self) -> None:
        """See the port."""
        await self._call("flush", wait_seconds=VECTORS_CALL_SECONDS_MAX)

    async def aclose(self) -> None:
        """See the port. Calls under way are finished first."""
        async with self._turn:
            await self._end()

    async def _call(
        self,
        call: str,
        block: bytes = b"",
        *,
        wait_seconds: float = VECTORS_ANSWER_SECONDS_MAX,
        **arguments: Any,  # noqa: ANN401 - the method's own, as JSON has them
    ) -> Any:  # noqa: ANN401 - what the method answers, as JSON has it
        """The process's answer. An exchange goes on when the call is given up, or the next one would get its answer."""
        exchange = asyncio.create_task(self._exchange(encode({"call": call, "arguments": arguments}, block)))
        self._exchanges.add(exchange)
        exchange.add_done_callback(self._over)
        done, _ = await asyncio.wait((exchange,), timeout=wait_seconds)
        if not done:
            raise VectorsDownError(_BUSY)
        answer = exchange.result()
        if "error" in answer:
            _log.error("the vector index failed", call=call, error=answer["error"])
            raise VectorsDownError(_DOWN)
        return answer["result"]

    def _over(self, exchange: "asyncio.Task[Any]") -> None:
        self._exchanges.discard(exchange)
        if not exchange.cancelled():
            exchange.exception()  # asked for, since whoever called may have given up

    async def _exchange(self, message: bytes) -> Mapping[str, Any]:
        async with self._turn:
            try:
                async with asyncio.timeout(VECTORS_CALL_SECONDS_MAX):
                    return await self._ask_or_again(message)
            except BaseException as error:
                # Half of an exchange may be on its way, so that nothing more can be asked of this process.
                await self._kill()
                if not isinstance(error, (*_GONE, TimeoutError, OSError, FrameError)):
                    raise
                _log.error("the process of the vector index does not answer", reason=type(error).__name__)
                raise VectorsDownError(_DOWN) from None

    async def _ask_or_again(self, message: bytes) -> Mapping[str, Any]:
        if self.pid is not None:
            with suppress(*_GONE):
                return await self._ask(message)
            await self._end()
        return await self._ask(message)

    async def _ask(self, message: bytes) -> Mapping[str, Any]:
        process = await self._running()
        assert process.stdin is not None  # noqa: S101 - it was started with a pipe
        process.stdin.write(message)
        await process.stdin.drain()
        return await _read(process)

    async def _running(self) -> asyncio.subprocess.Process:
        if self._process is not None:
            if self._process.returncode is None and not self._at_end(self._process):
                return self._process
            await self._end()
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", _PROGRAM, *self._arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is the server's, which finishes first
        )
        async with asyncio.timeout(VECTORS_START_SECONDS_MAX):
            await _read(self._process)
        return self._process

    @staticmethod
    def _at_end(process: asyncio.subprocess.Process) -> bool:
        return process.stdout is None or process.stdout.at_eof()

    async def _end(self) -> None:
        """Let the process finish: it ends with its input."""
        process = self._process
        if process is None:
            return
        assert process.stdin is not None  # noqa: S101 - it was started with a pipe
        process.stdin.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                await process.wait()
        await self._kill()

    async def _kill(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _read(process: asyncio.subprocess.Process) -> Mapping[str, Any]:
    """One answer. Raises EOFError (IncompleteReadError) where the process ends first."""
    assert process.stdout is not None  # noqa: S101 - it was started with a pipe
    text, block = lengths(await process.stdout.readexactly(HEAD.size))
    answer = decode(await process.stdout.readexactly(text))
    await process.stdout.readexactly(block)
    return answer
