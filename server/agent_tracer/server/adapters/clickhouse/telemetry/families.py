"""Spans beside their children: of a sample by trace, in one pass without a join.

Each span is there twice, under its own id and under its parent's; grouped by that key, a span meets its children.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from agent_tracer.server.adapters.clickhouse.telemetry.buckets import Buckets
from agent_tracer.server.limits import TELEMETRY_SAMPLE_SPANS_MAX

OF_TENANT: Final = "tenant = {tenant:String} AND service != ''"

_NO_PARENT: Final = "toFixedString('', 8)"
_FAILED: Final = 2
"""OTLP's status code of an error."""

_SPANS: Final = """
SELECT cityHash64(trace_id, span_id) AS id,
  if(parent_span_id = {no_parent}, 0, cityHash64(trace_id, parent_span_id)) AS parent,
  service, otel_kind, duration_ns, status = {failed} AS is_failed, toUnixTimestamp64Nano(start_time) AS ns, {position} AS position
FROM spans WHERE {of} AND {within} AND cityHash64(trace_id) % {one_in} = 0
LIMIT 1 BY id
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """How many spans there are, which share of their traces is looked at (one in so many), and where any began."""

    spans: int
    one_in: int
    observed: list[int]

    @property
    def is_whole(self) -> bool:
        """All spans are looked at."""
        return self.one_in == 1

    def caveats(self, what: str) -> list[str]:
        """What to say about it."""
        return [] if self.is_whole else [f"{what}: from one in {self.one_in} traces of the {self.spans} spans"]


def sample_of(spans: int, observed: Iterable[int]) -> Sample:
    """The share that keeps to TELEMETRY_SAMPLE_SPANS_MAX. The same data give the same sample."""
    return Sample(spans, max(1, -(-spans // TELEMETRY_SAMPLE_SPANS_MAX)), sorted(set(observed)))


def sampled_spans(buckets: Buckets, sample: Sample) -> str:
    """SELECT of the sample's spans, each once: id, parent (0: none), service, otel_kind, duration_ns, is_failed, position."""
    return _SPANS.format(
        no_parent=_NO_PARENT,
        failed=_FAILED,
        position=buckets.position("ns"),
        of=OF_TENANT,
        within=buckets.within_hours("start_time"),
        one_in=sample.one_in,
    )


def families(buckets: Buckets, sample: Sample, columns: str) -> str:
    """SELECT of `columns`, aggregates over a span's own row (`own`) and those of its children (not `own`)."""
    return f"""
SELECT {columns} FROM (
  SELECT *, arrayJoin([(id, true), (parent, false)]) AS role, role.1 AS key, role.2 AS own
  FROM ({sampled_spans(buckets, sample)}))
WHERE key != 0 GROUP BY key HAVING countIf(own) > 0
"""
