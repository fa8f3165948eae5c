"""Writes journal records into the store: request bytes in, SQL out."""

import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import structlog
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from agent_tracer.server.adapters.clickhouse import otlp_format
from agent_tracer.server.adapters.clickhouse.engine import BYTES, Engine, error_code
from agent_tracer.server.domain.ids import DEFAULT_TENANT
from agent_tracer.server.domain.pricing import Rate
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.limits import LOAD_REPAIRS_MAX
from agent_tracer.server.ports.journal import Position, Record
from agent_tracer.server.ports.loading import RequestRefusedError

_log: Final = structlog.get_logger("store")

_INPUTS: Final = {
    Signal.TRACES: ("otlp_traces", otlp_format.TRACES_PROTO),
    Signal.LOGS: ("otlp_logs", otlp_format.LOGS_PROTO),
    Signal.METRICS: ("otlp_metrics", otlp_format.METRICS_PROTO),
}

_ROWS: Final = {Signal.TRACES: "spans", Signal.LOGS: "logs", Signal.METRICS: "metric_points"}
"""Where every item of a request has a row with the request's time of receipt."""

_FORMAT: Final = {
    "format_schema_message_name": "Envelope",
    # Which member of a oneof was set decides an attribute's type.
    "input_format_protobuf_oneof_presence": 1,
    # A commit is one block after another on one thread; the other core is the server's.
    "input_format_parallel_parsing": 0,
    "max_insert_threads": 1,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    # Duplicates go when parts are merged, and no read counts on that; looking for them here costs 6 us a span.
    "optimize_on_insert": 0,
    # The views are analysed anew at every insert. Optimising their plans and compiling their expressions costs three
    # times what it saves: 74 against 174 ms a commit.
    "query_plan_enable_optimizations": 0,
    "compile_expressions": 0,
}

_REFUSALS: Final = {
    6: "a number does not parse",
    27: "the bytes do not parse",
    33: "the bytes end too early",
    131: "a value is too large",
    436: "a number does not fit its field",
    444: "the bytes are no protobuf of this kind",
}
"""Engine errors that blame the input, by number."""

_TROUBLES: Final = frozenset(
    {
        *(0, 1000, 1001, 1002),  # no number at all, or one for whatever an outer library threw
        *(74, 75, 76, 77, 84, 107, 243, 481),  # files and folders; the disk is full
        *(159, 160, 202, 241, 394, 439),  # time, queries at once, memory, killed, threads
        *(209, 210, 236, 242, 252, 279, 999),  # network, shutting down, read-only, too many parts, Keeper
    }
)
"""Engine errors that blame the store, whatever it was given. At others, a request that is known to be good tells."""

_VARINT_MORE: Final = 0x80


class ClickHouseLoader:
    """ports.loading.StoreLoader on the engine's writer thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._settings: dict[Signal, dict[str, Any]] = {}

    async def insert(self, signal: Signal, records: Sequence[Record], token: str, *, again: bool = False) -> None:
        """See the port."""

        def work(client: Client) -> None:
            self._insert(client, signal, records, token)
            if again:
                self._complete(client, signal, records, token)

        await self._engine.write(work)

    def _insert(self, client: Client, signal: Signal, records: Sequence[Record], token: str) -> None:
        try:
            self._put(client, signal, records, token)
        except ClickHouseError as error:
            code = error_code(error)
            if code in _TROUBLES:
                raise
            reason = _REFUSALS.get(code)
            if reason is None:
                self._put(client, signal, [_nothing(signal)], f"{token}-probe")
                _log.error("a request fails in the store", code=code, name=getattr(error, "name", ""))
                reason = f"the store fails on it with error {code}"
            raise RequestRefusedError(reason) from None

    def _put(self, client: Client, signal: Signal, records: Sequence[Record], token: str) -> None:
        settings = {**self._settings_of(client, signal), "insert_deduplication_token": token}
        client.raw_insert(_INPUTS[signal][0], insert_block=delimited(records), fmt="Protobuf", settings=settings)

    def _settings_of(self, client: Client, signal: Signal) -> Mapping[str, Any]:
        if not self._settings:
            common = {**_FORMAT, **_analysis_settings(client)}
            self._settings = {
                kind: {**common, **_schema(schema, self._engine.schemas)} for kind, (_, schema) in _INPUTS.items()
            }
        return self._settings[signal]

    def _complete(self, client: Client, signal: Signal, records: Sequence[Record], token: str) -> None:
        """Insert what the engine wrongly takes for inserted.

        It writes a part's token to its log, then gives the part its name. A part that a crash caught in between is
        gone, but its token is known.
        """
        for repair in range(LOAD_REPAIRS_MAX):
            missing = _missing(client, signal, records)
            if not missing:
                return
            _log.warning("requests of a broken commit are stored anew", signal=signal.name, requests=len(missing))
            self._insert(client, signal, missing, f"{token}-repair-{repair}")

    async def quarantine(self, record: Record, reason: str) -> None:
        """See the port. Nobody else writes there, so that looking first is enough."""
        digest = hashlib.sha256(record.payload).hexdigest()

        def keep(client: Client) -> None:
            there = client.query(
                "SELECT count() FROM quarantine WHERE tenant = {tenant:String} "
                "AND toUnixTimestamp64Nano(received_at) = {received:Int64} "
                "AND lower(hex(SHA256(payload))) = {digest:String}",
                parameters={"tenant": record.tenant, "received": record.received_ns, "digest": digest},
            )
            if there.result_rows[0][0]:
                return
            client.insert(
                "quarantine",
                [(record.tenant, record.received_ns, int(record.signal), reason, record.payload)],
                column_names=("tenant", "received_at", "signal", "reason", "payload"),
                # Never a known one: the engine must not take it for one that a crash lost.
                settings={"insert_deduplication_token": f"quarantine-{record.start}-{time.time_ns()}"},
            )

        await self._engine.write(keep)

    async def add_rates(self, rates: Iterable[tuple[str, str, Sequence[Rate]]]) -> None:
        """See the port."""
        rows = [
            (
                provider,
                model,
                [
                    (
                        float(r.valid_from_seconds),
                        float(r.day_start_seconds),
                        float(r.day_end_seconds),
                        float(r.min_input_tokens),
                        r.input,
                        r.cache_read,
                        r.cache_write,
                        r.output,
                        r.reasoning,
                        r.per_request,
                    )
                    for r in listed
                ],
            )
            for provider, model, listed in rates
        ]

        columns = ("provider", "model", "rates")

        def keep(client: Client) -> None:
            # As text: the driver's own insert imports pandas, which would hold up the first commit for two seconds.
            lines = "\n".join(json.dumps(dict(zip(columns, row, strict=True))) for row in rows)
            client.raw_insert("model_rate_rows", column_names=columns, insert_block=lines, fmt="JSONEachRow")
            client.command("SYSTEM RELOAD DICTIONARY model_rates")

        await self._engine.write(keep)


def _analysis_settings(client: Client) -> dict[str, int]:
    """Every switch of the query optimiser, off."""
    names = client.query("SELECT name FROM system.settings WHERE name LIKE 'optimize%' AND value = '1'").result_rows
    return {str(name): 0 for (name,) in names}


def _schema(schema: str, folder: Path | None) -> dict[str, str]:
    """How the engine gets a schema. Given as a string, the embedded one would keep a copy in the working directory."""
    if folder is None:
        return {"format_schema_source": "string", "format_schema": schema}
    folder.mkdir(exist_ok=True)
    file = folder / f"{hashlib.sha256(schema.encode()).hexdigest()[:16]}.proto"
    if not file.exists() or file.read_text() != schema:
        file.write_text(schema)
    return {"format_schema_source": "file", "format_schema": str(file)}


def _nothing(signal: Signal) -> Record:
    """A request without items: it passes through the views and leaves no row."""
    return Record(Position(0), Position(0), signal, DEFAULT_TENANT, 0, b"")


def _missing(client: Client, signal: Signal, records: Sequence[Record]) -> Sequence[Record]:
    """Those without a row. A row of `traces` stands for many requests, so if it has none, all of them are missing."""
    there = _received(client, _ROWS[signal], records)
    if signal is Signal.TRACES and there and not _received(client, "traces", records):
        return records
    return [record for record in records if (record.tenant.encode(), record.received_ns) not in there]


def _received(client: Client, table: str, records: Sequence[Record]) -> frozenset[tuple[bytes, int]]:
    """The tenants and times of receipt that the table has rows of, among those of these records."""
    times = sorted({record.received_ns for record in records})
    found = client.query(
        f"SELECT DISTINCT tenant, toUnixTimestamp64Nano(received_at) AS received FROM {table} "
        "WHERE received_at BETWEEN fromUnixTimestamp64Nano({first:Int64}, 'UTC') "
        "AND fromUnixTimestamp64Nano({last:Int64}, 'UTC') AND has({times:Array(Int64)}, received) "
        "AND has({tenants:Array(String)}, tenant)",
        parameters={
            "first": times[0],
            "last": times[-1],
            "times": times,
            "tenants": sorted({record.tenant for record in records}),
        },
        query_formats=BYTES,
    )
    return frozenset((tenant, received) for tenant, received in found.result_rows)


def delimited(records: Iterable[Record]) -> bytes:
    """The requests as the engine's Protobuf format has them: envelopes, each after its length."""
    parts: list[bytes] = []
    for record in records:
        tenant = record.tenant.encode()
        head = _TENANT + varint(len(tenant)) + tenant + _RECEIVED + record.received_ns.to_bytes(8, "little")
        head += _REQUEST + varint(len(record.payload))
        parts += (varint(len(head) + len(record.payload)), head, record.payload)
    return b"".join(parts)


def varint(number: int) -> bytes:
    """Protobuf's base-128 encoding of an unsigned number."""
    out = bytearray()
    while number >= _VARINT_MORE:
        out.append(number & (_VARINT_MORE - 1) | _VARINT_MORE)
        number >>= 7
    out.append(number)
    return bytes(out)


_LENGTH_DELIMITED, _FIXED64 = 2, 1
_TENANT: Final = varint(otlp_format.TENANT_FIELD << 3 | _LENGTH_DELIMITED)
_RECEIVED: Final = varint(otlp_format.RECEIVED_FIELD << 3 | _FIXED64)
_REQUEST: Final = varint(otlp_format.REQUEST_FIELD << 3 | _LENGTH_DELIMITED)
