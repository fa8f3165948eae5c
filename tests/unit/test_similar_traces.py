"""What FindSimilarTraces answers, whatever the index says."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

import pytest

from agent_tracer.server.domain.errors import InvalidFieldsError, TraceNotFoundError
from agent_tracer.server.domain.ids import OtelTraceId, TenantId
from agent_tracer.server.domain.telemetry import TraceStatus
from agent_tracer.server.limits import SIMILAR_LIMIT_DEFAULT, SIMILAR_LIMIT_MAX, SIMILAR_SPARE
from agent_tracer.server.ports.vectors import VectorsDownError
from agent_tracer.server.services.similar_traces import SimilarRequest, SimilarTraces
from agent_tracer.server.services.trace_indexer import TraceIndexer
from tests.fixtures.memory_vectors import ONE, outlined
from tests.unit.test_trace_indexer import NOW, Learner, S, World, key, record, worked

T = TypeVar("T")


class Loaded:
    """LoadedReads of a journal that is always loaded."""

    async def find(self, look: Callable[[], Awaitable[T]]) -> T:
        return await look()

    async def find_whole(self, tenant: TenantId, trace_id: OtelTraceId, look: Callable[[], Awaitable[T]]) -> T:
        del tenant, trace_id
        return await look()


async def nothing() -> None:
    pass


def service(world: World) -> tuple[SimilarTraces, TraceIndexer]:
    indexer = world.indexer()
    made = SimilarTraces(
        reader=world.traces,  # type: ignore[arg-type]
        index=world.vectors,
        indexer=indexer,
        loaded=Loaded(),  # type: ignore[arg-type]
        catch_up=indexer.settled,
        clock_ns=lambda: world.now * S,
    )
    return made, indexer


def asked(number: int, **more: object) -> SimilarRequest:
    return SimilarRequest(key(number).hex(), **more)  # type: ignore[arg-type]


async def found(world: World, request: SimilarRequest, tenant: TenantId = ONE) -> list[int]:
    similar, _ = service(world)
    return [int(one.trace_id.removeprefix("trace-")) for one in await similar.find(tenant, request)]


def texts(**traces: str) -> World:
    """Traces t<number>, a second apart."""
    world = World()
    for name, text in traces.items():
        number = int(name.removeprefix("t"))
        world.traces.add(outlined(number, text, (NOW - 1000 + number) * S))
    return world


async def test_the_most_alike_come_first_without_the_trace_itself() -> None:
    world = texts(
        t1="rate limit reached again", t2="rate limit reached", t3="no documents found", t4="rate limit reached again"
    )
    similar, _ = service(world)
    answer = await similar.find(ONE, asked(1))
    assert [one.trace_id for one in answer] == ["trace-4", "trace-2", "trace-3"]
    assert answer[0].similarity == 1
    assert 1 > answer[1].similarity > answer[2].similarity >= 0
    assert (answer[0].agent_id, answer[0].operation, answer[0].status) == ("a", "op", "success")
    assert answer[0].start_ns == (NOW - 996) * S


async def test_equally_similar_traces_come_by_id() -> None:
    world = texts(**{f"t{n}": "the same words" for n in (1, 30, 4, 5, 100)})
    assert await found(world, asked(1)) == [100, 30, 4, 5]


async def test_the_limit_is_ten_where_none_is_given() -> None:
    world = texts(**{f"t{n}": f"word{'x' * n} same" for n in range(1, 40)})
    assert len(await found(world, asked(1))) == SIMILAR_LIMIT_DEFAULT
    assert len(await found(world, asked(1, limit=SIMILAR_LIMIT_MAX))) == 38
    assert len(await found(world, asked(1, limit=3))) == 3


async def test_similarities_are_from_zero_to_one() -> None:
    world = texts(t1="a b c", t2="x y z")
    similar, _ = service(world)
    await similar.find(ONE, asked(1))
    point, vector = world.vectors.points[ONE, key(1)]
    world.vectors.points[ONE, key(2)] = replace(point, trace_id=key(2)), -vector
    (answer,) = await similar.find(ONE, asked(1))
    assert answer.similarity == 0


async def test_wrong_fields_are_told_together() -> None:
    similar, _ = service(World())
    with pytest.raises(InvalidFieldsError) as told:
        await similar.find(ONE, SimilarRequest("", limit=101, status="odd", period="soon"))
    assert [one.field for one in told.value.violations] == ["trace_id", "limit", "status", "period"]
    with pytest.raises(InvalidFieldsError):
        await similar.find(ONE, asked(1, limit=-1))


async def test_a_trace_that_is_not_stored_is_not_found() -> None:
    world = texts(t1="a", t2="b")
    with pytest.raises(TraceNotFoundError):
        await found(world, asked(9))
    with pytest.raises(TraceNotFoundError):
        await found(world, asked(1), TenantId("two"))


async def test_the_status_is_that_of_now_though_the_index_knows_an_older_one() -> None:
    world = texts(t1="a", t2="a", t3="a", t4="a")
    world.traces.change(2, status=TraceStatus.RUNNING)
    world.traces.change(4, status=TraceStatus.ERROR)
    assert await found(world, asked(1, status="running")) == [2]
    world.traces.change(2, status=TraceStatus.ERROR)
    assert await found(world, asked(1, status="error")) == [2, 4]
    assert await found(world, asked(1, status="running")) == []


async def test_a_period_leaves_out_what_began_before() -> None:
    world = texts(t1="a", t2="a", t3="a")
    world.now = NOW - 1000 + 12
    assert await found(world, asked(1, period="10s")) == [2, 3]
    assert await found(world, asked(1, period="9s")) == [3]


async def test_deleted_traces_that_the_index_still_holds_do_not_cost_answers() -> None:
    total = 3 * SIMILAR_SPARE
    world = texts(**{f"t{n}": "same words" for n in range(1, total + 1)})
    await found(world, asked(1))
    for number in range(2, total - 5):
        del world.traces.held[ONE, key(number)]
    assert await found(world, asked(1, limit=6)) == list(range(total - 5, total + 1))


async def test_a_trace_of_a_moment_ago_is_found() -> None:
    world = texts(t1="a b", t2="c d")
    similar, indexer = service(world)
    await similar.find(ONE, asked(1))
    world.traces.add(outlined(3, "a b", NOW * S))
    await indexer.committed([record(NOW)])
    assert (await similar.find(ONE, asked(1)))[0].trace_id == "trace-3"
    assert (await similar.find(ONE, asked(3)))[0].trace_id == "trace-1"


async def test_an_index_that_is_down_is_told() -> None:
    world = texts(t1="a", t2="b")
    world.vectors.down = True
    with pytest.raises(VectorsDownError):
        await found(world, asked(1))


async def test_while_traces_are_embedded_anew_none_is_missing_from_answers() -> None:
    world = texts(t1="same", t2="same", t3="same", t4="same")
    world.embedders = Learner(due=4)
    similar, indexer = service(world)
    await worked(indexer)
    assert world.embedders.former is not None
    similar._catch_up = nothing  # so that it stays half done
    point, vector = world.vectors.points[ONE, key(2)]
    world.vectors.points[ONE, key(2)] = replace(point, embedder=world.embedders.current.id), vector
    for number in (1, 2):
        answer = await similar.find(ONE, asked(number))
        assert {one.trace_id for one in answer} == {f"trace-{n}" for n in (1, 2, 3, 4) if n != number}
        assert [one.embedder for one, _ in world.vectors.points.values()].count(world.embedders.former.id) == 3
