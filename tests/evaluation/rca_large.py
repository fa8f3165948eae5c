"""An incident in an hour of five million spans, 500 services and 20,000 metric series: is it answered in five seconds?

The rows are made by SQL (see large_window), not sent: this measures the analysis alone.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from agent_tracer.v1 import correlation_pb2, trace_pb2
from tests.benchmarks.processes import rss_bytes
from tests.benchmarks.report import quantile
from tests.evaluation.large_window import FAULT_MINUTES, FAULTY, MINUTE_NS, MINUTES, TRACES
from tests.evaluation.options import Options
from tests.evaluation.product import CALL_SECONDS, Product, connected, timestamp
from tests.evaluation.rows import Row, equal
from tests.fixtures.program import running_program

CALLS: Final = 10
SECONDS_MOST: Final = 5.0
MEMORY_MOST: Final = 2 * 1024**3
"""What a server may take in all (docs/promises.md)."""

_HOUR: Final = 3600
_PERIOD_DAYS: Final = 2
_SETTLE_SECONDS_MAX: Final = 900
_MIB: Final = 1024**2


def evaluate(options: Options) -> Iterator[Row]:
    """Fill a store, start a server on it, ask what caused the incident, stop it, and time the reads by themselves."""
    start_seconds = (int(time.time()) // _HOUR - 2) * _HOUR
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        store = Path(folder) / "data" / "store"
        yield Row("rca-large: rows made by SQL", f"{_work('fill', store, start_seconds)['insert']:.0f} s")
        with running_program(Path(folder)) as program, connected(program) as server:
            alarmed_ns = start_seconds * 10**9 + (MINUTES - FAULT_MINUTES) * MINUTE_NS
            incident = correlation_pb2.CreateIncidentRequest(
                incident_id="large", service="service-0", start_time=timestamp(alarmed_ns),
                end_time=timestamp(start_seconds * 10**9 + MINUTES * MINUTE_NS),
            )  # fmt: skip
            server.correlation.CreateIncident(incident, timeout=CALL_SECONDS)
            yield Row("rca-large: rows settled by the server", f"{_settled(server):.0f} s")
            asked = correlation_pb2.AnalyzeRootCauseRequest(incident_id="large", depth=10)
            took, named = [], ""
            for _ in range(CALLS):
                began = time.perf_counter()
                named = server.correlation.AnalyzeRootCause(asked, timeout=CALL_SECONDS).root_cause.component
                took.append(time.perf_counter() - began)
            yield equal("rca-large: the component that is named", named, FAULTY, 1)
            worst, median = max(took), quantile(took, 0.5)
            measured = f"longest {worst:.2f} s, median {median:.2f} s"
            yield Row("rca-large: AnalyzeRootCause", measured, f"< {SECONDS_MOST:.0f} s", worst < SECONDS_MOST, CALLS)
            memory = rss_bytes(program.pid)
            told = f"{memory / _MIB:,.0f} MiB"
            yield Row("rca-large: memory of the server", told, "< 2 GiB", memory < MEMORY_MOST, CALLS)
            program.stop()
        for name, read in _work("time", store, start_seconds).items():
            yield Row(f"rca-large: the store's {name}", f"{read['ms'][0]} ms, peak {read['peak MB so far']} MB")


def _settled(server: Product) -> float:
    """Wait until the server has gone over all traces, as it has of what was sent to it; how many seconds it took."""
    began = time.perf_counter()
    request = trace_pb2.AggregateTracesRequest(period=f"{_PERIOD_DAYS}d")
    while sum(row.count for row in server.traces.AggregateTraces(request, timeout=CALL_SECONDS).rows) < TRACES:
        if time.perf_counter() - began > _SETTLE_SECONDS_MAX:
            raise TimeoutError("the server does not get through the rows that were made")
        time.sleep(5)
    return time.perf_counter() - began


def _work(what: str, store: Path, start_seconds: int) -> Mapping[str, Any]:
    """In a process of its own: an embedded store has one process at a time."""
    command = [sys.executable, "-m", "tests.evaluation.large_window", what, str(store), str(start_seconds)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    found: Mapping[str, Any] = json.loads(done.stdout.splitlines()[-1])  # migrations are logged before
    return found
