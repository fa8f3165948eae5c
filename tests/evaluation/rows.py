"""What evaluations find: rows beside their targets."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from agent_tracer.server.domain.statistics.intervals import wilson

HEADS: Final = ("evaluation", "measured", "target", "reached", "n", "seconds")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `reached` None: there is no target, the figure is told for comparison. `n`: how many it is over."""

    name: str
    measured: str
    target: str = ""
    reached: bool | None = None
    n: int = 0
    seconds: float = 0.0

    def took(self, seconds: float) -> "Row":
        return replace(self, seconds=seconds)


def share(name: str, count: int, n: int, *, least: float | None = None, most: float | None = None) -> Row:
    """`count` of n beside the bounds that the share must lie in, with what chance alone may have made of it."""
    value, interval = float(count / n), wilson(count, n)
    bounds = ([] if least is None else [f">= {least:.0%}"]) + ([] if most is None else [f"<= {most:.0%}"])
    reached = (least is None or value >= least) and (most is None or value <= most) if bounds else None
    return Row(name, f"{value:.1%} ({interval.lower:.1%} to {interval.upper:.1%})", ", ".join(bounds), reached, n)


def at_least(name: str, value: float, least: float, n: int) -> Row:
    """A figure that may not be lower."""
    return Row(name, f"{value:.3f}", f">= {least:g}", value >= least, n)


def equal(name: str, value: object, wanted: object, n: int) -> Row:
    """What must be just as given, as text."""
    return Row(name, str(value), str(wanted), str(value) == str(wanted), n)


def table(rows: Iterable[Row]) -> str:
    """Markdown."""
    return "\n".join((_line(HEADS), _line(["---"] * len(HEADS)), *(_line(_cells(row)) for row in rows)))


def _cells(row: Row) -> Sequence[str]:
    reached = {True: "yes", False: "NO", None: ""}[row.reached]
    return row.name, row.measured, row.target, reached, f"{row.n:,}" if row.n else "", f"{row.seconds:.1f}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def save(rows: Iterable[Row], path: Path) -> None:
    """The same as JSON."""
    path.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
