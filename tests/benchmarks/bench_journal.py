"""How many appends a second the journal makes durable, at what latency and CPU. Run as a script."""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from agent_tracer.server.adapters.journal import FileJournal
from agent_tracer.server.domain.ids import DEFAULT_TENANT
from agent_tracer.server.domain.signals import Signal

READ_BYTES = 16 * 1024 * 1024
READ_RECORDS = 10_000


@dataclass(frozen=True, slots=True)
class Case:
    """One load: concurrent appenders, bytes of each payload, appends in all."""

    appenders: int
    payload_bytes: int
    appends: int


CASES = (Case(16, 400_000, 4_000), Case(16, 1_000, 40_000), Case(1, 400_000, 500), Case(1, 1_000, 4_000))


async def measure(directory: Path, case: Case) -> None:
    """Append at full speed, then read everything back; print both."""
    payload = os.urandom(case.payload_bytes)
    latencies: list[float] = []

    async def appender(journal: FileJournal) -> None:
        for _ in range(case.appends // case.appenders):
            began = time.perf_counter()
            await journal.append(Signal.TRACES, DEFAULT_TENANT, time.time_ns(), payload)
            latencies.append(time.perf_counter() - began)

    with FileJournal.open(directory) as journal:
        began, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(appender(journal) for _ in range(case.appenders)))
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        report(case, latencies, seconds, cpu, journal.stats().sync_count)
        read_back(journal)


def report(case: Case, latencies: list[float], seconds: float, cpu: float, syncs: int) -> None:
    """One line of append figures."""
    latencies.sort()
    count = len(latencies)
    say(
        f"append {case.appenders:3} x {case.payload_bytes:7} B: {count / seconds:8.0f}/s "
        f"{count * case.payload_bytes / seconds / 1e6:7.1f} MB/s  "
        f"p50 {latencies[count // 2] * 1e3:6.2f} ms  p99 {latencies[int(count * 0.99)] * 1e3:6.2f} ms  "
        f"CPU {cpu / count * 1e6:6.1f} us/append  {count / syncs:.1f} appends/sync"
    )


def read_back(journal: FileJournal) -> None:
    """Read all records once, committing after each batch; one line of figures."""
    reader = journal.reader("bench", required=True)
    size = count = commits = 0
    committing = 0.0
    began, cpu = time.perf_counter(), time.process_time()
    while records := reader.read(max_bytes=READ_BYTES, max_records=READ_RECORDS):
        size += sum(len(record.payload) for record in records)
        count += len(records)
        commit_began = time.perf_counter()
        reader.commit(records[-1].end)
        committing += time.perf_counter() - commit_began
        commits += 1
    seconds, cpu = time.perf_counter() - began - committing, time.process_time() - cpu
    say(
        f"  read {size / seconds / 1e6:.0f} MB/s, CPU {cpu / count * 1e6:.1f} us/record, "
        f"commit {committing / commits * 1e3:.2f} ms (deleting included)"
    )


def say(line: str) -> None:
    """Print a line of results."""
    sys.stdout.write(line + "\n")


def main() -> None:
    """Run every case in a fresh directory under the one given (a disk, not a tmpfs)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()))
    parent = parser.parse_args().directory
    for case in CASES:
        with tempfile.TemporaryDirectory(dir=parent) as directory:
            asyncio.run(measure(Path(directory), case))


if __name__ == "__main__":
    main()
