"""An agent of ten million tasks in thirty days: do scores and learning come within a second, in the same memory?

The rows are made by SQL (see large_store), not sent: this measures reads alone.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from agent_tracer.v1 import ace_pb2, atlas_pb2
from tests.benchmarks.processes import rss_bytes
from tests.benchmarks.report import quantile
from tests.evaluation.large_store import AGENT, DAYS, PEER_TASKS, TASKS
from tests.evaluation.options import Options
from tests.evaluation.product import CALL_SECONDS, connected
from tests.evaluation.rows import Row
from tests.fixtures.program import running_program

CALLS: Final = 20
SECONDS_MOST: Final = 1.0
GROWTH_MOST: Final = 0.1
"""Of memory, from the first call's end to the last one's."""

_MIB: Final = 1024**2


def evaluate(options: Options) -> Iterator[Row]:
    """Fill a store, start a server on it, ask it, stop it, and time the reads by themselves."""
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        store = Path(folder) / "data" / "store"
        filled = _work("fill", store)
        told = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in filled.items())
        yield Row("large: rows made by SQL", told, n=TASKS + PEER_TASKS)
        with running_program(Path(folder)) as program, connected(program) as server:
            score = ace_pb2.ScoreAgentRequest(agent_id=AGENT, period=f"{DAYS}d")
            learning = atlas_pb2.AnalyzeLearningRequest(agent_id=AGENT, period=f"{DAYS}d")
            before = rss_bytes(program.pid)
            sizes = [server.ace.ScoreAgent(score, timeout=CALL_SECONDS).sample_size]
            server.atlas.AnalyzeLearning(learning, timeout=CALL_SECONDS)
            first = rss_bytes(program.pid)
            assert 0.999 * TASKS < sizes[0] <= TASKS, sizes
            yield _timed("ScoreAgent", lambda: server.ace.ScoreAgent(score, timeout=CALL_SECONDS))
            yield _timed("AnalyzeLearning", lambda: server.atlas.AnalyzeLearning(learning, timeout=CALL_SECONDS))
            last = rss_bytes(program.pid)
            measured = f"{before / _MIB:,.0f} MiB before, {first / _MIB:,.0f} after one, {last / _MIB:,.0f} after all"
            target = f"grows <= {GROWTH_MOST:.0%}"
            yield Row("large: memory of the server", measured, target, last <= (1 + GROWTH_MOST) * first, 2 * CALLS)
            program.stop()
        for name, milliseconds in _work("time", store).items():
            yield Row(f"large: the store's {name}", f"{milliseconds:.0f} ms")


def _timed(name: str, call: Callable[[], object]) -> Row:
    took = []
    for _ in range(CALLS):
        started = time.perf_counter()
        call()
        took.append(time.perf_counter() - started)
    p95 = quantile(took, 0.95)
    measured = f"p95 {p95:.2f} s, median {quantile(took, 0.5):.2f} s"
    return Row(f"large: {name} over {TASKS:,} tasks", measured, f"p95 < {SECONDS_MOST:g} s", p95 < SECONDS_MOST, CALLS)


def _work(what: str, store: Path) -> Mapping[str, float]:
    command = [sys.executable, "-m", "tests.evaluation.large_store", what, str(store)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: Mapping[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found
