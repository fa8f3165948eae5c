"""Small drawings within a line of text, and the words beside them: intervals, curves, shares, verdicts, notes."""

import math
from collections.abc import Iterable, Sequence
from typing import Final

from rich.console import Console
from rich.text import Text

from agent_tracer.server.cli import text
from agent_tracer.server.cli.glyphs import STATUS_STYLES, VERDICT_STYLES, Glyphs

BAR_COLUMNS: Final = 24
CURVE_COLUMNS: Final = 32

_NOTE_COLUMNS_MIN: Final = 20


def interval_bar(
    marks: Glyphs,
    value: float,
    interval: tuple[float, float] | None,
    scale: tuple[float, float] = (0.0, 1.0),
    style: str = "cyan",
) -> Text:
    """The value as a point within its interval, on a scale; what lies outside is drawn at the scale's end.

    A zero within the scale is marked, other than at its ends. Empty where something has no place on a scale.
    """
    lower, upper = interval or (value, value)
    if not all(map(math.isfinite, (value, lower, upper, *scale))) or scale[0] >= scale[1]:
        return Text()
    low, high, at = (_place(each, scale) for each in (lower, upper, value))
    cells = [marks.idle] * BAR_COLUMNS
    if low < high:
        cells[low : high + 1] = [marks.ends[0], *marks.reach * (high - low - 1), marks.ends[1]]
    if scale[0] < 0 < scale[1]:
        cells[_place(0, scale)] = marks.zero
    cells[at] = marks.point
    bar = Text("".join(cells), style="dim")
    bar.stylize(f"not dim {style}", min(low, at), max(high, at) + 1)
    return bar


def _place(value: float, scale: tuple[float, float]) -> int:
    share = (value - scale[0]) / (scale[1] - scale[0])
    return round(min(1.0, max(0.0, share)) * (BAR_COLUMNS - 1))


def around_zero(*values: float) -> tuple[float, float]:
    """The smallest scale with 0 in its middle that holds the values."""
    most = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    return -most, most


def scale_title(low: str = "0", high: str = "1") -> str:
    """The ends of a bar's scale, above them."""
    return f"{low}{high:>{BAR_COLUMNS - len(low)}}"


def share_bar(marks: Glyphs, share: float, style: str = "cyan") -> Text:
    """A share of 1 as a filled bar."""
    if not math.isfinite(share):
        return Text()
    filled = round(min(1.0, max(0.0, share)) * BAR_COLUMNS)
    return Text(marks.bar * filled, style=style).append(marks.idle * (BAR_COLUMNS - filled), style="dim")


def curve(marks: Glyphs, values: Sequence[float | None], style: str = "cyan") -> Text:
    """Values over time as a sparkline from their least to their greatest; gaps where there is none. Empty without."""
    binned = [_mean(values[start:end]) for start, end in _bins(len(values))]
    known = [value for value in binned if value is not None]
    if not known:
        return Text()
    least, spread = min(known), max(known) - min(known)
    drawn = [" " if value is None else _level(marks, (value - least) / spread if spread else 0.5) for value in binned]
    return Text("".join(drawn), style=style)


def _bins(count: int) -> list[tuple[int, int]]:
    columns = min(count, CURVE_COLUMNS)
    return [(count * at // columns, count * (at + 1) // columns) for at in range(columns)]


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return math.fsum(known) / len(known) if known else None


def _level(marks: Glyphs, share: float) -> str:
    return marks.levels[round(share * (len(marks.levels) - 1))]


def verdict(marks: Glyphs, word: str) -> Text:
    """The API's word with a mark and a colour: `▲ better`, `? insufficient data`. Nothing for nothing."""
    if not word:
        return Text()
    mark = marks.verdicts.get(word, marks.idle)
    return Text(f"{mark} {text.plain(word.replace('_', ' '))}", style=VERDICT_STYLES.get(word, ""))


def status(marks: Glyphs, word: str) -> Text:
    """A trace's status with its mark and colour."""
    mark = marks.status.get(word, marks.idle)
    return Text(f"{mark} {text.plain(word) or text.NOTHING}", style=STATUS_STYLES.get(word, ""))


def print_notes(console: Console, mark: str, notes: Iterable[str], style: str = "") -> None:
    """Sentences below a table, one after the other, each behind the mark and as wide as the console."""
    indent = " " * (len(mark) + 1)
    room = max(_NOTE_COLUMNS_MIN, console.width - len(indent))
    for note in notes:
        for number, line in enumerate(Text(text.plain(note)).wrap(console, room)):
            line.rstrip()
            shown = Text(f"{mark} " if number == 0 else indent, style=style).append_text(line)
            console.print(shown, no_wrap=True, overflow="ignore", crop=False, style=style or None)


def print_caveats(console: Console, caveats: Sequence[str]) -> None:
    """What to know of the figures above."""
    if caveats:
        console.print()
        print_notes(console, "!", caveats, "yellow")
