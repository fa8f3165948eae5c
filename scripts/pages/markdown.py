"""Small pieces of Markdown that the pages are made of."""

from collections.abc import Iterable, Sequence
from typing import Final

_MADE: Final = "<!-- Made by scripts/reference.py (`make gen`) from {source}. Edit that, not this page. -->"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; cells lose their line breaks, and their bars are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    cells = ([" ".join(str(cell).split()).replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def code(text: object) -> str:
    """Inline code; nothing for nothing."""
    return f"`{text}`" if text not in {"", None} else ""


def page(title: str, source: str, *parts: str) -> str:
    """A whole page, which says what it is made from."""
    return "\n\n".join((f"# {title}", _MADE.format(source=source), *parts)) + "\n"
