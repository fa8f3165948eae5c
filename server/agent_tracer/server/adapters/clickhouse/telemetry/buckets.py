"""Buckets of a plan: as conditions and positions in SQL, and from found positions back to series."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import nan
from typing import Final, Self

from agent_tracer.server.domain.rca.view import Series
from agent_tracer.server.limits import RCA_BUCKETS_MAX, TELEMETRY_RUNS_MAX
from agent_tracer.server.ports.telemetry_window import SeriesPlan

HOUR_NS: Final = 3_600_000_000_000
_RUNS_FEW: Final = 2


@dataclass(frozen=True, slots=True)
class Run:
    """Contiguous buckets: start and end in Unix nanoseconds, and the position of the first."""

    start_ns: int
    end_ns: int
    position: int


@dataclass(frozen=True, slots=True)
class Buckets:
    """The buckets of both windows by time, each once, numbered from 0: their positions.

    Numbers stand in the SQL as such: they are this program's own integers.
    """

    width_ns: int
    starts_ns: Sequence[int]
    runs: Sequence[Run]
    before: Sequence[int]
    during: Sequence[int]

    @classmethod
    def of(cls, plan: SeriesPlan) -> Self:
        """Raises ValueError where widths or starts do not fit, or too much is asked for."""
        width = plan.during.width_ns
        starts = sorted({*plan.before.starts_ns, *plan.during.starts_ns})
        if width <= 0 or plan.before.width_ns != width or not plan.during.starts_ns:
            raise ValueError("both windows need buckets of one width, and the later one at least one")
        if any((start - starts[0]) % width for start in starts):
            raise ValueError("buckets must start at whole widths from each other")
        firsts = [at for at, start in enumerate(starts) if at == 0 or start - starts[at - 1] > width]
        if len(starts) > RCA_BUCKETS_MAX or len(firsts) > TELEMETRY_RUNS_MAX:
            raise ValueError(f"more than {RCA_BUCKETS_MAX} buckets, or {TELEMETRY_RUNS_MAX} separate stretches of them")
        ends = [*firsts[1:], len(starts)]
        runs = [Run(starts[first], starts[end - 1] + width, first) for first, end in zip(firsts, ends, strict=True)]
        place = {start: at for at, start in enumerate(starts)}
        before = [place[start] for start in plan.before.starts_ns]
        return cls(width, starts, runs, before, [place[start] for start in plan.during.starts_ns])

    def within(self, column: str, *, later_ns: int = 0) -> str:
        """The condition that a DateTime64 column lies in a bucket, or up to `later_ns` after a run of them."""
        ranges = (
            f"({column} >= {_time(run.start_ns)} AND {column} < {_time(run.end_ns + later_ns)})" for run in self.runs
        )
        return f"({' OR '.join(ranges)})"

    def within_hours(self, column: str, *, later_ns: int = 0) -> str:
        """`within`, for columns by whose hour a table is sorted."""
        hours = (
            f"(toStartOfHour({column}) >= {_hour(first)} AND toStartOfHour({column}) <= {_hour(last)})"
            for first, last in self._hours(later_ns)
        )
        return f"{self.within(column, later_ns=later_ns)} AND ({' OR '.join(hours)})"

    def _hours(self, later_ns: int) -> list[tuple[int, int]]:
        """First and last hour of each stretch of hours, counted from 1970: fewer than runs, and so planned faster."""
        found: list[tuple[int, int]] = []
        for run in self.runs:
            first, last = run.start_ns // HOUR_NS, (run.end_ns + later_ns - 1) // HOUR_NS
            if found and first <= found[-1][1] + 1:
                first, last = found[-1][0], max(last, found.pop()[1])
            found.append((first, last))
        return found

    def position(self, nanoseconds: str) -> str:
        """The position of a time, Unix nanoseconds as Int64, which is `within`."""
        if len(self.runs) > _RUNS_FEW:
            # A condition a run takes longer to plan than all else of a statement.
            first_ns = self.starts_ns[0]
            widths = ",".join(str((start - first_ns) // self.width_ns) for start in self.starts_ns)
            found = f"intDiv({nanoseconds} - {first_ns}, {self.width_ns})"
            return f"toUInt16(transform({found}, [{widths}], range({len(self.starts_ns)}), 0))"
        branches = [f"intDiv({nanoseconds} - {run.start_ns}, {self.width_ns}) + {run.position}" for run in self.runs]
        conditions = [
            f"{nanoseconds} < {run.end_ns}, {branch}" for run, branch in zip(self.runs, branches, strict=True)
        ]
        chosen = branches[0] if len(branches) == 1 else f"multiIf({', '.join(conditions[:-1])}, {branches[-1]})"
        return f"toUInt16({chosen})"

    def only(self, position: int) -> "Buckets":
        """Just one of the buckets, with no window."""
        start_ns = self.starts_ns[position]
        return Buckets(self.width_ns, (start_ns,), (Run(start_ns, start_ns + self.width_ns, 0),), (), (0,))

    def is_of(self, side: Sequence[int], position: str) -> str:
        """The condition that a position is one of a window's."""
        firsts = [at for at, place in enumerate(side) if at == 0 or place != side[at - 1] + 1]
        lasts = [at - 1 for at in (*firsts[1:], len(side))]
        if len(firsts) > _RUNS_FEW:
            return f"{position} IN ({', '.join(map(str, side))})"
        runs = (
            f"{position} BETWEEN {side[first]} AND {side[last]}" for first, last in zip(firsts, lasts, strict=False)
        )
        return f"({' OR '.join(runs) or 'false'})"

    def blank(self, observed: Iterable[int]) -> list[float]:
        """A value per position: 0 where something of the signal was observed, else NaN."""
        values = [nan] * len(self.starts_ns)
        for position in observed:
            values[position] = 0.0
        return values

    def series(self, blank: Sequence[float], positions: Iterable[int], values: Iterable[float]) -> Series:
        """The values at their positions, `blank` elsewhere; null is NaN."""
        filled = list(blank)
        for position, value in zip(positions, values, strict=True):
            filled[position] = nan if value is None else float(value)
        return Series([filled[at] for at in self.before], [filled[at] for at in self.during])


def _time(at_ns: int) -> str:
    return f"fromUnixTimestamp64Nano(toInt64({at_ns}), 'UTC')"


def _hour(hours: int) -> str:
    return f"toDateTime({hours * 3600}, 'UTC')"
