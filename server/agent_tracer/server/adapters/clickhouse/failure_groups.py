"""Groups of failed runs in a range, with all runs of their agents beside them: one statement."""

from collections.abc import Sequence
from typing import Any, Final

from agent_tracer.server.adapters.clickhouse.engine import Engine, Row
from agent_tracer.server.domain.failures.signatures import Signature
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.limits import FAILURE_GROUP_AGENTS_MAX, FAILURE_GROUP_SAMPLES, TRACE_QUIET_SECONDS
from agent_tracer.server.ports.failures import GroupCursor, GroupQuery, GroupRow

_FROM: Final = "fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')"
_TO: Final = "fromUnixTimestamp64Nano({to_ns:Int64}, 'UTC')"


def _bucket(start_ns: str) -> str:
    return f"intDiv({start_ns} - {{from_ns:Int64}}, {{width_ns:Int64}})"


# A run without a root counts once nothing more comes of it (traces._SUMMARY).
_KEPT: Final = f"""
SELECT group_id, step_kind, step_name, error_type, message_template, agents, cost, start_time,
  toUnixTimestamp64Nano(start_time) AS start_ns, caller_trace_id, start_time >= {_FROM} AS is_within
FROM failures FINAL
WHERE tenant = {{tenant:String}} AND is_failed AND start_time < {_TO} AND ({{agent:String}} = '' OR has(agents, {{agent:String}}))
  AND (is_rooted OR received_at < now64() - INTERVAL {TRACE_QUIET_SECONDS} SECOND)
"""
_AGENTS: Final = 9
"""Place of `group_agents` in a row of the page."""

_PAGE: Final = f"""
SELECT group_id, any(step_kind) AS kind, any(step_name) AS step, any(error_type) AS error, any(message_template) AS message,
  countIf(is_within) AS count, min(start_ns) AS first_ns, max(start_ns) AS last_ns,
  arraySort(groupUniqArrayArrayIf({FAILURE_GROUP_AGENTS_MAX})(agents, is_within)) AS group_agents,
  sumIf(cost, is_within) AS group_cost,
  arrayMap(s -> s.2, groupArraySortedIf({FAILURE_GROUP_SAMPLES})((-start_ns, caller_trace_id), is_within)) AS samples,
  sumMapIf([{_bucket("start_ns")}], [1], is_within) AS counts
FROM ({_KEPT}) GROUP BY group_id
HAVING count > 0 AND (count, {{after_id:String}}) < ({{after_count:UInt64}}, group_id)
ORDER BY count DESC, group_id LIMIT {{limit:UInt32}}
"""

# Runs are counted by who took part, then by which of the page's agents these are: as many sets as there are crews. The
# page is a scalar, which is computed once.
_GROUPS: Final = f"""
WITH
  (SELECT groupArray(tuple(*)) FROM ({_PAGE})) AS page,
  (SELECT groupUniqArrayArray(one.{_AGENTS}) FROM (SELECT arrayJoin(page) AS one)) AS page_agents,
  (SELECT groupArray((bucket, crew, runs)) FROM (
    SELECT bucket, arraySort(arrayIntersect(team, page_agents)) AS crew, sum(teams.runs) AS runs FROM (
      SELECT bucket, team, count() AS runs FROM (
        SELECT {_bucket("toUnixTimestamp64Nano(min(start_time))")} AS bucket, groupUniqArrayArray(agents) AS team
        FROM traces WHERE tenant = {{tenant:String}} AND start_time >= {_FROM} AND start_time < {_TO}
          AND ({{agent:String}} = '' OR trace_id IN (
            SELECT trace_id FROM traces WHERE tenant = {{tenant:String}} AND has(agents, {{agent:String}})
              AND start_time >= {_FROM} AND start_time < {_TO}))
        GROUP BY trace_id
      ) GROUP BY bucket, team
    ) AS teams GROUP BY bucket, crew
  )) AS crews
SELECT one, arrayReduce('sumMap', arrayMap(c -> [c.1], of_group), arrayMap(c -> [c.3], of_group)) AS runs
FROM (
  SELECT arrayJoin(page) AS one, arrayFilter(c -> empty(one.{_AGENTS}) OR hasAny(c.2, one.{_AGENTS}), crews) AS of_group
)
"""


async def read_groups(
    engine: Engine, tenant: TenantId, query: GroupQuery, limit: int, after: GroupCursor | None
) -> Sequence[GroupRow]:
    """See ports.failures.FailureStore.groups."""
    values: dict[str, Any] = {
        "tenant": tenant,
        "agent": query.agent_id,
        "from_ns": query.time_range.start_ns,
        "to_ns": query.time_range.end_ns,
        "width_ns": query.bucket_ns,
        "after_count": after.runs if after else 2**63,
        "after_id": after.group_id if after else "",
        "limit": limit,
    }
    found = [_group(row, query.buckets) for row in await engine.rows(_GROUPS, values)]
    return sorted(found, key=lambda group: (-group.count, group.signature.group_id))


def _group(row: Row, buckets: int) -> GroupRow:
    (group_id, kind, name, error, message, count, first_ns, last_ns, agents, cost, samples, counts), runs = row
    return GroupRow(
        Signature(_text(kind), _text(name), _text(error), _text(message), _text(group_id)),
        count=count,
        first_ns=first_ns,
        last_ns=last_ns,
        agents=[_text(agent) for agent in agents],
        cost=cost,
        trace_ids=[_text(sample) for sample in samples],
        counts=_by_bucket(counts, buckets),
        runs=_by_bucket(runs, buckets),
    )


def _by_bucket(found: tuple[Sequence[int], Sequence[int]], buckets: int) -> Sequence[int]:
    listed = [0] * buckets
    for bucket, count in zip(*found, strict=True):
        listed[min(bucket, buckets - 1)] += count
    return listed


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
