"""ACE, ATLAS and the correlation engine as clients of their own, over the services that AgentTracer has."""

import ssl
from functools import cached_property

from agent_tracer.betterproto.agent_tracer.v1 import AceServiceStub, CompareVersionsRequest
from agent_tracer.client.api.calls import Awaited, Blocking, Mode, Service, Unary
from agent_tracer.client.api.connection import DEFAULT_TIMEOUT_SECONDS, Connection, Settings
from agent_tracer.client.api.lifetime import AwaitedLifetime, BlockingLifetime
from agent_tracer.client.api.requests import benchmark_request
from agent_tracer.client.api.retrying import DEFAULT_RETRIES
from agent_tracer.client.api.services import AceService, AtlasService, CorrelationService
from agent_tracer.client.api.tracer import AgentTracer

__all__ = ["ACE", "ATLAS", "CorrelationEngine"]


class _Client(Service[Awaited], AwaitedLifetime):
    """One service of the server at `endpoint`, or of an AgentTracer, whose connection it uses then.

    The other arguments are AgentTracer's. Outside of `async with`, every call has a connection of its own.
    """

    def __init__(
        self,
        endpoint: str | AgentTracer | None = None,
        *,
        api_key: str | None = None,
        timeout_seconds: float | None = DEFAULT_TIMEOUT_SECONDS,
        tls: bool | ssl.SSLContext | None = None,
        retries: int = DEFAULT_RETRIES,
    ) -> None:
        if isinstance(endpoint, AgentTracer):
            AwaitedLifetime.__init__(self, endpoint.connection, owned=False)
        else:
            settings = Settings.of(endpoint, api_key=api_key, timeout_seconds=timeout_seconds, tls=tls, retries=retries)
            AwaitedLifetime.__init__(self, Connection(settings, kept=False))
        Service.__init__(self, self.connection, Awaited)


class _SyncClient(Service[Blocking], BlockingLifetime):
    def __init__(self, settings: Settings) -> None:
        BlockingLifetime.__init__(self, Connection(settings, kept=False))
        Service.__init__(self, self.connection, Blocking)


class _Ace(AceService[Mode]):
    benchmark = Unary(benchmark_request, AceServiceStub.create_benchmark, repeatable=False)
    compare = Unary(CompareVersionsRequest, AceServiceStub.compare_versions)


class SyncACE(_SyncClient, _Ace[Blocking]):
    """ACE for programs without an event loop."""


class ACE(_Client, _Ace[Awaited]):
    """How well agents perform: `await ACE().score_agent("reviewer", period="24h")`, `benchmark`, `compare`.

    `benchmark(agents=["a", "b"])` ranks agents on the tasks that they were recorded with.
    """

    @cached_property
    def sync(self) -> SyncACE:
        """The same for programs without an event loop."""
        return SyncACE(self.connection.settings)


class SyncATLAS(_SyncClient, AtlasService[Blocking]):
    """ATLAS for programs without an event loop."""


class ATLAS(_Client, AtlasService[Awaited]):
    """How agents and workflows change: `analyze_learning`, `optimize_workflow`, `get_critical_path`."""

    @cached_property
    def sync(self) -> SyncATLAS:
        """The same for programs without an event loop."""
        return SyncATLAS(self.connection.settings)


class SyncCorrelationEngine(_SyncClient, CorrelationService[Blocking]):
    """CorrelationEngine for programs without an event loop."""


class CorrelationEngine(_Client, CorrelationService[Awaited]):
    """What belongs to a trace and what caused an incident: `find_correlations`, `analyze_root_cause`."""

    @cached_property
    def sync(self) -> SyncCorrelationEngine:
        """The same for programs without an event loop."""
        return SyncCorrelationEngine(self.connection.settings)
