"""From the journal into the store."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from agent_tracer.server.domain.pricing import Rate
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.ports.journal import Position, Record


class RequestRefusedError(Exception):
    """The store cannot read these bytes; it will not, however often it is asked. The text says why, briefly."""


class StoreLoader(Protocol):
    """What the loader asks of the store. Raises StoreDownError where it does not answer."""

    async def insert(self, signal: Signal, records: Sequence[Record], token: str, *, again: bool = False) -> None:
        """Store requests of one signal, all of them or none; readable on return.

        The same records with the same token again change nothing, over restarts too, so that a retry after a
        crash is safe. `again` says that an earlier insert of them may have begun; then it is made sure that none
        of them is missing afterwards, which costs a query. Raises RequestRefusedError when at least one of them
        cannot be read, the same each time.
        """
        ...

    async def quarantine(self, record: Record, reason: str) -> None:
        """Keep a request that cannot be read, for a person to look at. Again for the same record: no second row."""
        ...

    async def add_rates(self, rates: Iterable[tuple[str, str, Sequence[Rate]]]) -> None:
        """Prices of (provider, model) from now on."""
        ...


class LoadIntent(Protocol):
    """Remembers the range that is being inserted, so that a restart inserts just that range again.

    A deduplication token holds for exactly the same bytes; after a crash more records may be there than before.
    """

    def planned_end(self) -> Position | None:
        """The end of the range planned last; None where none was. Cheap."""
        ...

    def plan(self, end: Position) -> None:
        """Durable on return. Raises OSError."""
        ...


class LoadProgress(Protocol):
    """Seen by reads that must not miss what was acknowledged before them."""

    def is_loaded(self, position: Position) -> bool:
        """Whether everything before `position` can be read from the store."""
        ...

    async def wait_loaded(self, position: Position) -> None:
        """Return once everything before `position` can be read from the store (at once where it can already).

        Every CommitListener was told of it by then.

        Asks the loader not to wait for its next turn. Raises StoreDownError when the loader cannot get there.
        """
        ...
