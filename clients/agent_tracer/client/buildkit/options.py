"""The options of `agent-tracer-ci`."""

import argparse
import math
from collections.abc import Sequence

from agent_tracer.client.buildkit.outcomes import Outcome, of_status


def split_command(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Our own arguments, and the command behind the first `--`."""
    given = list(arguments)
    if "--" not in given:
        return given, []
    at = given.index("--")
    return given[:at], given[at + 1 :]


def command_line() -> argparse.ArgumentParser:
    """`run`, `record`, `job start`, `job end`; which one is told as `action`."""
    parser = argparse.ArgumentParser(
        prog="agent-tracer-ci", description="Agent builds and CI steps as tasks in Agent Tracer.", allow_abbrev=False
    )
    actions = parser.add_subparsers(required=True, metavar="COMMAND")
    run = actions.add_parser(
        "run",
        help="run a command as a stage; ends with the command's exit code",
        usage="agent-tracer-ci run [options] -- COMMAND [ARGUMENT ...]",
        allow_abbrev=False,
    )
    run.set_defaults(action="run")
    _stage_options(run)
    record = actions.add_parser("record", help="a stage that ran already, or elsewhere", allow_abbrev=False)
    record.set_defaults(action="record")
    _stage_options(record)
    record.add_argument(
        "--status", type=_status, default=Outcome(), help="success (the default), failure, timeout, ..."
    )
    record.add_argument("--duration", type=_milliseconds, default=0.0, metavar="MS", help="milliseconds that it took")
    _job_options(actions.add_parser("job", help="one trace over stages of several processes", allow_abbrev=False))
    return parser


def _stage_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--agent", default="", metavar="ID", help="whose work it is; by default the job's")
    parser.add_argument("--agent-version", default="", metavar="VERSION", help="by default the revision built")
    parser.add_argument("--stage", required=True, metavar="NAME", help="such as test")
    parser.add_argument("--task-type", default="", metavar="TYPE", help="what it is compared with; by default NAME")
    parser.add_argument("--task-id", default="", metavar="ID", help="the same for each try of the same stage")
    parser.add_argument("--workflow", default="", metavar="NAME", help="by default the job's, else the pipeline's name")
    parser.add_argument("--junit", action="append", default=[], metavar="FILE", help="JUnit XML; a pattern will do")
    parser.add_argument(
        "--coverage", action="append", default=[], metavar="FILE", help="coverage.py's JSON or XML, or Cobertura's"
    )
    parser.add_argument(
        "--metadata", action="append", default=[], type=_pair, metavar="NAME=VALUE", help="a figure of your own"
    )


def _job_options(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, metavar="COMMAND")
    start = actions.add_parser(
        "start", help="print the variables that make later stages part of it", allow_abbrev=False
    )
    start.set_defaults(action="job start")
    start.add_argument("--agent", default="", metavar="ID", help="whose work its stages are")
    start.add_argument("--agent-version", default="", metavar="VERSION", help="by default the revision built")
    start.add_argument("--name", default="", help="by default the CI system's name of the job, else build")
    start.add_argument(
        "--format", choices=("sh", "env"), default="sh", help="sh: for eval; env: NAME=VALUE, such as for GITHUB_ENV"
    )
    end = actions.add_parser("end", help="send the job's own span", allow_abbrev=False)
    end.set_defaults(action="job end")
    end.add_argument("--exit-code", type=int, metavar="CODE")
    end.add_argument("--status", type=_status, default=Outcome(), help="success (the default), failure, cancelled, ...")


def _status(text: str) -> Outcome:
    try:
        return of_status(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _milliseconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of milliseconds")
    return value


def _pair(text: str) -> tuple[str, str | float | int]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r}: write NAME=VALUE")
    for kind in (int, float):
        try:
            number = kind(value)
        except ValueError:
            continue
        if math.isfinite(number) and abs(number) < 2**63:
            return name, number
    return name, value
