"""ports.span_failures over the spans: what failed spans say, by service and template."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from agent_tracer.server.adapters.clickhouse.engine import Engine, Row
from agent_tracer.server.adapters.clickhouse.telemetry.bodies import masked
from agent_tracer.server.adapters.clickhouse.telemetry.buckets import Buckets
from agent_tracer.server.adapters.clickhouse.telemetry.families import OF_TENANT
from agent_tracer.server.adapters.clickhouse.telemetry.reading import read
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.rca.view import ERROR_SEVERITY, LogSeries
from agent_tracer.server.limits import SPAN_FAILURES_READ_MAX
from agent_tracer.server.ports.telemetry_window import Found, SeriesPlan

_OUTLASTS_NS: Final = 300_000_000_000
"""How long after a bucket a failed child may begin of which a span in it failed."""

_CHARACTERS: Final = 300

# What kind of work failed is told with the words: "tool search failed: timeout" reads on where "timeout" does not.
_TEXT: Final = (
    "left(concat(multiIf(tool_name != '', concat('tool ', tool_name, ' failed: '), is_call, "
    "concat('call of model ', model, ' failed: '), ''), "
    "if(error_type != '' AND position(status_message, error_type) = 0, concat(error_type, ': '), ''), "
    "if(status_message != '', status_message, attributes['exception.message'])), {characters})"
)
_FAILED: Final = """
SELECT service, min(text), groupArray(position) AS positions, groupArray(failed) AS counts, sum(failed) AS whole,
  count() OVER ()
FROM (
  SELECT service, line, min(text) AS text, position, count() AS failed FROM (
    SELECT service, text, cityHash64(replaceRegexpAll(text, '[0-9a-fA-F-]*[0-9][0-9a-fA-F-]*', '#')) AS line,
      {position} AS position
    FROM (
      SELECT service, {text} AS text, toUnixTimestamp64Nano(start_time) AS ns FROM spans
      WHERE {of} AND {within} AND status = 2 AND cityHash64(trace_id, span_id) NOT IN (
        SELECT cityHash64(trace_id, parent_span_id) FROM spans WHERE {of} AND {later} AND status = 2)
      LIMIT 1 BY trace_id, span_id)
    WHERE match(text, '[[:alpha:]]'))
  GROUP BY service, line, position)
GROUP BY service, line
ORDER BY whole DESC, service, line LIMIT {limit}
"""
_OBSERVED: Final = """
SELECT groupUniqArray({position}) FROM (
  SELECT toUnixTimestamp64Nano(start_time) AS ns FROM spans WHERE {of} AND {within})
"""


class ClickHouseSpanFailures:
    """ports.span_failures.SpanFailures."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def failures(self, tenant: TenantId, plan: SeriesPlan) -> Found[LogSeries]:
        """See the port."""
        buckets = Buckets.of(plan)
        places = {
            "text": _TEXT.format(characters=_CHARACTERS),
            "position": buckets.position("ns"),
            "of": OF_TENANT,
            "within": buckets.within_hours("start_time"),
            "later": buckets.within_hours("start_time", later_ns=_OUTLASTS_NS),
            "limit": SPAN_FAILURES_READ_MAX,
        }
        rows = await read(self._engine, _FAILED.format(**places), {"tenant": tenant})
        if not rows:
            return Found(())
        ((observed,),) = await read(self._engine, _OBSERVED.format(**places), {"tenant": tenant})
        count = rows[0][-1]
        said = f"failed spans: of {count} different messages the {len(rows)} most frequent"
        return Found(_series(buckets, observed, rows), [said] if count > len(rows) else [])


def _series(buckets: Buckets, observed: Sequence[int], rows: Sequence[Row]) -> list[LogSeries]:
    sums: dict[tuple[str, str], dict[int, float]] = defaultdict(lambda: defaultdict(float))
    for service, text, positions, counts, *_ in rows:
        of = sums[_decoded(service), masked(_decoded(text))]
        for position, number in zip(positions, counts, strict=True):
            of[position] += number
    blank = buckets.blank(observed)
    return [
        LogSeries(service, template, ERROR_SEVERITY, buckets.series(blank, of.keys(), of.values()), is_of_spans=True)
        for (service, template), of in sums.items()
    ]


def _decoded(text: bytes) -> str:
    return text.decode(errors="replace")
