"""Refusals: what the server will not do, said in words that were written for the caller."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from agent_tracer.server.limits import FIELD_VIOLATIONS_MAX


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """A request's field, as the proto names it (`evaluation.score`), and what is wrong with it."""

    field: str
    description: str


class RefusedError(Exception):
    """Its text and `details` reach the caller as they stand, so they hold nothing the caller may not see."""

    def __init__(self, message: str, details: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.details: Mapping[str, str] = details or {}


class InvalidFieldsError(RefusedError):
    """Fields of the request are missing, malformed or out of range."""

    def __init__(self, violations: Sequence[FieldViolation]) -> None:
        self.violations = tuple(violations[:FIELD_VIOLATIONS_MAX])
        super().__init__("; ".join(f"{v.field} {v.description}" for v in self.violations))


def invalid(field_name: str, description: str) -> InvalidFieldsError:
    """One wrong field. The description goes on from the name: `page_size must be 0 or more`."""
    return InvalidFieldsError([FieldViolation(field_name, description)])


class NotFoundError(RefusedError):
    """Nothing is stored under the id, or not any more."""

    kind: ClassVar[str]

    def __init__(self, identifier: str) -> None:
        super().__init__(f"no {self.kind} {identifier!r} is stored", {f"{self.kind}_id": identifier})


class TraceNotFoundError(NotFoundError):
    """No span of the trace is stored."""

    kind = "trace"


class SpanNotFoundError(NotFoundError):
    """The trace is stored, the span is not."""

    kind = "span"


class AgentNotFoundError(NotFoundError):
    """No task of the agent is stored."""

    kind = "agent"


class WorkflowNotFoundError(NotFoundError):
    """No trace of the workflow is stored."""

    kind = "workflow"


class BenchmarkNotFoundError(NotFoundError):
    """No benchmark of that id is kept."""

    kind = "benchmark"


class IncidentNotFoundError(NotFoundError):
    """No incident of that id is kept."""

    kind = "incident"


class IdConflictError(RefusedError):
    """The id is in use for something with other content."""


class OverloadedError(RefusedError):
    """The server takes no more just now; nothing of the request was kept."""

    def __init__(self, message: str, retry_seconds: float) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds


class TooLargeError(RefusedError):
    """The request is larger than a limit, which the text names. Trying again does not help."""


class StoppingError(RefusedError):
    """The server ends the call because it is stopping; another one, or the next one, answers."""

    def __init__(self) -> None:
        super().__init__("the server is stopping; call again")


class NothingToScoreError(RefusedError):
    """The period holds nothing that a score, a rank or a comparison could stand on."""


@dataclass(slots=True)
class Violations:
    """Collects wrong fields, so that a caller hears of all of them at once."""

    found: list[FieldViolation] = field(default_factory=list)

    def add(self, field_name: str, description: str) -> None:
        """Note one wrong field."""
        self.found.append(FieldViolation(field_name, description))

    def merge(self, error: InvalidFieldsError) -> None:
        """Note the wrong fields of another check."""
        self.found.extend(error.violations)

    def raise_any(self) -> None:
        """Raises InvalidFieldsError where anything was added."""
        if self.found:
            raise InvalidFieldsError(self.found)
