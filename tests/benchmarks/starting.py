"""From the command to the moment when every port answers."""

from typing import Final

from tests.benchmarks import contenders
from tests.benchmarks.contenders import AgentTracer
from tests.benchmarks.options import Options
from tests.benchmarks.processes import cpu_seconds, settle
from tests.benchmarks.report import Report, Target
from tests.benchmarks.sending import send

_ROUNDS_MIN: Final = 5
_STORED_SPANS: Final = 100_000


def measure(options: Options, report: Report) -> None:
    """Starts on an empty data directory, and on one that holds spans; in turn."""
    empty, existing, cpu = [], [], []
    rounds = max(_ROUNDS_MIN, options.rounds)
    with contenders.fresh_folder(options.folder, "existing") as folder:
        kept = AgentTracer(folder)
        with contenders.started(kept):
            send(kept.target, spans=_STORED_SPANS)
            settle(kept.pid)
        for _ in range(rounds):
            with contenders.fresh_folder(options.folder, "empty") as other:
                server = AgentTracer(other)
                with contenders.started(server) as seconds:
                    empty.append(seconds)
                    cpu.append(cpu_seconds(server.pid))
            with contenders.started(kept) as seconds:
                existing.append(seconds)
    report.add("start to ready, empty data directory", "s", empty, Target(4))
    report.add(f"start to ready, {_STORED_SPANS:,} spans stored", "s", existing, Target(4))
    report.add("CPU of a start on an empty data directory", "s", cpu)
