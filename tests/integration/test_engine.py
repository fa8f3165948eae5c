"""The store's engine under its bounds: cancelled, crowded, slow, large and hostile queries, and its end."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_tracer.server.adapters.clickhouse.engine import EMBEDDED, Engine
from agent_tracer.server.limits import QUERY_QUEUE_MAX, QUERY_SECONDS_MAX, QUERY_WORKERS
from agent_tracer.server.ports.store import (
    QueryTimeoutError,
    StoreBusyError,
    StoreDownError,
    TooMuchDataError,
)

ENDLESS = "SELECT count() FROM system.numbers WHERE sipHash64(number) = 1"
"""Runs until it is stopped."""

SECONDS_MAX = 60
"""What a busy machine takes for what happens at once on a quiet one."""

SETTINGS = "agent_tracer.server.adapters.clickhouse.engine._READ_SETTINGS"


async def running(engine: Engine) -> int:
    """How many endless queries the engine is at work on, seen from the writer's client."""

    def count(client: Client) -> int:
        found = client.query(
            "SELECT count() FROM system.processes WHERE query LIKE '%system.numbers WHERE sipHash64%' "
            "AND query NOT LIKE '%system.processes%'"
        )
        return int(found.result_rows[0][0])

    return await engine.write(count)


async def until_running(engine: Engine, count: int) -> None:
    async with asyncio.timeout(SECONDS_MAX):
        while await running(engine) != count:
            await asyncio.sleep(0.02)


@pytest.fixture
async def quiet(engine: Engine) -> AsyncIterator[Engine]:
    """The session's engine, with nothing left running by this test. A queue belongs to one test's event loop."""
    renew_queue(engine)
    yield engine
    await until_running(engine, 0)
    renew_queue(engine)


def renew_queue(engine: Engine) -> None:
    engine._idle = asyncio.LifoQueue()
    for reader in engine._readers:
        engine._idle.put_nowait(reader)


async def cancelled(*tasks: "asyncio.Task[Any]") -> None:
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results), results


async def test_cancelling_a_query_stops_it_in_the_engine(quiet: Engine) -> None:
    query = asyncio.create_task(quiet.rows(ENDLESS))
    await until_running(quiet, 1)
    async with asyncio.timeout(SECONDS_MAX):
        await cancelled(query)
    assert await running(quiet) == 0
    assert await quiet.rows("SELECT 1") == [(1,)]


async def test_a_query_cancelled_before_the_engine_knows_of_it_leaves_nothing_behind(quiet: Engine) -> None:
    for _ in range(20):
        query = asyncio.create_task(quiet.rows(ENDLESS))
        await asyncio.sleep(0)
        await cancelled(query)
    await until_running(quiet, 0)
    assert await quiet.rows("SELECT 1") == [(1,)]


async def test_cancelling_twice_gives_the_worker_back_once_and_only_when_it_is_free(quiet: Engine) -> None:
    queries = [asyncio.create_task(quiet.rows(ENDLESS)) for n in range(QUERY_WORKERS)]
    await until_running(quiet, QUERY_WORKERS)
    for _ in range(2):
        for query in queries:
            query.cancel()
        await asyncio.sleep(0)
    await asyncio.gather(*queries, return_exceptions=True)
    await until_running(quiet, 0)
    again = [asyncio.create_task(quiet.rows("SELECT sleep(0.1)")) for _ in range(QUERY_WORKERS + 1)]
    async with asyncio.timeout(SECONDS_MAX):
        await asyncio.gather(*again)
    assert quiet._idle.qsize() == QUERY_WORKERS


async def test_past_the_bound_of_the_queue_callers_are_told_to_come_back(quiet: Engine) -> None:
    busy = [asyncio.create_task(quiet.rows(ENDLESS)) for n in range(QUERY_WORKERS)]
    await until_running(quiet, QUERY_WORKERS)
    waiting = [asyncio.create_task(quiet.rows("SELECT 1")) for _ in range(QUERY_QUEUE_MAX)]
    await asyncio.sleep(0)
    with pytest.raises(StoreBusyError):
        await quiet.rows("SELECT 1")
    await cancelled(*busy)
    async with asyncio.timeout(SECONDS_MAX):
        assert await asyncio.gather(*waiting) == [[(1,)]] * QUERY_QUEUE_MAX


async def test_one_that_gives_up_waiting_leaves_its_place_in_the_queue(quiet: Engine) -> None:
    busy = [asyncio.create_task(quiet.rows(ENDLESS)) for n in range(QUERY_WORKERS)]
    await until_running(quiet, QUERY_WORKERS)
    for _ in range(QUERY_QUEUE_MAX + 1):
        waiting = asyncio.create_task(quiet.rows("SELECT 1"))
        await asyncio.sleep(0)
        await cancelled(waiting)
    await cancelled(*busy)
    assert await quiet.rows("SELECT 1") == [(1,)]


async def test_a_query_past_its_time_is_stopped_and_told_so(quiet: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SETTINGS, {"max_execution_time": 1})
    started = time.monotonic()
    with pytest.raises(QueryTimeoutError, match="narrow"):
        await quiet.rows(ENDLESS)
    assert time.monotonic() - started < QUERY_SECONDS_MAX, "its own time, not that of every query"


async def test_a_query_past_its_memory_is_stopped_and_told_so(quiet: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SETTINGS, {"max_memory_usage": 50_000_000})
    with pytest.raises(TooMuchDataError, match="narrow"):
        await quiet.rows("SELECT groupArray(number) FROM numbers(100000000)")


async def test_an_error_says_nothing_of_the_driver_and_the_workers_go_on(quiet: Engine) -> None:
    for _ in range(2 * QUERY_WORKERS):
        with pytest.raises(StoreDownError) as raised:
            await quiet.rows("SELECT no_such_column FROM no_such_table")
        assert "no_such" not in str(raised.value)
        assert "Code" not in str(raised.value)
        assert raised.value.__cause__ is None
    rows = await asyncio.gather(*(quiet.rows("SELECT {n:UInt32}", {"n": n}) for n in range(20)))
    assert rows == [[(n,)] for n in range(20)], "every caller gets its own rows"


HOSTILE = [
    "'; DROP TABLE spans; --",
    "\\'; DROP TABLE spans; --",
    "') OR 1=1 --",
    "{name:String}",
    "{{name}}",
    "%(name)s %s %%",
    "\\",
    "\\N",
    "NULL",
    "\t\r\n\b\f",
    "\0",
    "a\0b",
    "\u2028 \ufeff \U0001f980 \u202e",
    "`\"'",
    "FORMAT Null",
    "x" * 100_000,
    "",
]


async def echoed(engine: Engine, text: str) -> Sequence[Sequence[Any]]:
    return await engine.rows(
        "SELECT {text:String} AS text, {texts:Array(String)} AS texts, length({text:String}) AS size",
        {"text": text, "texts": [text, "plain", text]},
    )


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: repr(text[:20]))
async def test_a_parameter_is_a_text_whatever_it_says(quiet: Engine, text: str) -> None:
    raw = text.encode()
    assert [tuple(row) for row in await echoed(quiet, text)] == [(raw, [raw, b"plain", raw], len(raw))]
    assert await quiet.rows("SELECT count() >= 0 FROM spans") == [(1,)]


def test_any_text_comes_back_as_it_went_in(engine: Engine) -> None:
    with asyncio.Runner() as runner:

        @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
        @given(st.text(st.characters(codec="utf-8"), max_size=50))
        def check(text: str) -> None:
            raw = text.encode()
            rows = runner.run(echoed(engine, text))
            assert [tuple(row) for row in rows] == [(raw, [raw, b"plain", raw], len(raw))]

        check()


async def test_a_write_is_not_cut_short_by_its_callers_end(quiet: Engine) -> None:
    done = asyncio.Event()
    loop = asyncio.get_running_loop()

    def work(client: Client) -> None:
        client.command("SELECT sleep(0.5)")
        loop.call_soon_threadsafe(done.set)

    write = asyncio.create_task(quiet.write(work))
    await asyncio.sleep(0.05)
    await cancelled(write)
    async with asyncio.timeout(SECONDS_MAX):
        await done.wait()


async def test_closing_waits_for_what_runs_and_gives_the_store_to_the_next(engine: Engine) -> None:
    assert engine.schemas is not None
    other, finished = Engine.open(EMBEDDED, engine.schemas.parent), []
    loop = asyncio.get_running_loop()
    started = asyncio.Event()

    def work(client: Client) -> None:
        loop.call_soon_threadsafe(started.set)
        client.command("SELECT sleep(0.3)")
        finished.append("write")

    write = asyncio.create_task(other.write(work))
    await started.wait()
    await asyncio.to_thread(other.close)
    assert finished == ["write"]
    await write
    assert await engine.rows("SELECT 1") == [(1,)]
