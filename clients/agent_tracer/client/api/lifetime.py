"""How long a connection is kept: over a `with` block, and closed at its end."""

import weakref
from types import TracebackType
from typing import Self

from agent_tracer.client.api.connection import Connection
from agent_tracer.client.api.portal import PORTAL

__all__ = ["AwaitedLifetime", "BlockingLifetime"]


class _Lifetime:
    """`owned` False: somebody else's connection, who closes it; `lasting`: kept outside of `with` blocks too."""

    def __init__(self, connection: Connection, *, owned: bool = True) -> None:
        self.connection = connection
        self._owned = owned
        self._lasting = connection.kept

    def _enter(self) -> None:
        self.connection.kept = True

    async def _close(self) -> None:
        if self._owned:
            self.connection.kept = self._lasting
            await self.connection.close()


class AwaitedLifetime(_Lifetime):
    """An asynchronous context manager."""

    async def close(self) -> None:
        """Close the connection; a later call opens another one."""
        await self._close()

    async def __aenter__(self) -> Self:
        self._enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._close()


class BlockingLifetime(_Lifetime):
    """A context manager; a connection that nobody closed is closed when it is collected."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        weakref.finalize(connection, PORTAL.soon, connection.channels.close)

    def close(self) -> None:
        """Close the connection; a later call opens another one."""
        PORTAL.run(self._close())

    def __enter__(self) -> Self:
        self._enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
