"""Brings a store to this version's tables and views."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import structlog
from clickhouse_connect.driver.client import Client

from agent_tracer.server.adapters.clickhouse import otlp_format, tables, views

_log: Final = structlog.get_logger("store")

_VERSIONS: Final = """
CREATE TABLE IF NOT EXISTS schema_versions (version UInt32, name String) ENGINE = MergeTree ORDER BY version
"""
_CURRENT_VIEWS: Final = """
SELECT name FROM schema_versions WHERE startsWith(name, 'views-') ORDER BY version DESC LIMIT 1
"""

INPUTS: Final = {
    "otlp_traces": otlp_format.SPAN_ITEM,
    "otlp_logs": otlp_format.LOG_ITEM,
    "otlp_metrics": otlp_format.METRIC_ITEM,
}
"""Null tables: what is inserted there is seen by the views alone."""

VIEWS: Final = {
    "spans_view": ("spans", views.SPANS),
    "traces_view": ("traces", views.TRACES),
    "logs_view": ("logs", views.LOGS),
    "logged_evaluations_view": ("evaluations", views.LOGGED_EVALUATIONS),
    "metric_points_view": ("metric_points", views.METRIC_POINTS),
}


@dataclass(frozen=True, slots=True)
class Retention:
    """Days that rows are kept, counted from their receipt."""

    raw_days: int = 30
    rollup_days: int = 395

    def by_table(self) -> Iterator[tuple[str, int]]:
        """Each table with its days."""
        yield from ((table, self.raw_days) for table in tables.RAW_TABLES)
        yield from ((table, self.rollup_days) for table in tables.ROLLUP_TABLES)


class StoreTooNewError(Exception):
    """The data directory was written by a later version of the server."""


def prepare(client: Client, retention: Retention | None = None) -> None:
    """Apply the migrations that are missing, make the views anew where they changed, set the retention.

    Forward only: raises StoreTooNewError for a store of a later version. Run before anything is loaded.
    """
    client.command(_VERSIONS)
    _migrate(client)
    _make_views(client)
    _set_retention(client, retention or Retention())


def _set_retention(client: Client, retention: Retention) -> None:
    """Counted from receipt, so that imported history stays as long as what came live."""
    found = client.query("SELECT name, create_table_query FROM system.tables WHERE database = currentDatabase()")
    current = {str(name): str(statement) for name, statement in found.result_rows}
    for table, days in retention.by_table():
        ttl = f"toDateTime(received_at) + toIntervalDay({days})"
        if f"TTL {ttl}" not in current[table]:
            client.command(f"ALTER TABLE {table} MODIFY TTL {ttl}", settings={"materialize_ttl_after_modify": 0})


def _migrate(client: Client) -> None:
    done = int(client.query("SELECT max(version) FROM schema_versions WHERE name = 'tables'").result_rows[0][0])
    if done > len(tables.MIGRATIONS):
        raise StoreTooNewError(
            f"the store has schema version {done}, this server knows {len(tables.MIGRATIONS)}: start a later release"
        )
    for version, statements in enumerate(tables.MIGRATIONS[done:], done + 1):
        for statement in statements:
            client.command(statement)
        _remember(client, version, "tables")
        _log.info("store migrated", version=version)


def _make_views(client: Client) -> None:
    """Views hold no data, so a changed one is dropped and made again, with the input tables under them."""
    text = repr((INPUTS, VIEWS))
    name = f"views-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    current = client.query(_CURRENT_VIEWS)
    if current.result_rows and current.result_rows[0][0] == name:
        return
    for view in VIEWS:
        client.command(f"DROP VIEW IF EXISTS {view}")
    for table, item in INPUTS.items():
        client.command(f"DROP TABLE IF EXISTS {table}")
        client.command(f"CREATE TABLE {table} ({otlp_format.request_columns(item)}) ENGINE = Null")
    for view, (target, select) in VIEWS.items():
        client.command(f"CREATE MATERIALIZED VIEW {view} TO {target} AS {select}")
    version = client.query("SELECT count() FROM schema_versions").result_rows[0][0]
    _remember(client, version + 1, name)


def _remember(client: Client, version: int, name: str) -> None:
    """By a statement: the driver's own insert imports pandas, which takes two seconds of a start."""
    client.command(
        "INSERT INTO schema_versions SELECT {version:UInt32}, {name:String}",
        parameters={"version": version, "name": name},
    )
