"""`agent-tracer-ci`: a command as a stage, figures without a command, and jobs over several processes.

Exit codes: `run` has its command's; the others end with 0 whatever becomes of the telemetry; 2 is wrong usage.
"""

import argparse
import logging
import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from agent_tracer.client.buildkit import carrying
from agent_tracer.client.buildkit.ci import pipeline
from agent_tracer.client.buildkit.figures import Figures
from agent_tracer.client.buildkit.files import versions
from agent_tracer.client.buildkit.job import Job, Stage, end_job
from agent_tracer.client.buildkit.options import command_line, split_command
from agent_tracer.client.buildkit.outcomes import of_exit_code
from agent_tracer.client.buildkit.running import Command
from agent_tracer.client.buildkit.sending import Ids, Sending

_JOB_NAMES: Final = ("cicd.pipeline.task.name", "cicd.pipeline.name")
_FORMS: Final[Mapping[str, Callable[[str, str], str]]] = {
    "sh": lambda name, value: f"export {name}={shlex.quote(value)}",
    "env": lambda name, value: f"{name}={value}",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; its exit code."""
    given, command = split_command(sys.argv[1:] if arguments is None else arguments)
    parser = command_line()
    options = parser.parse_args(given)
    _warn_on_stderr()
    actions = {"run": _run, "record": _record, "job start": _start_job, "job end": _end_job}
    if options.action == "run" and not command:
        parser.error("run: the command is missing; write it behind --")
    if options.action in ("run", "record") and not _agent(options):
        parser.error("--agent is missing; it is needed outside of a job")
    return actions[options.action](options, command)


def _run(options: argparse.Namespace, words: Sequence[str]) -> int:
    command = Command(words)
    try:
        _staged(options, lambda stage: _ran(stage, command), before=True)
    except Exception as error:  # noqa: BLE001 - whatever breaks here, the command's code is what counts
        _logger.warning("%s", error)
    return command.run(os.environ, forward_signals=True)


def _ran(stage: Stage, command: Command) -> None:
    stage.span.set_attribute("process.executable.name", os.path.basename(command.words[0]))  # noqa: PTH119 - a name
    stage.exit(command.run(stage.environment(), forward_signals=True))


def _record(options: argparse.Namespace, _command: Sequence[str]) -> int:
    def told(stage: Stage) -> None:
        stage.outcome = options.status

    try:
        _staged(options, told, before=False)
    except Exception as error:  # noqa: BLE001 - a build does not fail because of what is told about it
        _logger.warning("%s", error)
    return 0


def _staged(options: argparse.Namespace, work: Callable[[Stage], None], *, before: bool) -> None:
    """A stage around the work. `before`: only reports that the work writes are taken."""
    started, found = carrying.started_job(os.environ), pipeline(os.environ)
    sending = Sending(Ids(found.trace_id))
    version = options.agent_version or (started.agent_version if started else "")
    job = Job(options.workflow or (started.name if started else ""), _agent(options), version, sending, found)
    end_ns = None if before else time.time_ns()
    start_ns = None if end_ns is None else end_ns - round(options.duration * 1_000_000)
    within = carrying.parent(os.environ)
    try:
        with job.stage(
            options.stage, task_type=options.task_type, task_id=options.task_id, start_ns=start_ns, within=within
        ) as stage:
            stage.figures = Figures(
                since_ns=time.time_ns() if before else 0,
                before=versions(options.junit + options.coverage) if before else {},
                junit=options.junit,
                coverage=options.coverage,
            )
            stage.end_ns = end_ns
            for name, value in options.metadata:
                stage.record(name, value)
            work(stage)
    finally:
        sending.finish()


def _agent(options: argparse.Namespace) -> str:
    started = carrying.started_job(os.environ)
    return str(options.agent or (started.agent_id if started else ""))


def _start_job(options: argparse.Namespace, _command: Sequence[str]) -> int:
    try:
        found = pipeline(os.environ)
        name = options.name or next(filter(None, map(found.attributes.get, _JOB_NAMES)), "build")
        job = carrying.start_job(name, options.agent, options.agent_version, time.time_ns(), found.trace_id)
        write = _FORMS[options.format]
        print("\n".join(write(key, value) for key, value in job.variables().items()))  # noqa: T201 - for the shell
    except Exception as error:  # noqa: BLE001 - a build does not fail because of what is told about it
        _logger.warning("%s", error)
    return 0


def _end_job(options: argparse.Namespace, _command: Sequence[str]) -> int:
    started = carrying.started_job(os.environ)
    if started is None:
        _logger.warning("no job was started: %s holds none", carrying.JOB)
        return 0
    try:
        sending = Sending(started.ids)
        job = Job(started.name, started.agent_id, started.agent_version, sending, pipeline(os.environ))
        span = job.tracer.start_span(
            job.name, context=started.parent, attributes=job.of_job(), start_time=started.start_ns
        )
        end_job(span, options.status if options.exit_code is None else of_exit_code(options.exit_code))
        sending.finish()
    except Exception as error:  # noqa: BLE001 - a build does not fail because of what is told about it
        _logger.warning("%s", error)
    return 0


_logger: Final = logging.getLogger("agent_tracer.client")


def _warn_on_stderr() -> None:
    """One line each. The SDK's own words about the same, with tracebacks, are not for a build's log."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("agent-tracer-ci: %(message)s"))
    _logger.addHandler(handler)
    _logger.propagate = False
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
