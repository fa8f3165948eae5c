"""The tree of commands, and the one place where errors become words and exit codes."""

# Imports wait until a command needs them: `--help` must be quick.
# ruff: noqa: PLC0415

from typing import Any, Final

import typer
from typer.core import TyperGroup

from agent_tracer.server.cli import (
    ace,
    atlas,
    config_command,
    correlate,
    demo,
    doctor,
    failures,
    graph,
    incidents,
    rca,
    traces,
    transfer,
)
from agent_tracer.server.cli.console import show, tolerate_encodings
from agent_tracer.server.cli.errors import CommandError
from agent_tracer.server.cli.lazy import HELP_OPTIONS, add_lazy_command
from agent_tracer.server.cli.text import plain

_SHARED: Final[dict[str, Any]] = {
    "no_args_is_help": True,
    # Tracebacks with local variables would print what was traced.
    "pretty_exceptions_enable": False,
    # Help drawn by rich takes twice as long to appear.
    "rich_markup_mode": None,
    "context_settings": HELP_OPTIONS,
}
_START_MODULE: Final = "agent_tracer.server.cli.start"
_EXIT_CODES: Final = "Exit codes: 0 done, 1 refused, 2 wrong usage, 3 the server was not reached."


class _Root(TyperGroup):
    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - the library's signature
        tolerate_encodings()
        try:
            return super().invoke(ctx)
        except CommandError as error:
            show(f"Error: {_with_code(error)}", "bold red", stderr=True)
            for hint in error.hints:
                show(f"  {plain(hint)}", stderr=True)
            raise typer.Exit(error.exit_code) from None


def _with_code(error: CommandError) -> str:
    code = getattr(error, "code", "")
    return plain(f"{code}: {error}" if code else str(error))


def _group(name: str, summary: str) -> typer.Typer:
    return typer.Typer(name=name, help=summary, add_completion=False, **_SHARED)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("agent-tracer"))
        raise typer.Exit


def _callback(
    _version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Observability for AI agents."""


def build() -> typer.Typer:
    """All commands."""
    app = typer.Typer(cls=_Root, **_SHARED)
    app.callback()(_callback)
    add_lazy_command(app, "start", f"{_START_MODULE}:start", "Start the server.")
    app.command("demo")(demo.demo)
    app.command("doctor")(doctor.doctor)
    app.command("correlate")(correlate.correlate)
    app.command("graph")(graph.graph)
    app.command("rca")(rca.rca)
    app.add_typer(_traces())
    app.add_typer(_agents())
    app.add_typer(_config())
    app.add_typer(_ace())
    app.add_typer(_atlas())
    app.add_typer(_failures())
    app.add_typer(_incidents())
    return app


def build_ace() -> typer.Typer:
    """The commands of `ace`."""
    app = _ace()
    app.info.cls = _Root
    return app


def _traces() -> typer.Typer:
    group = _group("traces", "Stored traces: find, read, follow, move.")
    group.command("list")(traces.list_traces)
    group.command("get")(traces.get)
    group.command("tail")(traces.tail)
    group.command("aggregate")(traces.aggregate)
    group.command("import")(transfer.import_files)
    group.command("export")(transfer.export)
    group.command("delete")(traces.delete)
    return group


def _agents() -> typer.Typer:
    group = _group("agents", "The agents that sent traces.")
    group.callback()(_no_op)
    group.command("list")(traces.list_agents)
    return group


def _config() -> typer.Typer:
    group = _group("config", "The server's configuration.")
    group.command("check")(config_command.check)
    group.command("show")(config_command.show_settings)
    return group


def _ace() -> typer.Typer:
    group = _listener("ace", "Scores and benchmarks of agents, comparisons of their versions.", "4 and 5: see compare.")
    group.command("score")(ace.score)
    group.command("scores")(ace.list_scores)
    group.command("benchmark")(ace.benchmark)
    group.command("benchmarks")(ace.list_benchmarks)
    group.command("compare")(ace.compare)
    return group


def _atlas() -> typer.Typer:
    group = _listener("atlas", "Learning and workflow analytics.")
    group.command("analyze")(atlas.analyze)
    group.command("optimize")(atlas.optimize)
    group.command("critical-path")(atlas.critical_path)
    group.command("similar")(atlas.similar)
    return group


def _incidents() -> typer.Typer:
    group = _group("incidents", "Incidents: what was noticed, where, since when.")
    group.command("list")(incidents.list_incidents)
    group.command("get")(incidents.get)
    group.command("create")(incidents.create)
    group.command("resolve")(incidents.resolve)
    return group


def _failures() -> typer.Typer:
    group = typer.Typer(
        name="failures",
        add_completion=False,
        invoke_without_command=True,
        **{**_SHARED, "no_args_is_help": False},
    )
    group.callback()(failures.list_groups)
    group.command("attribute")(failures.attribute)
    return group


def _listener(name: str, summary: str, codes: str = "") -> typer.Typer:
    group = _group(name, f"{summary}\n\n{_EXIT_CODES} {codes}".rstrip())
    group.callback()(_no_op)
    add_lazy_command(
        group, "start", f"{_START_MODULE}:{name}_start", f"Start the server with the {name.upper()} listener."
    )
    return group


def _no_op() -> None:
    """A callback keeps a group of one command a group."""
