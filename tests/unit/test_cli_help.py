"""Every command tells how it is used, by either name of the option."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from agent_tracer.server.cli.root import build, build_ace

PROGRAMS = {"agent-tracer": build(), "ace": build_ace()}


def every(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """All groups and commands below a command, and itself."""
    yield path
    for name, below in getattr(command, "commands", {}).items():
        yield from every(below, (*path, name))


CALLS = [(program, words) for program, app in PROGRAMS.items() for words in every(get_command(app))]


def test_every_command_is_looked_at() -> None:
    told = {" ".join((program, *words)) for program, words in CALLS}
    assert told >= {
        "agent-tracer",
        "agent-tracer start",
        "agent-tracer ace start",
        "agent-tracer atlas start",
        "ace start",
    }


@pytest.mark.parametrize(("program", "words"), CALLS, ids=[" ".join((p, *w)) for p, w in CALLS])
def test_the_short_and_the_long_option_for_help_say_the_same(program: str, words: tuple[str, ...]) -> None:
    def told(option: str) -> str:
        result = CliRunner().invoke(PROGRAMS[program], [*words, option], prog_name=program)
        assert result.exit_code == 0, result.output
        return result.stdout

    short = told("-h")
    assert short.startswith(f"Usage: {' '.join((program, *words))} ")
    assert "-h, --help" in short
    assert told("--help") == short


def test_without_the_servers_packages_the_program_says_where_it_is_to_be_had() -> None:
    script = "import sys; sys.modules['typer'] = None; from agent_tracer.server.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert ".venv/bin/agent-tracer" in done.stderr
    assert "(missing: typer)" in done.stderr
