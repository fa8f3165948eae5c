"""What a process and its children use, from /proc (Linux)."""

import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_SAMPLE_SECONDS: Final = 0.2
_QUIET_SHARE: Final = 0.03
"""Part of a core under which a server is taken to have settled; an idle one uses less."""


def family(pid: int) -> list[int]:
    """The process and all that descend from it."""
    children: dict[int, list[int]] = defaultdict(list)
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                children[int(_stat(folder)[1])].append(int(folder.name))
    found = [pid]
    for member in found:
        found += children[member]
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of the process and its children, those that ended included."""
    total = 0
    for member in family(pid):
        with suppress(OSError):
            fields = _stat(Path(f"/proc/{member}"))
            total += sum(map(int, fields[11:13])) + (sum(map(int, fields[13:15])) if member == pid else 0)
    return total / _TICKS


def cpu_by_thread(pid: int) -> Mapping[int, tuple[str, float]]:
    """Name and CPU seconds of each thread by its id; names as the threads gave them themselves, children marked."""
    found: dict[int, tuple[str, float]] = {}
    for member in family(pid):
        with suppress(OSError):
            for task in Path(f"/proc/{member}/task").iterdir():
                name = "main" if task.name == str(pid) else (task / "comm").read_text().strip()
                used = sum(map(int, _stat(task)[11:13])) / _TICKS
                found[int(task.name)] = (name if member == pid else f"child {name}", used)
    return found


def rss_bytes(pid: int) -> int:
    """Resident memory of the process and its children; what they share counts for each."""
    total = 0
    for member in family(pid):
        with suppress(OSError):
            total += int(Path(f"/proc/{member}/statm").read_text().split()[1])
    return total * os.sysconf("SC_PAGE_SIZE")


def _stat(folder: Path) -> list[str]:
    """The fields of stat after the name, which may hold blanks: state, ppid, ..."""
    return (folder / "stat").read_text().rpartition(")")[2].split()


class Memory:
    """The largest resident memory seen so far, in bytes."""

    def __init__(self) -> None:
        self.peak = 0


@contextmanager
def watched_memory(pid: int) -> Iterator[Memory]:
    """Sample the memory of a process and its children while the block runs."""
    memory, ended = Memory(), threading.Event()

    def watch() -> None:
        while not ended.wait(_SAMPLE_SECONDS):
            memory.peak = max(memory.peak, rss_bytes(pid))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield memory
    finally:
        ended.set()
        thread.join()


def settle(pid: int, seconds_max: float = 60.0) -> None:
    """Wait until the process has done next to nothing for two seconds, or `seconds_max` are over."""
    deadline = time.monotonic() + seconds_max
    quiet = 0
    before = cpu_seconds(pid)
    while quiet < 2 and time.monotonic() < deadline:
        time.sleep(1)
        now = cpu_seconds(pid)
        quiet = quiet + 1 if now - before < _QUIET_SHARE else 0
        before = now


def wait_until(holds: Callable[[], bool], seconds_max: float, step_seconds: float = 0.05) -> bool:
    """Ask until it holds; False where it did not in time."""
    deadline = time.monotonic() + seconds_max
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(step_seconds)
    return True
