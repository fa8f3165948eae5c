"""Where output goes: rich on a terminal, plain lines elsewhere, JSON for programs."""

# Imports wait until a command needs them: `--help` must be quick.
# ruff: noqa: PLC0415

import os
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from rich.console import Console
    from rich.text import Text

UNLIMITED_COLUMNS: Final = 10_000
"""The width of output that is not a terminal: nothing is cut that a program might look for."""

_COLUMNS_MIN: Final = 40


def console(*, stderr: bool = False) -> "Console":
    """A console that takes text as it is: no markup, no emoji codes, no highlighting.

    Colours only on a terminal, and not where NO_COLOR is set.
    """
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    limited = stream.isatty() or "COLUMNS" in os.environ
    made = Console(
        file=stream,
        markup=False,
        emoji=False,
        highlight=False,
        width=None if limited else UNLIMITED_COLUMNS,
    )
    made.width = max(made.width, _COLUMNS_MIN)
    return made


def tolerate_encodings() -> None:
    """Write characters that stdout or stderr cannot encode as escapes instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def show(line: "str | Text", style: str = "", *, stderr: bool = False) -> None:
    """One line or paragraph for people."""
    console(stderr=stderr).print(line, style=style or None, soft_wrap=True)


def show_json(message: "Message", *, line: bool = False) -> None:
    """The message as the REST API prints it: camelCase, zero values included; `line` puts it on one.

    Characters beyond ASCII are escaped: the same JSON, and safe on any terminal.
    """
    from google.protobuf import json_format

    text = json_format.MessageToJson(message, indent=None if line else 2, always_print_fields_with_no_presence=True)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
