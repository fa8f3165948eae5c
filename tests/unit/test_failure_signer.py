"""What the signer signs and when, what a restart may rely on, and that nothing else suffers."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import pytest

from agent_tracer.server.domain.failures.signatures import VERSION
from agent_tracer.server.domain.failures.spans import RunSpan
from agent_tracer.server.domain.ids import AgentId, OtelTraceId, SpanId, TenantId
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.limits import FAILURE_BATCH_TRACES, FAILURE_RETRY_SECONDS, SETTLE_OVERLAP_SECONDS
from agent_tracer.server.ports.failures import (
    ConsideredRun,
    ConsideredRuns,
    GroupCursor,
    GroupQuery,
    GroupRow,
    SignedRun,
)
from agent_tracer.server.ports.journal import Position, Record
from agent_tracer.server.ports.outlines import Progress
from agent_tracer.server.ports.settling import ReceivedRange
from agent_tracer.server.ports.store import StoreDownError
from agent_tracer.server.services import failure_signer as module
from agent_tracer.server.services.failure_signer import FailureSigner
from tests.fixtures.memory_vectors import MemoryProgress

S = 1_000_000_000
NOW = 1_790_000_000
ONE, TWO = TenantId("one"), TenantId("two")


def key(second: int) -> OtelTraceId:
    return OtelTraceId(second.to_bytes(16, "big"))


def record(second: int, signal: Signal = Signal.TRACES) -> Record:
    return Record(Position(1), Position(2), signal, ONE, second * S, b"")


@dataclass
class MemoryFailures:
    """ports.failures.FailureStore over failed runs of one span, named by the second of their receipt."""

    runs: dict[int, ConsideredRun] = field(default_factory=dict)
    kept: dict[OtelTraceId, SignedRun] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)
    asked: list[ReceivedRange] = field(default_factory=list)
    is_down: bool = False

    def add(self, *seconds: int, tenant: TenantId = ONE, is_failed: bool = True, spans: int = 1) -> None:
        for second in seconds:
            self.runs[second] = ConsideredRun(
                tenant, key(second), "", 0, second * S, is_failed, True, ("a",), None, spans, (0,)
            )

    async def considered(self, received: ReceivedRange, *, limit: int) -> ConsideredRuns:
        self.asked.append(received)
        if self.is_down:
            raise StoreDownError("down")
        found = [run for run in self.runs.values() if received.start_ns <= run.received_ns <= received.end_ns]
        latest = sorted(found, key=lambda run: -run.received_ns)[:limit]
        return ConsideredRuns(latest, received.start_ns if len(latest) < limit else latest[-1].received_ns)

    async def spans(
        self, tenant: TenantId, traces: Mapping[OtelTraceId, Sequence[int]]
    ) -> Mapping[OtelTraceId, Sequence[RunSpan]]:
        one = RunSpan(SpanId(b"12345678"), None, 0, 1, "work", "agent", AgentId("a"), failed=True)
        return {trace_id: [one] for trace_id in traces}

    async def run_spans(self, tenant: TenantId, trace_id: OtelTraceId) -> Sequence[RunSpan]:
        raise NotImplementedError

    async def keep(self, signed: Sequence[SignedRun]) -> None:
        self.kept |= {one.run.otel_trace_id: one for one in signed}
        self.order += [one.run.received_ns // S for one in signed]

    async def groups(
        self, tenant: TenantId, query: GroupQuery, *, limit: int, after: GroupCursor | None
    ) -> Sequence[GroupRow]:
        raise NotImplementedError


@dataclass
class World:
    """What outlives a signer."""

    store: MemoryFailures = field(default_factory=MemoryFailures)
    progress: MemoryProgress = field(default_factory=MemoryProgress)

    def signer(self) -> FailureSigner:
        return FailureSigner(store=self.store, progress=self.progress)


async def worked(signer: FailureSigner, turns: int = 1) -> None:
    for _ in range(turns):
        await signer._follower.step()


async def test_the_first_start_signs_all_that_is_stored() -> None:
    world = World()
    world.store.add(NOW - 9, NOW - 3)
    signer = world.signer()
    assert signer.is_behind
    await signer.settled()
    assert set(world.store.kept) == {key(NOW - 9), key(NOW - 3)}
    assert not signer.is_behind


async def test_an_idle_pass_asks_nothing_and_a_commit_of_logs_wakes_nobody() -> None:
    world = World()
    signer = world.signer()
    await signer.settled()
    asked = len(world.store.asked)
    await signer.committed([record(NOW, Signal.LOGS)])
    await signer.settled()
    await worked(signer)
    assert len(world.store.asked) == asked


async def test_a_commit_is_looked_at_and_nothing_else() -> None:
    world = World()
    signer = world.signer()
    await signer.settled()
    world.store.add(NOW)
    await signer.committed([record(NOW), record(NOW + 1)])
    assert signer.is_behind
    await signer.settled()
    assert world.store.asked[-1] == ReceivedRange(NOW * S, (NOW + 1) * S)
    assert set(world.store.kept) == {key(NOW)}


async def test_commits_that_wait_are_looked_at_together() -> None:
    world = World()
    signer = world.signer()
    await signer.settled()
    asked = len(world.store.asked)
    for second in range(NOW, NOW + 100):
        world.store.add(second)
        await signer.committed([record(second)])
    await worked(signer)
    assert world.store.asked[asked:] == [ReceivedRange(NOW * S, (NOW + 99) * S)]
    assert len(world.store.kept) == 100
    await signer.committed([record(NOW + 100)])
    await signer.committed([record(NOW - 500)])
    await worked(signer, 2)
    assert world.store.asked[asked + 1 :] == [
        ReceivedRange((NOW + 99) * S + 1, (NOW + 100) * S),
        ReceivedRange((NOW - 500) * S, (NOW - 500) * S),
    ], "a clock that was set back"


async def test_the_latest_runs_are_signed_first_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FAILURE_BATCH_TRACES", 3)
    world = World()
    world.store.add(*range(NOW, NOW + 8))
    signer = world.signer()
    await worked(signer)
    assert set(world.store.order) == {NOW + 5, NOW + 6, NOW + 7}
    await worked(signer, 3)
    assert sorted(world.store.order) == list(range(NOW, NOW + 8))
    assert not signer.is_behind


async def test_a_run_that_turned_out_well_is_kept_without_a_signature() -> None:
    world = World()
    world.store.add(NOW, is_failed=False)
    await world.signer().settled()
    assert world.store.kept[key(NOW)].signature is None


async def test_tenants_and_large_runs_are_read_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    world = World()
    spans = world.store.spans

    async def counted(
        tenant: TenantId, traces: Mapping[OtelTraceId, Sequence[int]]
    ) -> Mapping[OtelTraceId, Sequence[RunSpan]]:
        read.append(len(traces))
        return await spans(tenant, traces)

    monkeypatch.setattr(world.store, "spans", counted)
    monkeypatch.setattr(module, "FAILURE_READ_SPANS_MAX", 10)
    world.store.add(NOW, NOW + 1, spans=4)
    world.store.add(NOW + 2, NOW + 3, spans=11)
    world.store.add(NOW + 4, tenant=TWO)
    await world.signer().settled()
    assert sorted(read) == [1, 1, 1, 2]
    assert len(world.store.kept) == 5


async def test_a_store_that_is_down_is_asked_again_and_nothing_is_skipped() -> None:
    world = World()
    world.store.add(NOW)
    world.store.is_down = True
    signer = world.signer()
    assert await signer._follower.step() == FAILURE_RETRY_SECONDS
    await signer.settled()
    assert signer.is_behind
    world.store.is_down = False
    await signer.settled()
    assert set(world.store.kept) == {key(NOW)}


async def test_a_restart_goes_on_a_little_before_where_it_was() -> None:
    world = World()
    world.store.add(NOW)
    signer = world.signer()
    await signer.committed([record(NOW)])
    await signer.settled()
    await signer._backlog.save()
    world.store.add(NOW + 1)
    again = world.signer()
    await again.settled()
    assert world.store.asked[-1].start_ns == (NOW - SETTLE_OVERLAP_SECONDS) * S
    assert key(NOW + 1) in world.store.kept


async def test_signatures_of_another_version_are_all_made_anew() -> None:
    world = World()
    world.store.add(1, NOW)
    world.progress.save(Progress(f"{VERSION}-before", NOW * S, ()))
    await world.signer().settled()
    assert len(world.store.kept) == 2


async def test_what_is_left_of_an_import_is_signed_after_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.store.add(*range(NOW, NOW + FAILURE_BATCH_TRACES + 5))
    signer = world.signer()
    await worked(signer)
    assert signer.is_behind
    await signer._backlog.save()
    await world.signer().settled()
    assert len(world.store.kept) == FAILURE_BATCH_TRACES + 5


async def test_the_task_signs_what_comes_and_saves_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PACE", replace(module._PACE, seconds_min=0.0))
    world = World()
    signer = world.signer()
    task = asyncio.create_task(signer.run())
    world.store.add(NOW)
    await signer.committed([record(NOW)])
    async with asyncio.timeout(60):
        while key(NOW) not in world.store.kept:
            await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert world.progress.load() == Progress(VERSION, NOW * S, ())
