"""Coverage as coverage.py tells it, in JSON or in XML; the XML of other tools in Cobertura's form is read as well."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from agent_tracer.client.buildkit.files import ReportError
from agent_tracer.client.buildkit.xml import read_xml

_PERCENT: Final = 100.0
_COUNT_MAX: Final = 2**53
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Coverage:
    """Lines and branches that there are, and those that were run."""

    lines: int
    lines_covered: int
    branches: int = 0
    branches_covered: int = 0

    def __add__(self, other: "Coverage") -> "Coverage":
        return Coverage(
            self.lines + other.lines,
            self.lines_covered + other.lines_covered,
            self.branches + other.branches,
            self.branches_covered + other.branches_covered,
        )

    @property
    def percent(self) -> float:
        """Of lines and branches together, which is what coverage.py reports as a file's coverage."""
        return _PERCENT * (self.lines_covered + self.branches_covered) / (self.lines + self.branches)

    @property
    def line_percent(self) -> float | None:
        """Of lines alone; absent where there are none."""
        return _PERCENT * self.lines_covered / self.lines if self.lines else None

    @property
    def branch_percent(self) -> float | None:
        """Of branches alone; absent where none were measured."""
        return _PERCENT * self.branches_covered / self.branches if self.branches else None


def read_coverage(data: bytes) -> Coverage:
    """The totals of a report. Raises ReportError: neither form, nothing measured, more covered than there is."""
    plain = data.removeprefix(_BOM).lstrip()
    found = _of_json(plain) if plain.startswith(b"{") else _of_xml(data)
    if found.lines + found.branches == 0:
        raise ReportError("measured no lines")
    if found.lines_covered > found.lines or found.branches_covered > found.branches:
        raise ReportError("says that more is covered than there is")
    return found


def _of_json(data: bytes) -> Coverage:
    try:
        totals = json.loads(data)["totals"]
        return Coverage(
            _count(totals["num_statements"]),
            _count(totals["covered_lines"]),
            _count(totals.get("num_branches", 0)),
            _count(totals.get("covered_branches", 0)),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ReportError("no JSON report of coverage.py (coverage json)") from error


def _of_xml(data: bytes) -> Coverage:
    roots: list[tuple[str, Mapping[str, str]]] = []

    def start(name: str, attributes: Mapping[str, str]) -> None:
        if not roots:
            roots.append((name, attributes))

    read_xml(data, start)
    name, root = roots[0]
    if name != "coverage":
        raise ReportError("no XML report of coverage.py (coverage xml)")
    try:
        return Coverage(
            _count(root["lines-valid"]),
            _count(root["lines-covered"]),
            _count(root.get("branches-valid", 0)),
            _count(root.get("branches-covered", 0)),
        )
    except (ValueError, KeyError) as error:
        raise ReportError("lines-valid and lines-covered are not told") from error


def _count(value: object) -> int:
    """A count, of JSON or of an attribute. Raises ValueError, TypeError."""
    if isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(value)
    if not isinstance(value, int | float | str):
        raise TypeError(value)
    count = int(value)
    if not 0 <= count <= _COUNT_MAX:
        raise ValueError(value)
    return count
