"""Figures of reports as metadata of a task, under the names that scores are made of; failing tests as its events."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, Self, TypeVar

from opentelemetry.trace import Span

from agent_tracer.client.buildkit.coverage import Coverage, read_coverage
from agent_tracer.client.buildkit.files import ReportError, Version, matching, read_fresh
from agent_tracer.client.buildkit.junit import Failure, Tests, read_junit
from agent_tracer.client.buildkit.sending import logger

_DIGITS: Final = 4


class _Addable(Protocol):
    def __add__(self, other: Self) -> Self: ...


Report = TypeVar("Report", bound=_Addable)


@dataclass(slots=True)
class Figures:
    """Reports to be read: those written after `since_ns` (any where 0), and not as they were `before`."""

    since_ns: int
    before: Mapping[Path, Version] = field(default_factory=dict)
    junit: list[str | Path] = field(default_factory=list)
    coverage: list[str | Path] = field(default_factory=list)

    def tell(self, span: Span) -> None:
        """Read them and set attributes and events. What cannot be read is warned of and left out."""
        tests = self._read(self.junit, read_junit)
        if tests is not None:
            span.set_attributes(of_tests(tests))
            for failure in tests.failed:
                span.add_event("exception", of_failure(failure))
        coverage = self._read(self.coverage, read_coverage)
        if coverage is not None:
            span.set_attributes(of_coverage(coverage))

    def _read(self, patterns: Sequence[str | Path], read: Callable[[bytes], Report]) -> Report | None:
        """The sum over all files of the patterns; each file once."""
        total: Report | None = None
        for pattern in patterns:
            paths = matching(pattern)
            if not paths:
                logger.warning("%s: no such report", pattern)
            for path in dict.fromkeys(paths):
                try:
                    found = _told_with(path, read, read_fresh(path, self.since_ns, self.before))
                except ReportError as error:
                    logger.warning("%s", error)
                    continue
                total = found if total is None else total + found
        return total


def _told_with(path: Path, read: Callable[[bytes], Report], data: bytes) -> Report:
    try:
        return read(data)
    except ReportError as error:
        raise ReportError(f"{path}: {error}") from error


def of_tests(tests: Tests) -> dict[str, int | float]:
    """`tests_passed` of `tests_run` is what ACE reads."""
    return {
        "metadata.tests_run": tests.run,
        "metadata.tests_passed": tests.passed,
        "metadata.tests_failed": tests.failures,
        "metadata.tests_errors": tests.errors,
        "metadata.tests_skipped": tests.skipped,
        "metadata.tests_seconds": round(tests.seconds, _DIGITS),
    }


def of_coverage(coverage: Coverage) -> dict[str, float]:
    """Percent. `coverage` is what ACE reads."""
    found = {
        "metadata.coverage": coverage.percent,
        "metadata.coverage_lines": coverage.line_percent,
        "metadata.coverage_branches": coverage.branch_percent,
    }
    return {name: round(value, _DIGITS) for name, value in found.items() if value is not None}


def of_failure(failure: Failure) -> dict[str, str]:
    """A failing test as an exception event, with the conventions' names for tests."""
    found = {
        "exception.type": failure.type or failure.kind,
        "exception.message": failure.message,
        "test.suite.name": failure.suite,
        "test.case.name": failure.name,
        "test.case.result.status": "fail",
    }
    return {name: value for name, value in found.items() if value}
