"""Jobs and their stages as spans: a job is a workflow, each of its stages a task of the agent whose work it is."""

import os
import time
import traceback
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from opentelemetry import context as contexts
from opentelemetry.trace import Span, Status, StatusCode, Tracer, get_current_span, set_span_in_context
from opentelemetry.util.types import AttributeValue

from agent_tracer.client._shared.identity import AGENT_ID, AGENT_VERSION, WORKFLOW_ID
from agent_tracer.client.buildkit import carrying
from agent_tracer.client.buildkit.ci import Pipeline, pipeline
from agent_tracer.client.buildkit.figures import Figures
from agent_tracer.client.buildkit.outcomes import Outcome, of_exception, of_exit_code
from agent_tracer.client.buildkit.running import Command
from agent_tracer.client.buildkit.sending import Ids, Sending, logger

_REVISION: Final = "vcs.ref.head.revision"
_TASK_TYPES: Final = frozenset({"build", "test", "deploy"})
"""Those that cicd.pipeline.task.type knows."""


class Stage:
    """One stage of a job. Its methods never raise: what cannot be read is warned of and left out."""

    def __init__(self, name: str, span: Span) -> None:
        self.name = name
        self.span = span
        self.outcome = Outcome()
        self.end_ns: int | None = None
        self.figures = Figures(time.time_ns())

    def run(self, command: Sequence[str], *, environment: Mapping[str, str] | None = None) -> int:
        """Run a command whose spans are to lie below the stage, its output untouched; its exit code is the stage's."""
        variables = carrying.child_environment(self.span, os.environ if environment is None else environment)
        return self.exit(Command(command).run(variables))

    def exit(self, code: int) -> int:
        """Say how the stage ended: 0 is success. The first failure stays. Returns the code."""
        if not self.outcome.is_failure:
            self.outcome = of_exit_code(code)
        return code

    def junit(self, path: str | Path) -> None:
        """Take the figures of JUnit XML, a file or a pattern, when the stage ends.

        A report that is older than the stage is not taken.
        """
        self.figures.junit.append(path)

    def coverage(self, path: str | Path) -> None:
        """Take the coverage of coverage.py's JSON or XML (or Cobertura's) in the same way."""
        self.figures.coverage.append(path)

    def record(self, name: str, value: AttributeValue) -> None:
        """A figure of your own, kept as the task's metadata."""
        self.span.set_attribute(f"metadata.{name}", value)

    def environment(self) -> dict[str, str]:
        """Variables for a process that you start yourself, such as TRACEPARENT."""
        return carrying.child_environment(self.span, os.environ)

    def _end(self) -> None:
        with told("the stage's figures"):
            self.figures.tell(self.span)
        with told("the stage's outcome"):
            self.span.set_attributes(self.outcome.attributes("cicd.pipeline.task.run.result"))
            self.outcome.tell(self.span)
        self.span.end(self.end_ns)


class Job:
    """A run of stages, in this process or in several. Made by `job`, or of a job that another process started."""

    def __init__(self, name: str, agent_id: str, agent_version: str, sending: Sending, found: Pipeline) -> None:
        self.name = name
        self.agent_id = agent_id
        self.agent_version = agent_version or found.attributes.get(_REVISION, "")
        self.sending = sending
        self.pipeline = found
        self.failed = False

    @property
    def tracer(self) -> Tracer:
        """Of the spans of jobs and stages."""
        return self.sending.tracer

    @contextmanager
    def stage(
        self,
        name: str,
        *,
        task_type: str = "",
        task_id: str = "",
        start_ns: int | None = None,
        within: contexts.Context | None = None,
    ) -> Iterator[Stage]:
        """A stage, from here to the end of the block: a task of the agent.

        Args:
            name: Of the stage, such as `test`; also its type where that is not given.
            task_type: What it can be compared with, such as `test`.
            task_id: The same for each try of the same stage; by default that of the pipeline's run, else a new one.
            start_ns: When it began, in nanoseconds since 1970, if not now.
            within: The span that it lies below, if not the current one.
        """
        attributes = self._of_stage(name, task_type or name, task_id)
        over = contexts.get_current() if within is None else within
        span = self.tracer.start_span(name, context=over, attributes=attributes, start_time=start_ns)
        stage = Stage(name, span)
        token = contexts.attach(set_span_in_context(span, over))
        try:
            yield stage
        except BaseException as error:
            stage.outcome = of_exception(error)
            _tell_exception(span, error)
            raise
        finally:
            self.failed = self.failed or stage.outcome.is_failure
            contexts.detach(token)
            stage._end()  # noqa: SLF001 - its own job

    def _of_stage(self, name: str, task_type: str, task_id: str) -> dict[str, str]:
        workflow = self.name or self.pipeline.attributes.get("cicd.pipeline.name", "")
        run = "/".join(filter(None, (self.pipeline.attributes.get("cicd.pipeline.run.id", ""), workflow, name)))
        attributes = {
            **self.pipeline.attributes,
            **self.of_agent(),
            "gen_ai.operation.name": "task",
            "task.id": task_id or (run if self.pipeline.run else uuid.uuid4().hex),
            "task.type": task_type,
            "cicd.pipeline.task.name": name,
            "cicd.pipeline.task.type": task_type if task_type in _TASK_TYPES else "",
            WORKFLOW_ID: workflow,
        }
        return {key: value for key, value in attributes.items() if value}

    def of_agent(self) -> dict[str, str]:
        """Who works."""
        named = {AGENT_ID: self.agent_id, AGENT_VERSION: self.agent_version}
        return {key: value for key, value in named.items() if value}

    def of_job(self) -> dict[str, str]:
        """What the job's own span says. No agent: a job is what agents work in, and no further task of theirs."""
        named = {"gen_ai.operation.name": "invoke_workflow", WORKFLOW_ID: self.name}
        return {**self.pipeline.attributes, **named}


@contextmanager
def job(name: str, *, agent_id: str, agent_version: str = "") -> Iterator[Job]:
    """A job, from here to the end of the block; then its spans are sent, for a few seconds at most.

    It is part of the trace of TRACEPARENT, else of the current span, else of that of the CI system's pipeline.

    Args:
        name: Of the job; the workflow that its stages are tasks of.
        agent_id: The agent whose work this is.
        agent_version: By default the revision that the CI system says it works on.
    """
    found = pipeline(os.environ)
    made = Job(name, agent_id, agent_version, Sending(Ids(found.trace_id)), found)
    span = made.tracer.start_span(name, context=_over(), attributes=made.of_job())
    token = contexts.attach(set_span_in_context(span))
    outcome = Outcome()
    try:
        yield made
    except BaseException as error:
        outcome = of_exception(error)
        _tell_exception(span, error)
        raise
    finally:
        contexts.detach(token)
        if made.failed and not outcome.is_failure:
            outcome = of_exit_code(1)
        end_job(span, outcome)
        made.sending.finish()


def end_job(span: Span, outcome: Outcome) -> None:
    """Say how a job ended, and end its span."""
    with told("the job's outcome"):
        span.set_attributes(outcome.attributes("cicd.pipeline.result"))
        outcome.tell(span)
    span.end()


def _over() -> contexts.Context:
    """TRACEPARENT's span, unless the program is within one of its own."""
    current = contexts.get_current()
    return current if get_current_span(current).get_span_context().is_valid else carrying.parent(os.environ)


def _tell_exception(span: Span, error: BaseException) -> None:
    if isinstance(error, SystemExit):
        return
    with told("an exception"):
        span.record_exception(error)
        text = traceback.format_exception_only(error)[-1].strip()
        span.set_status(Status(StatusCode.ERROR, text))


@contextmanager
def told(what: str) -> Iterator[None]:
    """Whatever goes wrong within is a warning."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - a build does not fail because of what is told about it
        logger.warning("%s is left out: %s", what, error)
