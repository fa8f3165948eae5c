"""AgentTracer: the server's four services for programs, in asyncio and, by `.sync`, without."""

import ssl
from functools import cached_property
from typing import Generic

from agent_tracer.client.api.calls import Awaited, Blocking, Mode
from agent_tracer.client.api.connection import DEFAULT_TIMEOUT_SECONDS, Connection, Settings
from agent_tracer.client.api.lifetime import AwaitedLifetime, BlockingLifetime
from agent_tracer.client.api.retrying import DEFAULT_RETRIES
from agent_tracer.client.api.services import AceService, AtlasService, CorrelationService, TraceService

__all__ = ["AgentTracer", "SyncAgentTracer"]


class _Services(Generic[Mode]):
    def __init__(self, connection: Connection, mode: type[Mode]) -> None:
        self.traces = TraceService(connection, mode)
        self.ace = AceService(connection, mode)
        self.atlas = AtlasService(connection, mode)
        self.correlation = CorrelationService(connection, mode)


class AgentTracer(_Services[Awaited], AwaitedLifetime):
    """The server's services over one connection: `traces`, `ace`, `atlas` and `correlation`.

        async with AgentTracer("127.0.0.1:50051") as tracer:
            trace = await tracer.traces.get_trace("my-first-trace")

    `endpoint` is `host:port` or a URL, AGENT_TRACER_URL where absent, and the gRPC port of this machine without that;
    `api_key` is AGENT_TRACER_API_KEY where absent. `timeout_seconds` is the deadline of every call that is given none,
    retries included (streams have none then); `tls` goes by the endpoint's scheme where absent, and may be an
    ssl.SSLContext. Nothing is connected before the first call. Raises ValueError; calls raise
    AgentTracerError.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        *,
        api_key: str | None = None,
        timeout_seconds: float | None = DEFAULT_TIMEOUT_SECONDS,
        tls: bool | ssl.SSLContext | None = None,
        retries: int = DEFAULT_RETRIES,
    ) -> None:
        self.settings = Settings.of(
            endpoint, api_key=api_key, timeout_seconds=timeout_seconds, tls=tls, retries=retries
        )
        AwaitedLifetime.__init__(self, Connection(self.settings))
        _Services.__init__(self, self.connection, Awaited)

    @property
    def endpoint(self) -> str:
        """Where the server is: `host:port`, after https:// where TLS is spoken by the endpoint's scheme."""
        return str(self.settings.endpoint)

    @cached_property
    def sync(self) -> "SyncAgentTracer":
        """The same for programs without an event loop, over a connection of its own."""
        return SyncAgentTracer(self.settings)


class SyncAgentTracer(_Services[Blocking], BlockingLifetime):
    """AgentTracer for programs without an event loop: calls block, streams are generators.

        with AgentTracer("127.0.0.1:50051").sync as tracer:
            trace = tracer.traces.get_trace("my-first-trace")

    Threads may share one. Under a running event loop it works too, and holds that loop up.
    """

    def __init__(self, settings: Settings) -> None:
        BlockingLifetime.__init__(self, Connection(settings))
        _Services.__init__(self, self.connection, Blocking)
