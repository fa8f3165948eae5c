"""Lists as tables that fit the terminal: ids stay whole, the least needed columns go first."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.text import Text

GAP: Final = 2
_CUT_COLUMNS_MIN: Final = 12


@dataclass(frozen=True, slots=True)
class Column:
    """`need` 0 is always shown; the highest goes first. `cut`: its text may be shortened."""

    title: str
    cells: Sequence[Text]
    right: bool = False
    cut: bool = False
    need: int = 0

    @property
    def width(self) -> int:
        """Terminal cells of the widest cell or the title."""
        return max([len(self.title), *(cell.cell_len for cell in self.cells)])


def print_table(console: Console, columns: Sequence[Column]) -> None:
    """One line a row under a line of titles; as wide as the console at most."""
    shown = [column for column in columns if any(column.cells)]
    while _least(shown) > console.width and any(column.need for column in shown):
        shown.remove(max(shown, key=lambda column: column.need))
    widths = _widths(shown, console.width)
    _line(console, [Text(column.title, style="dim") for column in shown], shown, widths)
    for row in range(len(shown[0].cells) if shown else 0):
        _line(console, [column.cells[row] for column in shown], shown, widths)


def _least(columns: Sequence[Column]) -> int:
    widths = (min(column.width, _CUT_COLUMNS_MIN) if column.cut else column.width for column in columns)
    return sum(widths) + GAP * (len(columns) - 1)


def _widths(columns: Sequence[Column], room: int) -> list[int]:
    """The columns that may be cut share what is missing, the widest giving first."""
    widths = [column.width for column in columns]
    cuttable = [i for i, column in enumerate(columns) if column.cut]
    while cuttable and sum(widths) + GAP * (len(widths) - 1) > room:
        widest = max(cuttable, key=lambda i: widths[i])
        if widths[widest] <= 1:
            break
        widths[widest] -= 1
    return widths


def _line(console: Console, cells: Sequence[Text], columns: Sequence[Column], widths: Sequence[int]) -> None:
    line = Text()
    for cell, column, width in zip(cells, columns, widths, strict=True):
        shown = cell.copy()
        shown.truncate(width, overflow="ellipsis")
        padding = " " * (width - shown.cell_len)
        line.append_text(Text(padding).append_text(shown) if column.right else shown.append(padding))
        line.append(" " * GAP)
    line.rstrip()
    console.print(line, no_wrap=True, overflow="ignore", crop=False)
