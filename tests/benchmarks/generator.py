"""The load generator, a process of its own so that its CPU is counted apart: `python -m tests.benchmarks.generator`.

Encodes its pool, prints `ready`, waits for a line on standard input, sends, and prints one line of JSON (Sent).
"""

import argparse
import itertools
import json
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import grpc

from tests.benchmarks.batches import KINDS, Batch, Stamp, pool
from tests.benchmarks.spans import huge_trace

METHOD: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
CALL_SECONDS: Final = 60
RETRY_SECONDS: Final = 0.2
RETRIED: Final = frozenset({grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE})
TRACE_IDS_KEPT: Final = 2_000


@dataclass(slots=True)
class Sent:
    """What became of a load. Times are seconds of the Unix clock, latencies seconds; ids are hex."""

    acknowledged: int = 0
    failed: int = 0
    retried: int = 0
    bytes: int = 0
    began: float = 0.0
    ended: float = 0.0
    cpu_seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    trace_ids: list[str] = field(default_factory=list)
    last_trace_ids: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    error: str = ""


class Load:
    """Sends batches of a pool over and over: as fast as they are answered, or at a rate."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._gap_ns = _gap_ns(options)
        self._pool = self._encoded()
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self.sent = Sent()

    def _encoded(self) -> list[Batch]:
        options = self._options
        if options.kind == "huge":
            start_ns = time.time_ns() - options.spans * 1_000_000
            spans = list(huge_trace(random.Random(options.seed), options.spans, start_ns))
            return [Batch(spans[n : n + options.batch]) for n in range(0, len(spans), options.batch)]
        count = min(options.spans, options.pool)
        return pool(options.kind, count, options.batch, options.seed, self._gap_ns)

    def run(self) -> Sent:
        """Send everything on `connections` channels with `inflight` calls on each."""
        options, sent = self._options, self.sent
        channels = [_channel(options.target, n) for n in range(options.connections)]
        for channel in channels:
            grpc.channel_ready_future(channel).result(timeout=CALL_SECONDS)
        sent.began, began_cpu = time.time(), time.process_time()
        self._began = time.perf_counter()
        with ThreadPoolExecutor(options.connections * options.inflight) as threads:
            for channel in channels:
                for _ in range(options.inflight):
                    threads.submit(self._guarded, channel)
        sent.ended, sent.cpu_seconds = time.time(), time.process_time() - began_cpu
        for channel in channels:
            channel.close()
        return sent

    def _guarded(self, channel: grpc.Channel) -> None:
        try:
            self._work(channel)
        except Exception as error:  # noqa: BLE001 - the report carries it
            self.sent.error = f"{type(error).__name__}: {error}"[:500]

    def _work(self, channel: grpc.Channel) -> None:
        options = self._options
        call: Any = channel.unary_unary(METHOD)
        batches = len(self._pool)
        last: list[str] = []
        while True:
            number = next(self._numbers)
            batch = self._pool[number % batches]
            due = number * batch.spans / options.rate if options.rate else 0.0
            if number * batch.spans >= options.spans or self._elapsed() > options.seconds:
                break
            stamp = Stamp.of_round(options.seed, number // batches)
            payload = batch.stamped(stamp, self._shift_ns(number, batch))
            if due > self._elapsed():
                time.sleep(due - self._elapsed())
            # At a rate, latency counts from when the batch was due: a stall shows in every batch that it delays.
            since = due if options.rate else self._elapsed()
            if self._delivered(call, payload):
                last = [trace_id.hex() for trace_id in batch.stamped_trace_ids(stamp)]
                self._note(batch, len(payload), self._elapsed() - since, last, stamp)
            else:
                self.sent.failed += batch.spans
        with self._lock:
            self.sent.last_trace_ids += last[-1:]

    def _elapsed(self) -> float:
        return time.perf_counter() - self._began

    def _shift_ns(self, number: int, batch: Batch) -> int:
        """So that the batch ends now, or where its number has it in a history that ends now."""
        if self._options.kind == "huge":
            return 0
        now_ns = int(self.sent.began * 1e9) if self._options.history_seconds else time.time_ns()
        left = max(0.0, 1 - (number + 1) * batch.spans / self._options.spans) * self._options.history_seconds
        return now_ns - int(left * 1e9) - batch.end_ns

    def _delivered(self, call: Any, payload: bytes) -> bool:
        while True:
            try:
                call(payload, timeout=CALL_SECONDS)
            except grpc.RpcError as error:
                if error.code() not in RETRIED or self._elapsed() > self._options.seconds:
                    self.sent.error = f"{error.code().name}: {error.details()}"[:500]
                    return False
                self.sent.retried += 1
                time.sleep(RETRY_SECONDS)
            else:
                return True

    def _note(self, batch: Batch, size: int, latency: float, trace_ids: list[str], stamp: Stamp) -> None:
        with self._lock:
            sent = self.sent
            sent.acknowledged += batch.spans
            sent.bytes += size
            sent.latencies.append(latency)
            if len(sent.trace_ids) < TRACE_IDS_KEPT:
                sent.trace_ids.append(trace_ids[len(sent.trace_ids) % len(trace_ids)])
            if stamp.word.decode() not in sent.words:
                sent.words.append(stamp.word.decode())


def _gap_ns(options: argparse.Namespace) -> int:
    """From the start of a trace to that of the next, so that all of them fill the history; a millisecond without."""
    traces = options.spans / KINDS[options.kind][1] if options.kind in KINDS else 1
    return int(options.history_seconds * 1e9 / max(traces, 1)) or 1_000_000


def _channel(target: str, number: int) -> grpc.Channel:
    # An option that differs keeps gRPC from sharing one connection among the channels.
    return grpc.insecure_channel(target, options=[("bench.connection", number), ("grpc.max_send_message_length", -1)])


def parser() -> argparse.ArgumentParser:
    """The options of a load."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--target", required=True)
    made.add_argument("--kind", choices=("agent", "plain", "huge"), default="agent")
    made.add_argument("--spans", type=int, required=True)
    made.add_argument("--batch", type=int, default=1000, help="spans in a request")
    made.add_argument("--pool", type=int, default=24_000, help="different spans; more are sent by stamping them anew")
    made.add_argument("--rate", type=float, default=0.0, help="spans a second; 0: as fast as they are answered")
    made.add_argument("--seconds", type=float, default=120.0, help="stop after so long")
    made.add_argument("--connections", type=int, default=2)
    made.add_argument("--inflight", type=int, default=4, help="calls at once on a connection")
    made.add_argument("--history-seconds", type=float, default=0.0, help="spread the times over so long before now")
    made.add_argument("--seed", type=int, default=1)
    return made


def main() -> None:
    """Run one load."""
    load = Load(parser().parse_args())
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    sys.stdout.write(json.dumps(asdict(load.run())) + "\n")


if __name__ == "__main__":
    main()
