"""`python -m tests.benchmarks [NAME...]`: measures, and prints figures beside their targets. `--help` for the sizes."""

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tests.benchmarks import contenders, disk, ingest, mesh, reads, starting, steady
from tests.benchmarks.options import Options
from tests.benchmarks.report import Report

MEASURES: Final[Mapping[str, Callable[[Options, Report], None]]] = {
    "ingest": ingest.measure,
    "half-rate": steady.half_rate,
    "idle": steady.idle,
    "start": starting.measure,
    "disk": disk.measure,
    "reads": reads.measure,
    "mesh": mesh.measure,
}
"""Each benchmark by its name, in the order in which they run."""


def main() -> int:
    """Run the named benchmarks, or all. The exit status says whether they ran, not whether targets were met."""
    arguments = _parser().parse_args()
    unknown = set(arguments.names) - set(MEASURES)
    if unknown:
        sys.stderr.write(f"unknown: {', '.join(sorted(unknown))}; known are {', '.join(MEASURES)}\n")
        return 2
    report = Report()
    _describe_machine(report)
    with tempfile.TemporaryDirectory(dir=arguments.directory, prefix="agent-tracer-bench-") as folder:
        options = _options(arguments, Path(folder))
        missing = set(options.peers) - set(contenders.installed_peers(options.peers))
        if missing:
            report.note(f"not compared with {', '.join(sorted(missing))}: see `python -m tests.servers`")
        for name in arguments.names or MEASURES:
            report.progress(f"-- {name}")
            MEASURES[name](options, report)
    sys.stdout.write(f"{report}\n")
    if arguments.json:
        report.save(arguments.json)
    return 0


def _parser() -> argparse.ArgumentParser:
    usual = Options(Path())
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MEASURES))
    made.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()), help="on a disk, not a tmpfs")
    made.add_argument("--rounds", type=int, default=usual.rounds)
    made.add_argument("--spans", type=int, default=usual.spans, help="spans of an ingest round")
    made.add_argument("--read-spans", type=int, default=usual.read_spans, help="spans in the store that is read")
    made.add_argument("--read-calls", type=int, default=usual.read_calls, help="calls of each query a round")
    made.add_argument("--seconds", type=float, default=usual.seconds, help="length of the loads at a rate")
    made.add_argument("--rate", type=float, default=0.0, help="spans/s taken for the highest rate; 0: measure it")
    made.add_argument("--peers", nargs="*", default=list(usual.peers), choices=sorted(contenders.PEERS))
    made.add_argument("--threads", action="store_true", help="show the CPU of each of the server's threads too")
    made.add_argument("--json", type=Path, help="write the figures to this file as well")
    return made


def _options(arguments: argparse.Namespace, folder: Path) -> Options:
    return Options(
        folder=folder,
        rounds=arguments.rounds,
        spans=arguments.spans,
        read_spans=arguments.read_spans,
        read_calls=arguments.read_calls,
        seconds=arguments.seconds,
        rate=arguments.rate,
        peers=tuple(arguments.peers),
        threads=arguments.threads,
    )


def _describe_machine(report: Report) -> None:
    load = os.getloadavg()[0]
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    report.note(
        f"{os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}, "
        f"Python {platform.python_version()}, load of the machine before the run {load:.1f}"
    )


if __name__ == "__main__":
    sys.exit(main())
