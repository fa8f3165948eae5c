"""Settings and limits."""

import ast
import inspect
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from agent_tracer.server import limits
from agent_tracer.server.config import describe
from scripts.pages.markdown import code, page, table

_EARLIEST_DATE_SECONDS: Final = 500_000_000
"""A number of seconds above this is a moment, not a duration."""

_UNUSED_SETTINGS: Final = ("store.cluster",)
"""Settings that are read and checked, and that nothing acts upon yet."""


def configuration() -> str:
    """Settings by section, from config.describe()."""
    parts = []
    for section in dict.fromkeys(row.key.partition(".")[0] for row in describe()):
        rows = [row for row in describe() if row.key.partition(".")[0] == section]
        cells = [(code(r.key), code(r.default), code(r.env), _meaning(r.key, r.description)) for r in rows]
        parts += [f"## {section}", table(("key", "default", "environment", "meaning"), cells)]
    intro = (
        "`agent-tracer start --config FILE` reads a YAML file; a variable of the environment goes before the file, a "
        "flag (`--data-dir`, `--log-level`) before both. In the file `${NAME}` stands for a variable of the "
        "environment and `${NAME:-default}` for one that may be unset. An unknown key, an unset variable without "
        "default or a value that does not fit is an error that names the key. `agent-tracer config check FILE` looks "
        "without starting anything, `agent-tracer config show` prints what comes out, secrets masked."
    )
    return page("Configuration", "server/agent_tracer/server/config.py", intro, *parts)


def _meaning(key: str, text: str) -> str:
    return f"{text} *No effect yet.*" if key.startswith(_UNUSED_SETTINGS) else text


def limit_reasons(source: str) -> Iterator[tuple[str, str]]:
    """Each constant of limits.py with the string below it; an empty one where there is none."""
    body = ast.parse(source).body
    for node, below in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            told = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
            yield node.target.id, str(below.value.value) if told else ""  # type: ignore[union-attr]


def readable(name: str, value: float) -> str:
    """A bound with its unit, as its name says."""
    if "BYTES" in name:
        for unit in ("GiB", "MiB", "KiB"):
            size = 1024 ** {"KiB": 1, "MiB": 2, "GiB": 3}[unit]
            if value >= size and value * 10 % size == 0:
                return f"{value / size:g} {unit}"
        return f"{value:,} bytes"
    if "_KIB_" in name:
        return f"{value} KiB"
    if "SECONDS" in name and value > _EARLIEST_DATE_SECONDS:
        return f"{datetime.fromtimestamp(value, UTC):%Y-%m-%d}"
    if "SECONDS" in name and "FACTOR" not in name:
        return f"{value:g} s"
    return f"{value:,}"


def limits_page() -> str:
    """Every bound with its reason, from limits.py."""
    reasons = dict(limit_reasons(inspect.getsource(limits)))
    rows = [(code(name), readable(name, getattr(limits, name)), reasons[name]) for name in sorted(reasons)]
    intro = "Every bound of the server and of its command line, and why it has that value."
    return page("Limits", "server/agent_tracer/server/limits.py", intro, table(("limit", "value", "reason"), rows))
