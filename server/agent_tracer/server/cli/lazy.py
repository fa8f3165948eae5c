"""Commands whose module is imported only when they are called."""

from importlib import import_module

import typer

HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}
_PASS_EVERYTHING_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


def add_lazy_command(group: typer.Typer, name: str, target: str, summary: str) -> None:
    """Add `target` (`module:function`, written for typer) as the command `name`.

    Its own help, options and errors are those of the function; `summary` stands in the list of commands.
    """

    def call(ctx: typer.Context) -> None:
        module, _, function = target.partition(":")
        app = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=HELP_OPTIONS)
        app.command()(getattr(import_module(module), function))
        code = app(ctx.args, prog_name=ctx.command_path, standalone_mode=False)
        raise typer.Exit(code if isinstance(code, int) else 0)

    group.command(name, help=summary, context_settings=_PASS_EVERYTHING_ON, add_help_option=False)(call)
