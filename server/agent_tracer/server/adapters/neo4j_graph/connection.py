"""The way to a Neo4j server: one driver, bounded transactions, its errors in words."""

import asyncio
import importlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import structlog

from agent_tracer.server.limits import GRAPH_CALL_SECONDS_MAX, GRAPH_CONNECT_SECONDS
from agent_tracer.server.ports.graph import GraphDownError, GraphRefusedError

if TYPE_CHECKING:
    from neo4j import AsyncDriver, AsyncTransaction

_log: Final = structlog.get_logger("graph")

_DOWN: Final = "the Neo4j server that correlation.neo4j.uri names does not answer"
_SLOW: Final = f"{_DOWN} within {GRAPH_CALL_SECONDS_MAX:.0f} s"
_NO_LOGIN: Final = "Neo4j refuses the login: see correlation.neo4j.user and correlation.neo4j.password"
_NO_RIGHT: Final = "Neo4j's user may not do it: give the user of correlation.neo4j.user rights to read, write and index"
_NO_DATABASE: Final = "Neo4j has no such database: see correlation.neo4j.uri"
_BAD_URI: Final = "Neo4j cannot be reached as correlation.neo4j.uri says: it names another kind of server or encryption"
_FAILED: Final = "Neo4j failed; the server's log has its error code"

_REFUSALS: Final = (
    ("Neo.ClientError.Security.Forbidden", _NO_RIGHT),
    ("Neo.ClientError.Security.", _NO_LOGIN),
    ("Neo.ClientError.Database.", _NO_DATABASE),
)
"""Error code, from its start -> what to tell."""


class Neo4jConnection:
    """Opened by the first call. Raises GraphDownError and GraphRefusedError alone."""

    def __init__(self, uri: str, user: str, password: str, database: str | None, schema: Sequence[str]) -> None:
        """`schema`: statements that may be repeated, run before anything else."""
        self._uri = uri
        self._login = (user, password)
        self._database = database
        self._schema = schema
        self._driver: AsyncDriver | None = None
        self._is_ready = False
        self._starting = asyncio.Lock()

    @asynccontextmanager
    async def transaction(self) -> "AsyncGenerator[AsyncTransaction, None]":
        """Committed at the end of the block, rolled back where it fails; GRAPH_CALL_SECONDS_MAX at most."""
        driver = await self._ready()
        in_time = asyncio.timeout(GRAPH_CALL_SECONDS_MAX)
        async with (
            self._told(),
            in_time,
            driver.session(database=self._database) as session,
            await session.begin_transaction(timeout=GRAPH_CALL_SECONDS_MAX) as transaction,
        ):
            yield transaction
            await transaction.commit()

    async def rows(self, statement: str, parameters: dict[str, Any]) -> list[list[Any]]:
        """Of one statement."""
        async with self.transaction() as transaction:
            return await (await transaction.run(statement, parameters)).values()

    async def aclose(self) -> None:
        """Never raises."""
        driver, self._driver = self._driver, None
        if driver is not None:
            with suppress(Exception):
                async with asyncio.timeout(GRAPH_CONNECT_SECONDS):
                    await driver.close()

    async def _ready(self) -> "AsyncDriver":
        async with self._starting:
            if self._driver is None:
                # Two seconds, which the event loop has better uses for.
                await asyncio.to_thread(importlib.import_module, "neo4j")
                async with self._told():
                    self._driver = self._open()
            if not self._is_ready:
                await self._make_schema(self._driver)
                self._is_ready = True
            return self._driver

    async def _make_schema(self, driver: "AsyncDriver") -> None:
        in_time = asyncio.timeout(GRAPH_CALL_SECONDS_MAX)
        async with self._told(), in_time, driver.session(database=self._database) as session:
            for statement in self._schema:
                await (await session.run(statement)).consume()

    def _open(self) -> "AsyncDriver":
        from neo4j import AsyncGraphDatabase, NotificationMinimumSeverity  # noqa: PLC0415 - takes two seconds

        return AsyncGraphDatabase.driver(
            self._uri,
            auth=self._login,
            connection_timeout=GRAPH_CONNECT_SECONDS,
            connection_acquisition_timeout=GRAPH_CALL_SECONDS_MAX,
            # Who calls knows better when to try again.
            max_transaction_retry_time=0,
            notifications_min_severity=NotificationMinimumSeverity.OFF,
            telemetry_disabled=True,
        )

    @asynccontextmanager
    async def _told(self) -> AsyncGenerator[None, None]:
        """The driver's errors as the port's; after one, the schema is looked after again."""
        from neo4j.exceptions import (  # noqa: PLC0415 - takes two seconds
            ConfigurationError,
            DriverError,
            Neo4jError,
        )

        try:
            yield
        except TimeoutError:
            self._is_ready = False
            raise GraphDownError(_SLOW) from None
        except Neo4jError as error:
            self._is_ready = False
            code = error.code or ""
            _log.warning("neo4j refused", code=code)
            refusal = next((text for start, text in _REFUSALS if code.startswith(start)), None)
            if refusal is not None:
                raise GraphRefusedError(refusal) from None
            raise GraphDownError(_FAILED) from None
        except (ConfigurationError, ValueError):
            raise GraphRefusedError(_BAD_URI) from None
        except (DriverError, OSError) as error:
            self._is_ready = False
            _log.info("neo4j is not reached", reason=type(error).__name__)
            raise GraphDownError(_DOWN) from None
