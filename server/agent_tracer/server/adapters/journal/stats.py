"""What the journal tells about itself, for metrics, readiness and doctor."""

from dataclasses import dataclass
from enum import StrEnum

from agent_tracer.server.ports.journal import Position


class JournalState(StrEnum):
    """Whether requests are taken, and if not, why. As of the last group that was written or refused."""

    ACCEPTING = "accepting"
    BUDGET_FULL = "budget_full"
    """`journal.max_bytes` is used up by records that the required reader has not passed yet."""
    DISK_FAILING = "disk_failing"
    """The last write failed: the disk is full or faulty."""
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class ReaderStats:
    """One reader. Lag is in journal bytes; skipped is what the budget took from it, since the start."""

    name: str
    required: bool
    committed: Position
    lag_bytes: int
    skipped_records: int
    skipped_bytes: int


@dataclass(frozen=True, slots=True)
class JournalStats:
    """The journal at one moment. Counts are since the start of the process."""

    state: JournalState
    held_bytes: int
    bytes_max: int
    oldest: Position
    durable_end: Position
    queued_bytes: int
    appended_records: int
    appended_bytes: int
    refused_records: int
    sync_count: int
    sync_seconds: float
    damaged_ranges: int
    readers: tuple[ReaderStats, ...]
