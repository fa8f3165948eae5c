"""Who is told of a commit."""

from collections.abc import Sequence
from typing import Protocol

from agent_tracer.server.ports.journal import Record


class CommitListener(Protocol):
    """Called on the event loop after a commit can be read. Must be quick and must not raise."""

    async def committed(self, records: Sequence[Record]) -> None:
        """These records are in the store now."""
        ...
