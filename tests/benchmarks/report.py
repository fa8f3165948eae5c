"""Figures, and the table of them."""

import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

_UNKNOWN: Final = "-"


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure should reach: at most, or at least."""

    limit: float
    at_least: bool = False

    def is_met(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit

    def __str__(self) -> str:
        return f"{'>=' if self.at_least else '<='} {shown(self.limit)}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One value a round. `of` says whose it is where peers are measured too."""

    name: str
    unit: str
    values: Sequence[float]
    target: Target | None = None
    of: str = ""

    @property
    def median(self) -> float:
        return quantile(self.values, 0.5)

    @property
    def verdict(self) -> str:
        if self.target is None:
            return ""
        return "met" if self.target.is_met(self.median) else "MISSED"


@dataclass(slots=True)
class Report:
    """Collects figures, shows each as it comes, and all of them at the end."""

    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, unit: str, values: Sequence[float], target: Target | None = None, of: str = "") -> None:
        """Keep a figure; without values there is none."""
        if values:
            self.figures.append(Figure(name, unit, list(values), target, of))
            self.progress(f"{_row(self.figures[-1])}")

    def ratio(self, name: str, ours: Sequence[float], theirs: Sequence[float], target: Target | None = None) -> None:
        """Ours over theirs, round by round."""
        self.add(name, "x", [a / b for a, b in zip(ours, theirs, strict=False) if b], target)

    def note(self, text: str) -> None:
        """Say something that is no figure."""
        self.notes.append(text)
        self.progress(text)

    def progress(self, text: str) -> None:
        """Tell whoever waits."""
        sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
        sys.stderr.flush()

    def __str__(self) -> str:
        heads = (f"{'figure':58} {'unit':>8} {'min':>10} {'median':>10} {'max':>10} {'target':>10}",)
        return "\n".join((*heads, *map(_row, self.figures), *(f"note: {note}" for note in self.notes)))

    def save(self, path: Path) -> None:
        """The same as JSON."""
        figures = [asdict(f) | {"median": f.median, "verdict": f.verdict} for f in self.figures]
        path.write_text(json.dumps({"figures": figures, "notes": self.notes}, indent=1, default=str))


def _row(figure: Figure) -> str:
    name = f"{figure.of}: {figure.name}" if figure.of else figure.name
    spread = f"{shown(min(figure.values)):>10} {shown(figure.median):>10} {shown(max(figure.values)):>10}"
    target = str(figure.target) if figure.target else ""
    return f"{name:58} {figure.unit:>8} {spread} {target:>10} {figure.verdict}".rstrip()


def quantile(values: Sequence[float], q: float) -> float:
    """The q-quantile by linear interpolation; nan of nothing."""
    if not values:
        return math.nan
    ordered = sorted(values)
    at = q * (len(ordered) - 1)
    low, high = ordered[math.floor(at)], ordered[math.ceil(at)]
    return low + (high - low) * (at - math.floor(at))


def shown(value: float) -> str:
    """Three digits that count, thousands apart."""
    if math.isnan(value):
        return _UNKNOWN
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
