"""JUnit XML as test runners write it: pytest, Surefire, Gradle, Jest, gotestsum, cargo-nextest, ctest."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from agent_tracer.client.buildkit.xml import read_xml

FAILURES_TOLD_MAX: Final = 50
"""Failing tests told one by one: beyond that it is the figure that matters. OpenTelemetry keeps 128 events a span."""
NAME_LENGTH_MAX: Final = 500
MESSAGE_LENGTH_MAX: Final = 1_000
"""An assertion's first lines; whole outputs stay in the report."""

_OUTCOMES: Final[Mapping[str, str]] = {"failure": "failure", "error": "error", "skipped": "skipped"}
"""Children of a test case that say how it ended. Surefire's flakyFailure is of one that passed in the end."""
_RANKS: Final = ("", "skipped", "failure", "error")


@dataclass(frozen=True, slots=True)
class Failure:
    """A test that did not pass: `failure` where an assertion did not hold, `error` where something else broke."""

    suite: str
    name: str
    kind: str
    type: str
    message: str


@dataclass(frozen=True, slots=True)
class Tests:
    """Figures of test cases. `run` leaves out skipped ones; `seconds` is the sum of the cases' times."""

    run: int = 0
    passed: int = 0
    failures: int = 0
    errors: int = 0
    skipped: int = 0
    seconds: float = 0.0
    failed: tuple[Failure, ...] = ()

    def __add__(self, other: "Tests") -> "Tests":
        return Tests(
            run=self.run + other.run,
            passed=self.passed + other.passed,
            failures=self.failures + other.failures,
            errors=self.errors + other.errors,
            skipped=self.skipped + other.skipped,
            seconds=self.seconds + other.seconds,
            failed=(self.failed + other.failed)[:FAILURES_TOLD_MAX],
        )


@dataclass(slots=True)
class _Case:
    suite: str
    name: str
    outcome: str = ""
    type: str = ""
    message: str = ""
    text: list[str] = field(default_factory=list)
    open: str = ""


@dataclass(slots=True)
class _Reading:
    suites: list[str] = field(default_factory=list)
    case: _Case | None = None
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_RANKS, 0))
    seconds: float = 0.0
    failed: list[Failure] = field(default_factory=list)
    told: Mapping[str, str] = field(default_factory=dict)

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if name in ("testsuite", "testsuites"):
            self.told = self.told or (attributes if "tests" in attributes else {})
            self.suites.append(attributes.get("name", ""))
        elif name == "testcase":
            suite = attributes.get("classname") or (self.suites[-1] if self.suites else "")
            self.case = _Case(suite, attributes.get("name", ""))
            self.seconds += _seconds(attributes.get("time", ""))
        elif self.case is not None and name in _OUTCOMES:
            self.case.open = name
            if _RANKS.index(_OUTCOMES[name]) > _RANKS.index(self.case.outcome):
                self.case.outcome = _OUTCOMES[name]
                self.case.type, self.case.message = attributes.get("type", ""), attributes.get("message", "")
                self.case.text = []

    def text(self, text: str) -> None:
        if self.case is not None and self.case.open and len(self.case.text) < MESSAGE_LENGTH_MAX:
            self.case.text.append(text[:MESSAGE_LENGTH_MAX])

    def end(self, name: str) -> None:
        if name in ("testsuite", "testsuites") and self.suites:
            self.suites.pop()
        elif self.case is not None and name in _OUTCOMES:
            self.case.open = ""
        elif self.case is not None and name == "testcase":
            self._count(self.case)
            self.case = None

    def _count(self, case: _Case) -> None:
        self.counts[case.outcome] += 1
        if case.outcome in ("failure", "error") and len(self.failed) < FAILURES_TOLD_MAX:
            message = case.message or "".join(case.text).strip()
            self.failed.append(
                Failure(
                    suite=case.suite[:NAME_LENGTH_MAX],
                    name=case.name[:NAME_LENGTH_MAX],
                    kind=case.outcome,
                    type=case.type[:NAME_LENGTH_MAX],
                    message=message[:MESSAGE_LENGTH_MAX],
                )
            )


def read_junit(data: bytes) -> Tests:
    """Figures of one report. Cases are counted; a report without any is believed what its outermost suite says.

    Raises ReportError.
    """
    reading = _Reading()
    read_xml(data, reading.start, reading.end, reading.text)
    counts = reading.counts
    if not any(counts.values()):
        counts = _as_told(reading.told)
    failed = counts["failure"] + counts["error"]
    return Tests(
        run=counts[""] + failed,
        passed=counts[""],
        failures=counts["failure"],
        errors=counts["error"],
        skipped=counts["skipped"],
        seconds=reading.seconds,
        failed=tuple(reading.failed),
    )


def _as_told(attributes: Mapping[str, str]) -> dict[str, int]:
    failures, errors = _number(attributes.get("failures", "")), _number(attributes.get("errors", ""))
    skipped = _number(attributes.get("skipped", attributes.get("disabled", "")))
    passed = max(0, _number(attributes.get("tests", "")) - failures - errors - skipped)
    return {"": passed, "failure": failures, "error": errors, "skipped": skipped}


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < len(str(2**63)) else 0


def _seconds(text: str) -> float:
    try:
        seconds = float(text.replace(",", ""))  # Surefire writes 1,234.5
    except ValueError:
        return 0.0
    return seconds if math.isfinite(seconds) and seconds > 0 else 0.0
