"""Reports of builds: JUnit XML and coverage, as tools write them and as a stranger might."""

import json
import os
import time
from pathlib import Path

import pytest

from agent_tracer.client.buildkit import Coverage, read_coverage, read_junit
from agent_tracer.client.buildkit import files as report_files
from agent_tracer.client.buildkit.figures import of_coverage, of_tests
from agent_tracer.client.buildkit.files import ReportError, matching, read_fresh, versions
from agent_tracer.client.buildkit.junit import FAILURES_TOLD_MAX, MESSAGE_LENGTH_MAX

PYTEST = b"""<?xml version="1.0" encoding="utf-8"?>
<testsuites name="pytest tests"><testsuite name="pytest" errors="1" failures="1" skipped="1" tests="5" time="0.5">
<testcase classname="tests.test_a" name="test_adds" time="0.100"/>
<testcase classname="tests.test_a" name="test_divides" time="0.200"><failure message="AssertionError: 1 == 2">
trace</failure></testcase>
<testcase classname="tests.test_a" name="test_reads" time="0.000"><error message="failed on setup">x</error></testcase>
<testcase classname="tests.test_a" name="test_later" time="0.000"><skipped type="pytest.skip" message="no"/></testcase>
<testcase classname="tests.test_b" name="test_more" time="1,000.2"><system-out>talk</system-out></testcase>
</testsuite></testsuites>"""


def test_cases_of_pytest_are_counted_and_failing_ones_told() -> None:
    tests = read_junit(PYTEST)
    assert (tests.run, tests.passed, tests.failures, tests.errors, tests.skipped) == (4, 2, 1, 1, 1)
    assert tests.seconds == pytest.approx(1000.5)
    assert [(f.suite, f.name, f.kind, f.message) for f in tests.failed] == [
        ("tests.test_a", "test_divides", "failure", "AssertionError: 1 == 2"),
        ("tests.test_a", "test_reads", "error", "failed on setup"),
    ]
    assert of_tests(tests)["metadata.tests_passed"] == 2


def test_a_test_that_passed_at_the_second_try_passed() -> None:
    flaky = b'<testsuite name="s"><testcase name="t"><flakyFailure message="once"/></testcase></testsuite>'
    assert (read_junit(flaky).run, read_junit(flaky).passed) == (1, 1)


def test_nested_suites_count_each_case_once_and_name_the_nearest_suite() -> None:
    nested = b"""<testsuites tests="9"><testsuite name="outer" tests="9"><testsuite name="inner" tests="1">
    <testcase name="t"><failure type="Boom">text
    of it</failure></testcase></testsuite></testsuite></testsuites>"""
    tests = read_junit(nested)
    assert (tests.run, tests.failures) == (1, 1)
    assert (tests.failed[0].suite, tests.failed[0].type) == ("inner", "Boom")
    assert tests.failed[0].message.startswith("text")


def test_a_report_of_sums_only_is_believed() -> None:
    tests = read_junit(
        b'<testsuites tests="10" failures="2" errors="1" skipped="3"><testsuite tests="10"/></testsuites>'
    )
    assert (tests.run, tests.passed, tests.failures, tests.errors, tests.skipped) == (7, 4, 2, 1, 3)


def test_failing_tests_are_told_up_to_a_bound_and_all_are_counted() -> None:
    case = b'<testcase name="t"><failure message="%s"/></testcase>' % (b"x" * 5_000)
    tests = read_junit(b"<testsuite>" + case * 200 + b"</testsuite>")
    assert (tests.failures, len(tests.failed)) == (200, FAILURES_TOLD_MAX)
    assert {len(f.message) for f in tests.failed} == {MESSAGE_LENGTH_MAX}
    assert len((tests + tests).failed) == FAILURES_TOLD_MAX


LAUGHS = b"""<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<testsuite name="&b;"/>"""
FETCHING = b"""<?xml version="1.0"?><!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><testsuite>&x;</testsuite>"""


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no well-formed XML"),
        (b"{", "no well-formed XML"),
        (PYTEST[:200], "no well-formed XML"),
        (b"\x00\xff\xfe", "no well-formed XML"),
        (b'<?xml version="1.0" encoding="no-such"?><a/>', "no well-formed XML"),
        (LAUGHS, "entities"),
        (LAUGHS.decode().encode("utf-16"), "entities"),
        (FETCHING, "entities"),
        (b"<a>" * 100_000, "deep"),
    ],
)
def test_what_is_no_report_or_means_harm_is_refused_with_a_reason(data: bytes, why: str) -> None:
    for read in (read_junit, read_coverage):
        with pytest.raises(ReportError) as refused:
            read(data)
        assert why in str(refused.value) or data == b"{"
        assert "root:" not in str(refused.value)


def coverage_json(**totals: object) -> bytes:
    return json.dumps({"meta": {"version": "7"}, "totals": totals}).encode()


def test_coverage_of_json_and_xml_is_the_same_figure() -> None:
    of_json = coverage_json(num_statements=200, covered_lines=170, num_branches=50, covered_branches=30)
    of_xml = b"""<?xml version="1.0" ?>
<!DOCTYPE coverage SYSTEM "http://cobertura.sourceforge.net/xml/coverage-04.dtd">
<coverage version="7.6" lines-valid="200" lines-covered="170" line-rate="0.85" branches-covered="30"
 branches-valid="50" branch-rate="0.6" complexity="0"><packages><package name="a"/></packages></coverage>"""
    assert read_coverage(of_json) == read_coverage(of_xml) == Coverage(200, 170, 50, 30)
    assert of_coverage(read_coverage(of_json)) == {
        "metadata.coverage": 80.0,
        "metadata.coverage_lines": 85.0,
        "metadata.coverage_branches": 60.0,
    }


def test_without_branches_coverage_is_that_of_lines() -> None:
    assert of_coverage(read_coverage(coverage_json(num_statements=3, covered_lines=2))) == {
        "metadata.coverage": 66.6667,
        "metadata.coverage_lines": 66.6667,
    }
    assert (Coverage(100, 50) + Coverage(300, 300)).percent == 87.5


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b"[]",
        b'{"totals": 3}',
        b'{"totals": {"num_statements": "many", "covered_lines": 1}}',
        b"{" * 50_000,
        b'{"a":' * 50_000,
        coverage_json(num_statements=0, covered_lines=0),
        coverage_json(num_statements=1, covered_lines=2),
        coverage_json(num_statements=-1, covered_lines=-2),
        coverage_json(num_statements=1e400, covered_lines=1),
        coverage_json(num_statements=True, covered_lines=1),
        b"<testsuite/>",
        b"<coverage/>",
        b'<coverage lines-valid="x" lines-covered="1"/>',
    ],
)
def test_what_measured_nothing_or_cannot_be_is_no_coverage(data: bytes) -> None:
    with pytest.raises(ReportError):
        read_coverage(data)


def test_a_report_of_before_the_run_is_not_taken(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_bytes(PYTEST)
    now = time.time_ns()
    os.utime(report, ns=(now, now))
    assert read_fresh(report, now, {}) == PYTEST
    before = versions([report])
    with pytest.raises(ReportError, match="older than this run"):
        read_fresh(report, now, before)
    os.utime(report, (1, 1))
    with pytest.raises(ReportError, match="older than this run"):
        read_fresh(report, now, {})
    assert read_fresh(report, 0, {}) == PYTEST, "without a run any age will do"


def test_what_is_no_file_or_too_large_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, why in (("pipe", "no regular file"), ("none", "No such file"), (".", "Is a directory")):
        with pytest.raises(ReportError, match=why):
            read_fresh(tmp_path / name, 0, {})
    monkeypatch.setattr(report_files, "REPORT_BYTES_MAX", 10)
    (tmp_path / "large").write_bytes(b"x" * 11)
    with pytest.raises(ReportError, match="larger than 10 bytes"):
        read_fresh(tmp_path / "large", 0, {})


def test_a_pattern_finds_files_and_a_name_is_a_name(tmp_path: Path) -> None:
    for name in ("b.xml", "a.xml", "c[1].xml"):
        (tmp_path / name).touch()
    assert [path.name for path in matching(tmp_path / "*.xml")] == ["a.xml", "b.xml", "c[1].xml"]
    assert matching(tmp_path / "c[1].xml") == [tmp_path / "c[1].xml"]
    assert matching(tmp_path / "none.xml") == [tmp_path / "none.xml"]
