"""What the settler asks of the store: to make tasks, calls and units out of the traces that commits touched."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ReceivedRange:
    """Spans by the time of their receipt, start_ns <= t <= end_ns, in UTC nanoseconds."""

    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class Settled:
    """Everything received up to `end_ns` is settled, the last of it at `last_received_ns` (None: there was nothing).

    `spans` is about how many were read for that.
    """

    end_ns: int
    last_received_ns: int | None
    spans: int


class TraceSettler(Protocol):
    """Derives rows from whole traces. Raises StoreDownError where the store does not answer."""

    async def settle(self, received: ReceivedRange) -> Settled:
        """Settle every trace of which spans in the range are stored, from the start of the range on.

        Bounded: may end before the range does. Readable on return. Doing it again, for any range, after any
        crash, changes nothing: a trace's rows are replaced by what all of its stored spans say now. One call
        at a time.
        """
        ...

    async def settled_to(self) -> int | None:
        """What `advance` wrote last, over restarts; None before the first time."""
        ...

    async def advance(self, received_ns: int) -> None:
        """Remember that a restart need not settle what was received before. Durable on return."""
        ...

    async def roll(self, now_ns: int) -> int:
        """Sum up some of the hours that have been quiet, for long-range reads.

        Returns of how many it is decided whether to. With 0, no more can be done before some time has passed.
        """
        ...
