"""The loader over a real journal and the embedded store: every request once, whatever moment the process dies at."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from agent_tracer.server.adapters.clickhouse.engine import EMBEDDED, Engine
from agent_tracer.server.adapters.clickhouse.load import ClickHouseLoader
from agent_tracer.server.adapters.clickhouse.schema import prepare
from agent_tracer.server.adapters.journal import FileJournal
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.otlp_validation import validate
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.ports.journal import Record
from agent_tracer.server.ports.loading import RequestRefusedError
from tests.fixtures.engine import record
from tests.fixtures.load import REQUESTS
from tests.fixtures.loading import TENANT, Fuse, loader_over, poisoned

TABLES = {Signal.TRACES: "spans", Signal.LOGS: "logs", Signal.METRICS: "metric_points"}
DAY_NS = 86_400 * 10**9
REQUESTS_A_RUN = 4


def request(signal: Signal, *names: str) -> bytes:
    return REQUESTS[signal](names).SerializeToString()


def bad_request(name: str) -> bytes:
    """Passes validation, and is refused by the store."""
    return poisoned(request(Signal.TRACES, name))


async def count(engine: Engine, table: str, tenant: TenantId) -> int:
    rows = await engine.rows(f"SELECT count() FROM {table} WHERE tenant = {{tenant:String}}", {"tenant": tenant})
    return int(rows[0][0])


def over_midnight(tenant: TenantId, signal: Signal) -> list[Record]:
    """Three requests of two items each, of which the last came in on another day."""
    today_ns = time.time_ns() // DAY_NS * DAY_NS
    return [
        record(tenant, signal, request(signal, f"{tenant}-{n}-a", f"{tenant}-{n}-b"), today_ns + offset_ns)
        for n, offset_ns in enumerate((-2, -1, 0))
    ]


@pytest.mark.parametrize("signal", list(Signal))
async def test_the_same_commit_again_changes_nothing_over_midnight_too(
    engine: Engine, tenant: TenantId, signal: Signal
) -> None:
    loader, records = ClickHouseLoader(engine), over_midnight(tenant, signal)
    await loader.insert(signal, records, f"token-{tenant}")
    await loader.insert(signal, records, f"token-{tenant}")
    await loader.insert(signal, records, f"token-{tenant}", again=True)
    assert await count(engine, TABLES[signal], tenant) == 6
    if signal is Signal.TRACES:
        assert await count(engine, "traces", tenant) == 3


@pytest.mark.parametrize(("signal", "table"), [*TABLES.items(), (Signal.TRACES, "traces")], ids=str)
async def test_rows_whose_token_is_known_but_which_a_crash_lost_come_back(
    engine: Engine, tenant: TenantId, signal: Signal, table: str
) -> None:
    # The engine logs a part's token, then names the part: a crash in between leaves the token alone.
    loader, records = ClickHouseLoader(engine), over_midnight(tenant, signal)
    await loader.insert(signal, records, f"token-{tenant}")
    lose = (
        f"ALTER TABLE {table} DELETE WHERE tenant = '{tenant}' AND received_at >= today() SETTINGS mutations_sync = 1"
    )
    if table == "traces":
        lose = lose.replace("AND received_at >= today()", "")
    await engine.write(lambda client: client.command(lose))
    before = await count(engine, table, tenant)
    await loader.insert(signal, records, f"token-{tenant}")
    assert await count(engine, table, tenant) == before, "else this test shows nothing"

    await loader.insert(signal, records, f"token-{tenant}", again=True)
    assert await count(engine, table, tenant) == (3 if table == "traces" else 6)
    await loader.insert(signal, records, f"token-{tenant}", again=True)
    assert await count(engine, table, tenant) == (3 if table == "traces" else 6)


async def test_a_request_that_decodes_elsewhere_and_not_in_the_store_is_refused_and_its_neighbours_are_not_stored(
    engine: Engine, tenant: TenantId
) -> None:
    bad = bad_request(f"{tenant}-bad")
    assert validate(Signal.TRACES, bad, time.time_ns()).kept == 1, "else it would never get here"
    records = [record(tenant, Signal.TRACES, request(Signal.TRACES, "good")), record(tenant, Signal.TRACES, bad)]
    with pytest.raises(RequestRefusedError, match="protobuf"):
        await ClickHouseLoader(engine).insert(Signal.TRACES, records, f"token-{tenant}")
    assert await count(engine, "spans", tenant) == 0


async def test_an_error_of_the_engine_that_nobody_foresaw_blames_the_request_only_if_an_empty_one_passes(
    engine: Engine, tenant: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_tracer.server.adapters.clickhouse.load._REFUSALS", {})
    bad = record(tenant, Signal.TRACES, bad_request(f"{tenant}-bad"))
    with pytest.raises(RequestRefusedError, match="444"):
        await ClickHouseLoader(engine).insert(Signal.TRACES, [bad], f"token-{tenant}")


async def test_a_senders_own_fields_cannot_change_the_tenant_or_the_time_of_receipt(
    engine: Engine, tenant: TenantId
) -> None:
    evil = b"evil"
    fields = (
        b"".join(bytes((number << 3 | 2, len(evil))) + evil for number in (2, 3, 4))
        + b"\xc2\x3e\x04evil\xc9\x3e"
        + b"\1" * 8
    )
    for payload in (fields + request(Signal.LOGS, "a"), request(Signal.LOGS, "b") + fields):
        taken = record(tenant, Signal.LOGS, payload)
        await ClickHouseLoader(engine).insert(Signal.LOGS, [taken], f"token-{taken.start}-{tenant}")
    assert await count(engine, "logs", tenant) == 2


async def test_a_quarantined_request_is_kept_whole_and_once(engine: Engine, tenant: TenantId) -> None:
    loader = ClickHouseLoader(engine)
    odd = record(tenant, Signal.METRICS, bytes(range(256)) * 4_000 + b"'; DROP TABLE spans; --\\")
    for _ in range(2):
        await loader.quarantine(odd, "why 'so'")
    rows = await engine.rows(
        "SELECT signal, reason, payload, toUnixTimestamp64Nano(received_at) FROM quarantine WHERE tenant = {t:String}",
        {"t": tenant},
    )
    assert [tuple(row) for row in rows] == [(int(Signal.METRICS), b"why 'so'", odd.payload, odd.received_ns)]


# The bad request makes the traces' range fall apart: its inserts are whole, half, quarter and so on.
FUSES = [("planned", 1), ("inserted", 1), ("inserted", 2), ("insert", 4), ("quarantined", 1), ("commit", 1)]


@pytest.mark.timeout(1500)
def test_every_request_is_stored_once_though_the_process_dies_at_each_step_of_a_commit(tmp_path: Path) -> None:
    for place, times in FUSES:
        crash = run_child(tmp_path, f"{place}{times}", place, str(times))
        assert crash.returncode == -9, f"it must die there: {place}, {times}: {crash.stderr.decode()}"
    done = run_child(tmp_path, "last")
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout.splitlines()[-1])
    runs = [*(f"{place}{times}" for place, times in FUSES), "last"]
    for signal in Signal:
        assert found[signal.name] == {f"{run}-{signal.name}-{n}": 1 for run in runs for n in range(REQUESTS_A_RUN)}
    assert found["quarantine"] == len(runs), "the bad request of each run"


def run_child(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "tests.integration.test_loader", str(folder), *arguments],
        capture_output=True,
        timeout=180,
        check=False,
    )


async def load_everything(folder: Path, run: str, fuse: Fuse) -> Mapping[str, object]:
    """The child: take requests in, among them a bad one, then load until nothing is left."""
    engine = Engine.open(EMBEDDED, folder / "store")
    await engine.write(prepare)
    journal = FileJournal.open(folder / "journal")
    loader = loader_over(folder, journal, ClickHouseLoader(engine), fuse=fuse)
    midnight_ns = time.time_ns() // DAY_NS * DAY_NS - 1
    for number in range(REQUESTS_A_RUN):
        for signal in Signal:
            received_ns = midnight_ns + len(Signal) * number + signal
            await journal.append(signal, TENANT, received_ns, request(signal, f"{run}-{signal.name}-{number}"))
        if number == 1:
            await journal.append(Signal.TRACES, TENANT, midnight_ns - 1, bad_request(f"{run}-bad"))
    loading = asyncio.create_task(loader.run())
    await loader.wait_loaded(journal.durable_end)
    await journal.aclose()
    await loading
    names = {Signal.TRACES: "name", Signal.LOGS: "body", Signal.METRICS: "attributes['name']"}
    found: dict[str, object] = {}
    for signal, name in names.items():
        rows = await engine.rows(f"SELECT {name} AS item, count() FROM {TABLES[signal]} GROUP BY item")
        found[signal.name] = {item.decode(): times for item, times in rows}
    found["quarantine"] = (await engine.rows("SELECT count() FROM quarantine"))[0][0]
    engine.close()
    return found


if __name__ == "__main__":
    fuse = Fuse(sys.argv[3], int(sys.argv[4])) if len(sys.argv) > 3 else Fuse()
    print(json.dumps(asyncio.run(load_everything(Path(sys.argv[1]), sys.argv[2], fuse))))
