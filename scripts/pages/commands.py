"""The command line."""

from collections.abc import Iterator
from typing import Any, Final

from typer.main import get_command
from typer.testing import CliRunner

from agent_tracer.server.cli import root
from scripts.pages.markdown import page, table

_COLUMNS: Final = "100"


def commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:  # noqa: ANN401 - click's
    """Every command that does something: its words and its summary."""
    for name, below in sorted(getattr(command, "commands", {}).items()):
        is_group = bool(getattr(below, "commands", None))
        if is_group:
            yield from commands(below, (*path, name))
        if not is_group or below.invoke_without_command:
            yield (*path, name), " ".join((below.help or "").partition("\n\n")[0].split())


def cli() -> str:
    """The command line's own help, command by command."""
    app = root.build()
    runner = CliRunner(env={"COLUMNS": _COLUMNS})
    known = list(commands(get_command(app), ()))
    parts = []
    for words, _ in known:
        told = runner.invoke(app, [*words, "--help"], prog_name="agent-tracer").stdout.strip()
        parts += [f"## {' '.join(words)}", f"```text\n{told}\n```"]
    rows = [(f"[`agent-tracer {' '.join(words)}`](#{'-'.join(words)})", summary) for words, summary in known]
    exits = (
        (0, "done"), (1, "refused or failed; the text says why"), (2, "wrong usage"), (3, "the server was not reached"),
        (4, "`ace compare`: the candidate is worse, or mixed"), (5, "`ace compare`: too few tasks to tell"),
        (130, "interrupted"),
    )  # fmt: skip
    return page(
        "Command line",
        "server/agent_tracer/server/cli/",
        "`ace ...` is short for `agent-tracer ace ...`. Commands that talk to a server find it by `--endpoint`, or by "
        "`AGENT_TRACER_GRPC_URL` in the environment, or as the server that `AGENT_TRACER_URL` names for agents (host "
        "and usual ports mean its port 50051; another port is taken as it is), or on this machine. Output is for "
        "people on a terminal and plain text in a pipe; `--json` prints the API's JSON.",
        table(("command", ""), rows),
        table(("exit code", "meaning"), exits),
        *parts,
    )
