"""Entry points `agent-tracer` and `ace`. Without the server's extra they say what to install."""

# Imports wait until a command needs them: `--help` must be quick.
# ruff: noqa: PLC0415

import sys
from typing import Final

_INSTALL: Final = (
    "agent-tracer's command line needs the server's packages: call .venv/bin/agent-tracer of the clone that "
    "`make run` is called in, or pip install '.[server]' in a clone of the repository"
)
_USAGE: Final = 2


def main() -> None:
    """`agent-tracer ...`. Ends the process: 0, 1 refused, 2 usage, 3 server not reached, 130 interrupted."""
    _run("agent-tracer", "build")


def ace() -> None:
    """`ace ...`, the same as `agent-tracer ace ...`."""
    _run("ace", "build_ace")


def _run(program: str, builder: str) -> None:
    try:
        from agent_tracer.server.cli import root

        getattr(root, builder)()(prog_name=program)
    except ModuleNotFoundError as error:
        # A missing module of our own is a fault, not a missing extra.
        if (error.name or "").startswith("agent_tracer."):
            raise
        sys.stderr.write(f"{_INSTALL} (missing: {error.name})\n")
        sys.exit(_USAGE)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
