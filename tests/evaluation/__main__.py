"""`python -m tests.evaluation [NAME...]`: sends data with known answers to a started server, and asks it for them."""

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.evaluation import (
    comparing,
    correlations,
    coverage,
    detection,
    failures,
    improving,
    large,
    learning,
    paths,
    rankings,
    rca,
    rca_large,
    rca_left_out,
)
from tests.evaluation.options import Options
from tests.evaluation.rows import Row, save, table

EVALUATIONS: Final[Mapping[str, Callable[[Options], Iterator[Row]]]] = {
    "rootcausebench": rankings.rootcausebench,
    "tau2": rankings.tau2,
    "tau-bench": rankings.tau_bench,
    "coverage": coverage.scores,
    "ranks": coverage.ranks,
    "compare": comparing.evaluate,
    "reflexion": learning.reflexion,
    "shuffled": learning.shuffled,
    "crisp": paths.crisp,
    "workflows": improving.evaluate,
    "attribution": failures.attribution,
    "failure-groups": failures.groups,
    "correlations-quiet": correlations.quiet,
    "correlations-planted": correlations.planted,
    "detection": detection.evaluate,
    "rca-nezha": rca.nezha,
    "rca-petshop": rca.petshop,
    "rca-changes": rca.rootcausebench,
    "rca-tvdiag": rca.tvdiag,
    "rca-left-out": rca_left_out.evaluate,
}
"""Each evaluation by its name, in the order in which they run."""

ON_REQUEST: Final[Mapping[str, Callable[[Options], Iterator[Row]]]] = {
    "large": large.evaluate,
    "rca-large": rca_large.evaluate,
    "rca-nezha-alone": rca.nezha_alone,
    "attribution-left-out": failures.attribution_left_out,
}
"""What takes many minutes, and runs only when it is named."""


def main() -> int:
    """Run the named evaluations, or all. The exit status says whether they ran, not whether targets were reached."""
    arguments = _parser().parse_args()
    known = {**EVALUATIONS, **ON_REQUEST}
    unknown = set(arguments.names) - known.keys()
    if unknown:
        sys.stderr.write(f"unknown: {', '.join(sorted(unknown))}; known are {', '.join(known)}\n")
        return 2
    _tell(f"{os.cpu_count()} cores, Python {platform.python_version()}, load before the run {os.getloadavg()[0]:.1f}")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(dir=arguments.directory, prefix="agent-tracer-evaluation-") as folder:
        options = Options(Path(folder), arguments.seeds)
        for name in arguments.names or EVALUATIONS:
            _tell(f"-- {name}")
            rows += _run(name, known[name], options)
    sys.stdout.write(f"{table(rows)}\n")
    if arguments.json:
        save(rows, arguments.json)
    return 0


def _run(name: str, evaluate: Callable[[Options], Iterator[Row]], options: Options) -> Iterator[Row]:
    """Its rows, each with the time since the one before."""
    started = time.monotonic()
    try:
        for row in evaluate(options):
            now = time.monotonic()
            timed, started = row.took(now - started), now
            _tell(f"{timed.name}: {timed.measured} ({timed.target or 'no target'}), {timed.seconds:.1f} s")
            yield timed
    except pytest.skip.Exception as absent:
        _tell(f"!! {name} IS NOT EVALUATED: {absent}")


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("names", nargs="*", metavar="NAME", help=", ".join((*EVALUATIONS, *ON_REQUEST)))
    made.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()), help="on a disk, not a tmpfs")
    made.add_argument("--seeds", type=int, default=1, help="how often what is drawn at random is drawn")
    made.add_argument("--json", type=Path, help="write the rows to this file as well")
    return made


def _tell(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
