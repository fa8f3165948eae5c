"""The composition root: the only file that knows every adapter."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from typing import Final

from prometheus_client.registry import CollectorRegistry

from agent_tracer.server import limits
from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.adapters.clickhouse.load import ClickHouseLoader
from agent_tracer.server.adapters.clickhouse.schema import Retention, prepare
from agent_tracer.server.adapters.clickhouse.settle import ClickHouseSettler
from agent_tracer.server.adapters.clickhouse.store import ClickHouseStore
from agent_tracer.server.adapters.data_directory import (
    DataDirectory,
    FileLoadIntent,
    files_usable,
    locked_directory,
    own_temporary_files,
)
from agent_tracer.server.adapters.envoy.plan import SERVICES, Plan, plan_of
from agent_tracer.server.adapters.envoy.process import EnvoyProcess
from agent_tracer.server.adapters.journal import FileJournal
from agent_tracer.server.adapters.journal_metrics import JournalCollector
from agent_tracer.server.adapters.prometheus import PrometheusMetrics
from agent_tracer.server.adapters.rpc_metrics import PrometheusRpcs
from agent_tracer.server.adapters.score_metrics import PrometheusScores
from agent_tracer.server.adapters.work_metrics import PrometheusWork
from agent_tracer.server.api.discovery import Ports
from agent_tracer.server.api.grpc_server import (
    GrpcServer,
    Service,
    handler_service,
)
from agent_tracer.server.api.http import combined_app, ops_app, otlp_app, serve
from agent_tracer.server.api.listening import ListenAddress, bound_socket, check_free
from agent_tracer.server.api.otlp_grpc import otlp_handlers
from agent_tracer.server.config import Settings
from agent_tracer.server.correlation import correlating_of
from agent_tracer.server.exporting import ExporterError, Exporting, exporting_of
from agent_tracer.server.lifecycle import (
    EnvoyKeeper,
    PartFailedError,
    Parts,
    StoreCheck,
    ended,
    free_bytes,
    journal_health,
    loader_health,
    watch,
)
from agent_tracer.server.ports.journal import JournalReader
from agent_tracer.server.ports.prices import PriceSource
from agent_tracer.server.ports.store import StoreDownError
from agent_tracer.server.services.commit_feed import CommitFeed
from agent_tracer.server.services.health import Component, Readiness
from agent_tracer.server.services.ingest import Ingest
from agent_tracer.server.services.loaded_reads import LoadedReads
from agent_tracer.server.services.loader import Loader
from agent_tracer.server.services.price_book import PriceBook, Scan
from agent_tracer.server.services.settler import Settler
from agent_tracer.server.services.trace_feed import TraceBroadcast
from agent_tracer.server.services.waiting_requests import WaitingRequests
from agent_tracer.server.services.work_counts import WorkCounts
from agent_tracer.server.similarity import similarity_of
from agent_tracer.server.wiring import Shared, score_publisher, services_on

__all__ = ["ALL_LISTENERS", "CannotStartError", "PartFailedError", "Started", "running"]

_LOADER: Final = "loader"
ALL_LISTENERS: Final = tuple(SERVICES)


@dataclass(frozen=True, slots=True)
class Started:
    """What a started server listens on, for the banner. `left_out` are ports that are off, with the reason."""

    settings: Settings
    listeners: Sequence[str]
    left_out: Sequence[str]
    seconds: float
    failure: "asyncio.Future[None]"

    async def until(self, stop: asyncio.Event) -> None:
        """Return when `stop` is set. Raises PartFailedError as soon as the server cannot go on."""
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((stopped, self.failure), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
        if self.failure.done():
            self.failure.result()


@dataclass(frozen=True, slots=True)
class _Opened:
    """What is read from disk before anything can run."""

    engine: Engine
    journal: FileJournal
    reader: JournalReader
    intent: FileLoadIntent
    exporting: Exporting
    prices: PriceSource
    scan_models: Scan


class CannotStartError(Exception):
    """Something outside of the server is not as it must be; the text says what, and which setting names it."""


@asynccontextmanager
async def running(settings: Settings, listeners: Iterable[str] = ALL_LISTENERS) -> AsyncIterator[Started]:
    """A server from the first port to the last flush.

    Entering returns when every port answers. Leaving refuses new work, answers what is under way, brings the
    journal into the store and lets go of the data directory. Raises DataDirectoryError, CannotListenError,
    EnvoyError, StoreTooNewError, JournalFormatError, CannotStartError.
    """
    began = time.perf_counter()
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(locked_directory(settings.data_dir))
        with files_usable(directory):
            stack.enter_context(own_temporary_files(directory))
        server = _Server(settings, tuple(listeners), directory)
        yield await server.start(stack, began)


class _Server:
    """The parts, put together. Each is entered on the stack, so that they end in the reverse order."""

    def __init__(self, settings: Settings, listeners: Sequence[str], directory: DataDirectory) -> None:
        self._settings = settings
        self._listeners = listeners
        self._directory = directory
        self._addresses = _addresses(settings)
        self._registry = CollectorRegistry()
        self._metrics = PrometheusMetrics(self._registry)
        self._readiness = Readiness()
        self._feed = TraceBroadcast()
        self._parts = Parts()
        self._stops: list[Callable[[], Awaitable[None]]] = []

    async def start(self, stack: AsyncExitStack, began: float) -> Started:
        front = bound_socket(ListenAddress("127.0.0.1", 0, ""))
        stack.callback(front.close)
        plan = plan_of(self._settings, listeners=self._listeners, descriptor_path="", http_port=_port(front))
        in_envoy = (ListenAddress(at.address.host, at.address.port, at.setting) for at in plan.listeners)
        for address in (*in_envoy, *self._addresses.values()):
            check_free(address)  # before the store is opened, which takes seconds
        # Envoy and the store take a second each to start: together they take one.
        envoy = self._envoy(plan)
        stack.push_async_callback(envoy.stop)
        envoy.begin()
        ingest, services = await self._open(stack)
        grpc = await self._serve_grpc(stack, ingest, services)
        await self._serve_http(stack, front, ingest)
        await envoy.ready()
        stack.push_async_callback(self._take_no_more, envoy, grpc)
        self._report("server", Component(ok=True, detail=""))
        await grpc.set_serving(serving=True)
        seconds = time.perf_counter() - began
        return Started(self._settings, self._listeners, self._left_out(), seconds, self._parts.failure)

    async def _take_no_more(self, envoy: EnvoyKeeper, grpc: GrpcServer) -> None:
        """Not ready; then everything that takes calls finishes them, all at once."""
        self._report("server", Component(ok=False, detail="the server is stopping"))
        await grpc.set_serving(serving=False)
        self._feed.close()
        leaving = asyncio.create_task(envoy.stop())
        await asyncio.wait((leaving,), timeout=limits.STOP_HEAD_START_SECONDS)
        await asyncio.gather(leaving, *(stop() for stop in self._stops))

    def _envoy(self, plan: Plan) -> EnvoyKeeper:
        descriptors = _descriptor_set()
        return EnvoyKeeper(lambda: EnvoyProcess(plan, descriptors), lambda state: self._report("envoy", state))

    def _report(self, part: str, state: Component) -> None:
        self._readiness.report(part, ok=state.ok, detail=state.detail)

    async def _open(self, stack: AsyncExitStack) -> tuple[Ingest, Sequence[Service]]:
        """The journal, the store and the tasks between them."""
        opened = await self._open_files(stack)
        engine, journal, reader, exporting = opened.engine, opened.journal, opened.reader, opened.exporting
        feed = CommitFeed(ClickHouseStore(engine), self._feed)
        stack.push_async_callback(ended, self._parts.start(feed.run(), "the feed of live tails"))
        similarity = similarity_of(stack, self._settings, self._directory, engine)
        stack.push_async_callback(ended, self._parts.start(similarity.indexer.run(), "the indexer of traces"))
        loading = ClickHouseLoader(engine)
        settler = Settler(ClickHouseSettler(engine, self._work_counts()))
        stack.push_async_callback(ended, self._parts.start(settler.run(), "the settler"))
        correlating = correlating_of(stack, self._settings, self._directory, engine, settler)
        scores, weights = PrometheusScores(self._registry), self._settings.analytics.evaluation_weights
        publisher = score_publisher(engine, settler, scores, weights)
        for work, name in (*correlating.tasks(), (publisher.run(), "the publisher of scores")):
            stack.push_async_callback(ended, self._parts.start(work, name))
        waiting = WaitingRequests(reader.committed, journal.durable_end, limits.WAITING_REQUESTS_BYTES_MAX)
        loader = Loader(
            journal=journal,
            reader=reader,
            store=loading,
            intent=opened.intent,
            prices=PriceBook(opened.prices, loading, opened.scan_models),
            metrics=self._metrics,
            # The settler before those who wait for it in what a commit wakes them to.
            listeners=[waiting, settler, similarity.indexer, publisher, *correlating.listeners, feed],
        )
        self._registry.register(JournalCollector(journal.stats))
        # Closing the journal tells the loader and the exporters to finish.
        exporters = [self._parts.start(work, name) for work, name in exporting.tasks()]
        stack.push_async_callback(exporting.finish, exporters)
        stack.push_async_callback(_finish, self._parts.start(loader.run(), "the loader"))
        stack.push_async_callback(journal.aclose)
        self._watch(stack, journal, loader, engine, exporting)
        ingest = Ingest(journal, time.time_ns, self._metrics, waiting)
        loaded = LoadedReads(journal, loader, waiting)
        shared = Shared(
            engine=engine,
            ingest=ingest,
            loaded=loaded,
            settler=settler,
            similarity=similarity,
            correlating=correlating,
            feed=self._feed,
            scores=scores,
            evaluation_weights=weights,
        )
        return ingest, services_on(shared)

    async def _open_files(self, stack: AsyncExitStack) -> "_Opened":
        """At once, for each takes part of a second."""
        stored = self._settings.store
        retention = Retention(stored.retention_days, stored.rollup_retention_days)
        with files_usable(self._directory):
            engine = Engine.open(stored.url, self._directory.store)
            stack.push_async_callback(asyncio.to_thread, engine.close)
            (prices, scan_models), journal, _ = await asyncio.gather(
                asyncio.to_thread(_pricing),
                asyncio.to_thread(
                    FileJournal.open, self._directory.journal, bytes_max=int(self._settings.journal.max_bytes)
                ),
                _prepared(engine, retention),
            )
            reader = journal.reader(_LOADER, required=True)
            exporting = await self._exporting(journal)
            journal.forget_unopened()
            intent = FileLoadIntent(self._directory.root)
        return _Opened(engine, journal, reader, intent, exporting, prices, scan_models)

    def _work_counts(self) -> WorkCounts:
        metrics = PrometheusWork()
        counts = WorkCounts(metrics)
        metrics.before_collect = counts.count_rested
        self._registry.register(metrics)
        return counts

    async def _exporting(self, journal: FileJournal) -> Exporting:
        try:
            return await exporting_of(self._settings, journal, self._registry)
        except ExporterError as error:
            await journal.aclose()
            raise CannotStartError(str(error)) from None

    def _watch(
        self, stack: AsyncExitStack, journal: FileJournal, loader: Loader, engine: Engine, exporting: Exporting
    ) -> None:
        """Keep what /readyz says true."""

        async def of_journal() -> Component:
            stats = journal.stats()
            lag_bytes = stats.durable_end - loader.state.loaded
            return journal_health(stats, lag_bytes=lag_bytes, free_bytes=free_bytes(self._directory.root))

        async def of_loader() -> Component:
            return loader_health(loader.state)

        of_store = StoreCheck(lambda: engine.rows("SELECT 1"), every=limits.STORE_CHECK_TURNS)
        own = (("journal", of_journal), ("loader", of_loader), ("store", of_store))
        watching = watch(self._readiness, [*own, *exporting.checks()])
        stack.push_async_callback(ended, self._parts.start(watching, "the watch"))

    async def _serve_grpc(self, stack: AsyncExitStack, ingest: Ingest, services: Sequence[Service]) -> GrpcServer:
        telemetry: Sequence[Service] = [handler_service(h) for h in otlp_handlers(ingest)]
        everything = [*services, *telemetry]
        on_call = PrometheusRpcs(self._registry)
        servers = [GrpcServer(everything, [self._addresses["tracer.grpc_port"]], on_call=on_call)]
        if address := self._addresses.get("otlp.grpc_port"):
            servers.append(GrpcServer(telemetry, [address], on_call=on_call))
        for server in servers:
            stop = partial(server.stop, limits.STOP_CALLS_SECONDS)
            stack.push_async_callback(stop)
            self._stops.append(stop)
            await server.start(serving=server is not servers[0])
        return servers[0]

    async def _serve_http(self, stack: AsyncExitStack, front: socket.socket, ingest: Ingest) -> None:
        apps = [(combined_app(ingest, self._registry, self._readiness, ports=self._ports()), front)]
        if address := self._addresses.get("otlp.http_port"):
            apps.append((otlp_app(ingest), bound_socket(address)))
        if address := self._addresses.get("metrics.prometheus.port"):
            apps.append((ops_app(self._registry, self._readiness), bound_socket(address)))
        for app, listener in apps:
            listener.listen()  # not first in the task: who reads that the server is ready may connect
            done = asyncio.Event()
            stop = partial(_stop, done, self._parts.start(serve(app, [listener], stop=done), "an HTTP listener"))
            stack.push_async_callback(stop)
            self._stops.append(stop)

    def _ports(self) -> Ports:
        tracer = self._settings.tracer
        offered = {
            "rest": ("tracer", tracer.port),
            "ace": ("ace", tracer.ace_port),
            "atlas": ("atlas", tracer.atlas_port),
        }
        answered = {name: port if of in self._listeners else None for name, (of, port) in offered.items()}
        return Ports(**answered, grpc=tracer.grpc_port)

    def _left_out(self) -> list[str]:
        otlp = self._settings.otlp
        ports = ((otlp.grpc_port, "OTLP gRPC"), (otlp.http_port, "OTLP HTTP")) if otlp.enabled else ()
        return [
            f"{name} is not on port {port}: exporters.{exporter} sends there"
            for port, name in ports
            if (exporter := self._settings.exporter_at(port)) is not None
        ]


def _addresses(settings: Settings) -> Mapping[str, ListenAddress]:
    """Where the server itself listens, by the setting that has the port."""
    ports = {"tracer.grpc_port": settings.tracer.grpc_port}
    if settings.otlp.enabled:
        own = {"otlp.grpc_port": settings.otlp.grpc_port, "otlp.http_port": settings.otlp.http_port}
        ports.update({name: port for name, port in own.items() if settings.exporter_at(port) is None})
    if settings.metrics.prometheus.enabled:
        ports["metrics.prometheus.port"] = settings.metrics.prometheus.port
    return {name: ListenAddress(settings.tracer.host, port, name) for name, port in ports.items()}


async def _prepared(engine: Engine, retention: Retention) -> None:
    try:
        await engine.write(lambda client: prepare(client, retention))
    except StoreDownError:
        raise CannotStartError(
            "the store cannot be used, as the log says just above: see to the one that store.url names"
        ) from None


def _pricing() -> tuple[PriceSource, Scan]:
    """Imported here, while the store opens: numpy and the price list take half a second."""
    from agent_tracer.server.adapters.model_scan import scan_models  # noqa: PLC0415 - see above
    from agent_tracer.server.adapters.prices import GenaiPrices  # noqa: PLC0415 - see above

    return GenaiPrices(), scan_models


async def _finish(task: "asyncio.Task[None]") -> None:
    """Wait for a task that is ending; what it leaves undone, the next start does."""
    await asyncio.wait((task,), timeout=limits.STOP_DRAIN_SECONDS)
    task.cancel()


async def _stop(stop: asyncio.Event, serving: "asyncio.Task[None]") -> None:
    stop.set()
    await asyncio.wait((serving,))


def _port(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


def _descriptor_set() -> bytes:
    return files("agent_tracer.descriptors").joinpath("api.binpb").read_bytes()
