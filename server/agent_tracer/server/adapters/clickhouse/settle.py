"""Makes tasks, calls between services and countable units out of the spans of traces, in SQL."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from clickhouse_connect.driver.client import Client

from agent_tracer.server.adapters.clickhouse import graph_settling
from agent_tracer.server.adapters.clickhouse import settle_sql as sql
from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.adapters.clickhouse.rollups import roll_hours
from agent_tracer.server.adapters.clickhouse.work_counts import read_work
from agent_tracer.server.limits import (
    SETTLE_BLOOM_TRACES_MAX,
    SETTLE_MEMORY_BYTES_MAX,
    SETTLE_SPANS_MAX,
    SETTLE_TRACE_SPANS_MAX,
    SETTLE_TRACES_MAX,
)
from agent_tracer.server.ports.settling import ReceivedRange, Settled
from agent_tracer.server.ports.store import StoreDownError, TooMuchDataError
from agent_tracer.server.ports.work_counts import WorkCounter

_log: Final = structlog.get_logger("settler")

_SETTINGS: Final[Mapping[str, Any]] = {
    # Keeps the rows of tables in memory in their order, and leaves the other core to the server.
    "max_threads": 1,
    "max_insert_threads": 1,
    "max_memory_usage": SETTLE_MEMORY_BYTES_MAX,
    # An import of old traces may touch as many weeks as it likes.
    "max_partitions_per_insert_block": 0,
    # A pass has each row once.
    "optimize_on_insert": 0,
    "do_not_merge_across_partitions_select_final": 1,
    # The statements are short-lived and each is analysed anew: compiling costs more than it saves.
    "compile_expressions": 0,
    "compile_aggregate_expressions": 0,
}


@dataclass(frozen=True, slots=True)
class _Batch:
    """Whole traces, newest first.

    When the first of their spans was received, how many spans they and the largest of them have, and how many of
    them may have been settled before.
    """

    number: int
    first_ns: int
    spans: int
    largest: int
    again: int


class ClickHouseSettler:
    """ports.settling.TraceSettler, on the engine's settling thread."""

    def __init__(self, engine: Engine, counter: WorkCounter | None = None) -> None:
        """`counter` is told of calls and tasks that no earlier settling has stored."""
        self._engine = engine
        self._counter = counter
        self._is_ready = False
        self._version_ns = 0
        self._new_from_ns: int | None = None

    async def settled_to(self) -> int | None:
        """See the port."""
        rows = await self._engine.rows(
            "SELECT toUnixTimestamp64Nano(received_at) FROM settled_to FINAL WHERE name = 'spans'"
        )
        return int(rows[0][0]) if rows else None

    async def settle(self, received: ReceivedRange) -> Settled:
        """See the port."""
        try:
            return await self._engine.settle(lambda client: self._pass(client, received))
        except TooMuchDataError:
            raise StoreDownError("traces could not be settled for want of memory; give the server more") from None

    async def advance(self, received_ns: int) -> None:
        """See the port."""

        def write(client: Client) -> None:
            client.command(
                "INSERT INTO settled_to SELECT 'spans', fromUnixTimestamp64Nano({received:Int64}, 'UTC'), "
                "fromUnixTimestamp64Nano({version:Int64}, 'UTC')",
                parameters={"received": received_ns, "version": self._version(client)},
            )

        await self._engine.settle(write)

    async def roll(self, now_ns: int) -> int:
        """See the port."""
        return await self._engine.settle(lambda client: roll_hours(client, now_ns, self._version(client)))

    def _version(self, client: Client) -> int:
        """A time later than any that rows were written with, also when the clock was set back meanwhile."""
        if not self._version_ns:
            found = client.query(
                "SELECT greatest((SELECT max(toUnixTimestamp64Nano(version)) FROM settled_to), "
                "(SELECT max(toUnixTimestamp64Nano(settled_at)) FROM settled_hours))"
            )
            self._version_ns = int(found.result_rows[0][0])
        self._version_ns = max(time.time_ns(), self._version_ns + 1)
        return self._version_ns

    def _pass(self, client: Client, received: ReceivedRange) -> Settled:
        self._make_ready(client)
        last_ns, latest_ns, rows = _end_of_slice(client, received)
        if rows == 0:
            return Settled(last_ns, None, 0)
        batches = self._touched(client, ReceivedRange(received.start_ns, last_ns), latest_ns, rows)
        for batch in batches:
            self._settle_batch(client, batch)
        for table in sql.SCRATCH:
            _run(client, f"TRUNCATE TABLE {table}")
        return Settled(last_ns, latest_ns, sum(batch.spans for batch in batches))

    def _touched(self, client: Client, received: ReceivedRange, latest_ns: int, rows: int) -> Sequence[_Batch]:
        """The traces of the range in batches, newest first."""
        # A trace is new where all of it was received after everything that was settled before, or tried to be; what that
        # was before the start is not known.
        new_from_ns = self._new_from_ns or latest_ns + 1
        self._new_from_ns = max(new_from_ns, latest_ns + 1)
        _run(client, "TRUNCATE TABLE settle_touched")
        _run(
            client,
            sql.TOUCHED.format(settings="" if rows <= SETTLE_BLOOM_TRACES_MAX else sql.UNFILTERED),
            {
                "first": received.start_ns,
                "last": received.end_ns,
                "new_from": new_from_ns,
                "batch_spans": SETTLE_SPANS_MAX,
                "trace_spans": SETTLE_TRACE_SPANS_MAX,
            },
        )
        batches = [_Batch(*row) for row in client.query(sql.BATCHES).result_rows]
        if batches and batches[-1].number == sql.TOO_LARGE:
            largest = batches.pop().largest
            _log.warning("traces of too many spans are not settled", spans=largest, most=SETTLE_TRACE_SPANS_MAX)
        return batches

    def _make_ready(self, client: Client) -> None:
        if not self._is_ready:
            # Of the whole client, which is the settler's alone: settings of single commands cost 8 ms each.
            for name, value in _SETTINGS.items():
                client.set_client_setting(name, value)
            for statement in sql.CREATE_SCRATCH:
                client.command(statement)
            self._is_ready = True

    def _settle_batch(self, client: Client, batch: _Batch) -> None:
        """A batch's rows, as one version. Any part of it may be done again."""
        for table in sql.SCRATCH:
            if table != "settle_touched":
                _run(client, f"TRUNCATE TABLE {table}")
        values = {"batch": batch.number, "received": batch.first_ns, "settled_at": self._version(client)}
        _run(client, sql.SPANS, values)
        _link(client, batch.largest)
        withdrawn = (sql.FORMER, sql.WITHDRAWN_TASKS, sql.WITHDRAWN_UNITS) if batch.again else ()
        for statement in (sql.TRACES, sql.TRACE_UNITS, sql.SPAN_UNITS, sql.HOURS):
            _run(client, statement, values)
        self._store_units(client, batch, values)
        for statement in (sql.TASKS, sql.EDGES, graph_settling.CALLS, *withdrawn, graph_settling.BUCKETS):
            _run(client, statement, values)

    def _store_units(self, client: Client, batch: _Batch, values: Mapping[str, Any]) -> None:
        """Counted are those that were not stored before: if storing fails, they are counted when it succeeds."""
        counter = self._counter
        if counter is None:
            _run(client, sql.UNITS, values)
            return
        work = read_work(client, batch.number, is_again=bool(batch.again), is_waiting=counter.is_waiting)
        _run(client, sql.UNITS, values)
        counter.settled(work)


def _link(client: Client, deepest: int) -> None:
    """Parents, and who inherits from whom, for chains of up to `deepest` spans."""
    _run(client, sql.PARENTS)
    if client.query(sql.HAS_BACKWARD).result_rows[0][0]:
        for _ in range(_jumps(deepest)):
            _run(client, sql.jump("settle_parents"))
        _run(client, sql.CUT_CYCLES)
    for table, statement in (("settle_heirs", sql.HEIRS), ("settle_owners", sql.OWNERS)):
        _run(client, statement)
        for _ in range(_jumps(deepest)):
            _run(client, sql.jump(table))


def _jumps(deepest: int) -> int:
    count, reach = 1, sql.HOPS
    while reach < deepest:
        count, reach = count + 1, reach * sql.HOPS
    return count


def _end_of_slice(client: Client, received: ReceivedRange) -> tuple[int, int, int]:
    """Where a pass over the range has to end, the last receipt up to there, and about how many rows it will find."""
    values = {"first": received.start_ns, "last": received.end_ns, "most": SETTLE_TRACES_MAX}
    latest_ns, rows = client.query(
        f"SELECT max(toUnixTimestamp64Nano(received_at)), count() FROM traces WHERE {sql.RECEIVED}", values
    ).result_rows[0]
    if rows <= SETTLE_TRACES_MAX:
        return received.end_ns, latest_ns, rows
    # One past the most, so that the next pass, which begins there, has got on.
    cut = client.query(
        f"SELECT toUnixTimestamp64Nano(received_at) AS at FROM traces WHERE {sql.RECEIVED} "
        "ORDER BY at LIMIT 1 OFFSET {most:UInt32}",
        values,
    )
    return int(cut.result_rows[0][0]), int(cut.result_rows[0][0]), rows


def _run(client: Client, statement: str, parameters: Mapping[str, Any] | None = None) -> None:
    client.command(statement, parameters=dict(parameters or {}))
