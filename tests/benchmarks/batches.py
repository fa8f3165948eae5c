"""Export requests encoded ahead, and stamped anew each time one is sent: fresh ids, times and rare words."""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.benchmarks.spans import AGENT_SPANS, PLAIN_SPANS, STAMP, agent_trace, plain_trace

TraceBuilder = Callable[[random.Random, int, int], list[Span]]
KINDS: Final[dict[str, tuple[TraceBuilder, int]]] = {
    "agent": (agent_trace, AGENT_SPANS),
    "plain": (plain_trace, PLAIN_SPANS),
}
"""Each kind of load: the builder of a trace, and its spans."""

_BASE_NS: Final = 1_700_000_000_000_000_000
_Places = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Stamp:
    """What makes a sending of the pool differ from the others. Trace and span ids stay random, and fit together."""

    trace_mask: bytes
    span_mask: bytes
    word: bytes

    @classmethod
    def of_round(cls, seed: int, number: int) -> "Stamp":
        """The stamp of the n-th sending of a pool."""
        random_ = random.Random(f"{seed}-{number}")
        word = "".join(random_.choices("abcdefghijklmnopqrstuvwxyz", k=len(STAMP)))
        return cls(random_.randbytes(16), random_.randbytes(8), word.encode())


class Batch:
    """One request of `spans` spans in whole traces, from `begin_ns` to `end_ns` before it is shifted."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self.spans = len(spans)
        self.begin_ns = min(span.start_time_unix_nano for span in spans)
        self.end_ns = max(span.end_time_unix_nano for span in spans)
        self.trace_ids = list(dict.fromkeys(span.trace_id for span in spans))
        raw = _request(spans)
        self._raw = np.frombuffer(raw, dtype=np.uint8)
        self._traces = _places(_offsets(raw, (b"\x0a\x10" + s.trace_id for s in spans), 2), 16)
        parents = (b"\x22\x08" + s.parent_span_id for s in spans if s.parent_span_id)
        ids = _offsets(raw, (b"\x12\x08" + s.span_id for s in spans), 2) + _offsets(raw, parents, 2)
        self._ids = _places(ids, 8)
        starts = (b"\x39" + s.start_time_unix_nano.to_bytes(8, "little") for s in spans)
        ends = (b"\x41" + s.end_time_unix_nano.to_bytes(8, "little") for s in spans)
        self._times = _places(_offsets(raw, starts, 1) + _offsets(raw, ends, 1), 8)
        marks = (STAMP.encode() for _ in range(raw.count(STAMP.encode())))
        self._marks = _places(_offsets(raw, marks, 0), len(STAMP))

    def __len__(self) -> int:
        return len(self._raw)

    def stamped(self, stamp: Stamp, shift_ns: int) -> bytes:
        """The request with the stamp's ids and words, its times moved by `shift_ns`. 0.5 us a span."""
        out = self._raw.copy()
        out[self._traces] ^= np.frombuffer(stamp.trace_mask, dtype=np.uint8)
        out[self._ids] ^= np.frombuffer(stamp.span_mask, dtype=np.uint8)
        out[self._marks] = np.frombuffer(stamp.word, dtype=np.uint8)
        times = out[self._times].view("<u8") + np.uint64(shift_ns)
        out[self._times] = times.view(np.uint8).reshape(self._times.shape)
        return out.tobytes()

    def stamped_trace_ids(self, stamp: Stamp) -> list[bytes]:
        """The ids of its traces as that stamp sends them."""
        mask = int.from_bytes(stamp.trace_mask)
        return [(int.from_bytes(trace_id) ^ mask).to_bytes(16) for trace_id in self.trace_ids]


def pool(kind: str, spans: int, batch_spans: int, seed: int, gap_ns: int) -> list[Batch]:
    """Batches of whole traces, about `spans` spans in all; traces begin `gap_ns` after one another. 60 us a span."""
    build, size = KINDS[kind]
    per_batch = max(1, batch_spans // size)
    random_ = random.Random(seed)
    batches = []
    for first in range(0, max(1, spans // size), per_batch):
        traces = (build(random_, n, _BASE_NS + n * gap_ns) for n in range(first, first + per_batch))
        batches.append(Batch([span for trace in traces for span in trace]))
    return batches


def _request(spans: Sequence[Span]) -> bytes:
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    attributes = {
        "service.name": "bench",
        "openinference.project.name": "bench",
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "opentelemetry",
    }
    for key, value in attributes.items():
        group.resource.attributes.add(key=key).value.string_value = value
    scope = group.scope_spans.add()
    scope.scope.name, scope.scope.version = "bench", "1"
    scope.spans.extend(spans)
    return request.SerializeToString()


def _offsets(raw: bytes, needles: Iterable[bytes], skip: int) -> list[int]:
    """Where each of them stands, one after the other, less the first `skip` bytes that only find it."""
    found, at = [], 0
    for needle in needles:
        at = raw.index(needle, at) + len(needle)
        found.append(at - len(needle) + skip)
    return found


def _places(offsets: Sequence[int], length: int) -> _Places:
    return np.array(offsets, dtype=np.intp)[:, np.newaxis] + np.arange(length, dtype=np.intp)
