"""Use cases over many traces: aggregates, and the agents seen."""

import struct
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from agent_tracer.server.domain.checks import check_length
from agent_tracer.server.domain.conditions import (
    AggregateConditions,
    aggregate_interval,
    aggregate_range,
    check_group_by,
    period_range,
)
from agent_tracer.server.domain.errors import TooLargeError, Violations
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.paging import (
    Page,
    PageRequest,
    decode_token,
    encode_token,
    page_size,
    token_error,
)
from agent_tracer.server.domain.telemetry import Agent, AggregateRow
from agent_tracer.server.limits import AGGREGATE_ROWS_MAX, TEXT_LENGTH_MAX
from agent_tracer.server.ports.store import AggregateQuery, TraceReader

_CLOCK: Final = struct.Struct(">q")
"""Head of an agent list's position: the first page's clock, so that a period means the same range on all."""


class TraceStatistics:
    """Raises InvalidFieldsError, and what TraceReader raises."""

    def __init__(
        self, reader: TraceReader, clock_ns: Callable[[], int], catch_up: Callable[[], Awaitable[object]]
    ) -> None:
        """`catch_up` waits a moment for the latest spans to be counted."""
        self._reader = reader
        self._catch_up = catch_up
        self._clock_ns = clock_ns

    async def aggregate(self, tenant: TenantId, conditions: AggregateConditions) -> Sequence[AggregateRow]:
        """Rows by bucket. Raises TooLargeError where there are more than AGGREGATE_ROWS_MAX."""
        query = aggregate_query(conditions, self._clock_ns())
        await self._catch_up()
        rows = await self._reader.aggregate(tenant, query)
        if len(rows) > AGGREGATE_ROWS_MAX:
            message = f"the answer has over {AGGREGATE_ROWS_MAX} rows: group by less or widen the interval"
            raise TooLargeError(message)
        return rows

    async def agents(self, tenant: TenantId, period: str, page: PageRequest) -> Page[Agent]:
        """Agents by id; of all time where the period is empty."""
        binding = ("ListAgents", tenant, period)
        size = page_size(page)
        now_ns, after = self._clock_ns(), ""
        if page.token:
            now_ns, after = _agent_position(decode_token(binding, page.token))
        time_range = period_range(period, now_ns)
        await self._catch_up()
        found = await self._reader.agents(tenant, time_range, limit=size + 1, after=after)
        if len(found) <= size:
            return Page(found)
        last = found[size - 1].agent_id
        return Page(found[:size], encode_token(binding, _CLOCK.pack(now_ns) + last.encode()))


def aggregate_query(conditions: AggregateConditions, now_ns: int) -> AggregateQuery:
    """The checked query. Raises InvalidFieldsError with every wrong field."""
    found = Violations()
    check_group_by(found, conditions.group_by)
    check_length(found, "agent_id", conditions.agent_id, TEXT_LENGTH_MAX)
    check_length(found, "service", conditions.service, TEXT_LENGTH_MAX)
    time_range = aggregate_range(found, conditions.window, now_ns)
    interval = aggregate_interval(found, conditions.interval, time_range)
    found.raise_any()
    return AggregateQuery(
        conditions.group_by, time_range, interval, agent_id=conditions.agent_id, service=conditions.service
    )


def _agent_position(position: bytes) -> tuple[int, str]:
    try:
        (now_ns,) = _CLOCK.unpack_from(position)
        return now_ns, position[_CLOCK.size :].decode()
    except (struct.error, UnicodeDecodeError):
        raise token_error() from None
