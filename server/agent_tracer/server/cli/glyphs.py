"""The characters and colours of output for people."""

from dataclasses import dataclass
from typing import Final

from rich.console import Console

STATUS_STYLES: Final = {"success": "green", "error": "bold red", "timeout": "bold yellow", "running": "cyan"}
VERDICT_STYLES: Final = {
    "better": "bold green",
    "improving": "bold green",
    "worse": "bold red",
    "regressing": "bold red",
    "mixed": "bold yellow",
    "insufficient_data": "yellow",
}


@dataclass(frozen=True, slots=True)
class Glyphs:
    """Characters of a tree; a second set stands in where the terminal has only ASCII."""

    branch: str
    corner: str
    line: str
    blank: str
    bar: str
    idle: str
    failed: str
    more: str
    arrow: str
    kinds: dict[str, str]
    status: dict[str, str]
    levels: str
    """Of a sparkline, the lowest first."""
    point: str
    reach: str
    ends: str
    """Left and right, of an interval."""
    zero: str
    verdicts: dict[str, str]


UNICODE: Final = Glyphs(
    branch="├─ ",
    corner="└─ ",
    line="│  ",
    blank="   ",
    bar="━",
    idle="·",
    failed="✗",
    more="…",
    arrow="→",
    kinds={
        "agent": "◆",
        "llm": "✦",
        "tool": "⚙",
        "retriever": "⌕",
        "embedding": "≡",
        "chain": "○",
        "task": "□",
    },
    status={"success": "✓", "error": "✗", "timeout": "✗", "running": "…"},
    levels="▁▂▃▄▅▆▇█",
    point="●",
    reach="─",
    ends="├┤",
    zero="┊",
    verdicts={
        "better": "▲",
        "improving": "▲",
        "worse": "▼",
        "regressing": "▼",
        "mixed": "◆",
        "no_difference": "=",
        "stable": "=",
        "insufficient_data": "?",
        "up": "↗",
        "down": "↘",
        "none": "→",
    },
)
ASCII: Final = Glyphs(
    branch="|- ",
    corner="`- ",
    line="|  ",
    blank="   ",
    bar="=",
    idle=".",
    failed="x",
    more="...",
    arrow="->",
    kinds={
        "agent": "A",
        "llm": "*",
        "tool": "#",
        "retriever": "?",
        "embedding": "=",
        "chain": "o",
        "task": "-",
    },
    status={"success": "+", "error": "x", "timeout": "x", "running": "."},
    levels="_.-~=+*#",
    point="o",
    reach="-",
    ends="[]",
    zero="|",
    verdicts={
        "better": "+",
        "improving": "+",
        "worse": "x",
        "regressing": "x",
        "mixed": "*",
        "no_difference": "=",
        "stable": "=",
        "insufficient_data": "?",
        "up": "/",
        "down": "\\",
        "none": "-",
    },
)
KIND_STYLES: Final = {
    "agent": "bold magenta",
    "llm": "cyan",
    "tool": "yellow",
    "retriever": "blue",
    "embedding": "blue",
    "chain": "green",
    "task": "green",
}


def glyphs(console: Console) -> Glyphs:
    """The characters that the console's encoding has."""
    return UNICODE if console.encoding.lower().startswith("utf") else ASCII
