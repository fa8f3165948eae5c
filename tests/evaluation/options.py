"""How much is evaluated."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Options:
    """`folder` is where data directories are made. `seeds`: how often what is drawn at random is drawn."""

    folder: Path
    seeds: int = 1
