"""Who is told of a commit."""

from collections.abc import Sequence
from typing import Protocol

from agent_tracer.server.ports.journal import Record


class CommitListener(Protocol):
    """Told of each commit, on the event loop, one listener after another.

    Whoever waits for the commit to be loaded goes on only after every listener was told: what a listener notes is there
    for a read that asks it for the latest. Must not raise, and must be quick: the loader waits for it
    LOAD_LISTENER_SECONDS at most, and those reads with it. What asks the store belongs in a task of the listener's own.
    """

    async def committed(self, records: Sequence[Record]) -> None:
        """These records are in the store now."""
        ...
