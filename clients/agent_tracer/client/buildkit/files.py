"""Reports on disk: found by pattern, bounded, and none that is older than the run it is to speak of."""

import glob
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

REPORT_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of one report: the JUnit XML of 100,000 tests is about 20 MB."""
REPORTS_MAX: Final = 2_000
"""Files of one pattern: test runners of Java and JavaScript write one per class."""
CLOCK_SLACK_NS: Final = 1_000_000_000
"""File systems stamp with a coarser clock than ours, and those of a network with another one."""

Version = tuple[int, int, int]
"""What changes when a file is written again: its inode, size and time of modification."""


class ReportError(Exception):
    """A report that cannot be used; the text says why, without what is in it."""


def matching(pattern: str | Path) -> list[Path]:
    """Files of a path or glob pattern (`reports/**/*.xml`), in order of their names, REPORTS_MAX at most."""
    text = os.fspath(pattern)
    if Path(text).exists() or not glob.has_magic(text):
        return [Path(text)]
    names = sorted(glob.glob(text, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
    return [Path(name) for name in names[:REPORTS_MAX]]


def versions(patterns: Iterable[str | Path]) -> dict[Path, Version]:
    """The files that are there now, so that what a command leaves as it was is not taken for its own."""
    found = {}
    for path in (path for pattern in patterns for path in matching(pattern)):
        try:
            found[path.absolute()] = _version(path.stat())
        except OSError:
            continue
    return found


def read_fresh(path: Path, since_ns: int, before: Mapping[Path, Version]) -> bytes:
    """The report, if it was written after `since_ns` and is not as it was `before`; any where `since_ns` is 0.

    Raises ReportError.
    """
    try:
        # Without O_NONBLOCK a pipe of that name would hold the build up for good.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123 - a descriptor
            found = os.fstat(file.fileno())
            _check(found, since_ns, before.get(path.absolute()))
            data = file.read(REPORT_BYTES_MAX + 1)
    except OSError as error:
        raise ReportError(f"{path}: {error.strerror or 'cannot be read'}") from error
    except ReportError as error:
        raise ReportError(f"{path}: {error}") from None
    if len(data) > REPORT_BYTES_MAX:
        raise ReportError(f"{path}: larger than {REPORT_BYTES_MAX} bytes")
    return data


def _check(found: os.stat_result, since_ns: int, before: Version | None) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise ReportError("no regular file")
    if found.st_size > REPORT_BYTES_MAX:
        raise ReportError(f"larger than {REPORT_BYTES_MAX} bytes")
    if since_ns and (found.st_mtime_ns < since_ns - CLOCK_SLACK_NS or _version(found) == before):
        raise ReportError("older than this run, so it says nothing about it")


def _version(found: os.stat_result) -> Version:
    return found.st_ino, found.st_size, found.st_mtime_ns
