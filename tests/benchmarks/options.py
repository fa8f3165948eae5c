"""How much is measured."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Options:
    """Sizes of the loads; `folder` is where data directories are made (a disk, not a tmpfs)."""

    folder: Path
    rounds: int = 3
    spans: int = 200_000
    """Spans of one ingest round."""
    read_spans: int = 1_000_000
    """Spans in the store that is read."""
    read_calls: int = 30
    """Calls of each query a round."""
    seconds: float = 20.0
    """Length of the loads at a rate."""
    rate: float = 0.0
    """Spans a second taken for the highest rate; 0: measured first."""
    peers: tuple[str, ...] = ("jaeger", "phoenix")
    threads: bool = False
    """Whether the CPU of each of the server's threads is noted."""
