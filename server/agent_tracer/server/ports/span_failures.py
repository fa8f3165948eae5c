"""What failed spans say, as series. Every call is of one tenant."""

from typing import Protocol

from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.rca.view import LogSeries
from agent_tracer.server.ports.telemetry_window import Found, SeriesPlan


class SpanFailures(Protocol):
    """Words of failed spans, as logs have them: agents tell of rate limits and failed tools in their spans alone."""

    async def failures(self, tenant: TenantId, plan: SeriesPlan) -> Found[LogSeries]:
        """Failed spans by service and template of error type, tool and message; severity: that of an error.

        A failure that spans pass on to their callers counts where it began. Counts are whole, 0 where no span of
        the template failed in a bucket with spans. Raises as TelemetryWindow does.
        """
        ...
