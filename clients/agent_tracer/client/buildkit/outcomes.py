"""How stages and jobs end: exit codes, signals and exceptions in the words of the CI/CD conventions.

Sources: OpenTelemetry, cicd.pipeline.result and cicd.pipeline.task.run.result; coreutils, exit status of `timeout`.
"""

import signal
from dataclasses import dataclass
from typing import Final

from opentelemetry.trace import Span, Status, StatusCode

from agent_tracer.client.buildkit.running import NOT_FOUND, NOT_RUNNABLE, SIGNAL_BASE

_TIMED_OUT: Final = 124
_CANCELLING: Final = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})


@dataclass(frozen=True, slots=True)
class Outcome:
    """`result` is of the conventions: success, failure, error, timeout, cancellation."""

    result: str = "success"
    exit_code: int | None = None
    error_type: str = ""

    @property
    def is_failure(self) -> bool:
        """Anything but success."""
        return self.result != "success"

    def attributes(self, result_name: str) -> dict[str, str | int]:
        """Of the span that ended so; `result_name` is the attribute that the result goes by there."""
        found: dict[str, str | int] = {result_name: self.result}
        if self.exit_code is not None:
            found["process.exit.code"] = self.exit_code
        if self.error_type:
            found["error.type"] = self.error_type
        return found

    def tell(self, span: Span) -> None:
        """The span's status; one that says more already stays."""
        if self.is_failure and not _is_error(span):
            code = "" if self.exit_code is None else f": exit code {self.exit_code}"
            span.set_status(Status(StatusCode.ERROR, f"{self.result}{code}"))


def _is_error(span: Span) -> bool:
    status = getattr(span, "status", None)
    return isinstance(status, Status) and status.status_code is StatusCode.ERROR


def of_exit_code(code: int) -> Outcome:
    """Of a command, as a shell tells its end."""
    if code == 0:
        return Outcome(exit_code=0)
    if code == _TIMED_OUT:
        return Outcome("timeout", code, "timeout")
    if code in (NOT_FOUND, NOT_RUNNABLE):
        return Outcome("error", code, str(code))
    try:
        ended_by = signal.Signals(code - SIGNAL_BASE)
    except ValueError:
        return Outcome("failure", code, str(code))
    return Outcome("cancellation" if ended_by in _CANCELLING else "failure", code, ended_by.name)


def of_status(status: str) -> Outcome:
    """Of a word: those of the conventions, of our own API and of CI systems. Raises ValueError for others."""
    word = _WORDS.get(status.strip().lower())
    if word is None:
        raise ValueError(f"{status!r} is none of {', '.join(_WORDS)}")
    return Outcome(word, error_type="" if word == "success" else word)


def of_exception(error: BaseException) -> Outcome:
    """Of a block of a program that did not come to its end."""
    if isinstance(error, SystemExit):
        code = error.code
        return of_exit_code(code if isinstance(code, int) else int(code is not None))
    name = type(error).__qualname__
    if isinstance(error, TimeoutError):
        return Outcome("timeout", error_type="timeout")
    return Outcome("cancellation" if isinstance(error, KeyboardInterrupt) else "failure", error_type=name)


_WORDS: Final = {
    "success": "success",
    "passed": "success",
    "error": "error",
    "failure": "failure",
    "failed": "failure",
    "timeout": "timeout",
    "cancelled": "cancellation",
    "canceled": "cancellation",
    "cancellation": "cancellation",
}
