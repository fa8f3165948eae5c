"""The loader: what it asks of the store, in which order, and what it does when something is in its way."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from agent_tracer.server.adapters.journal import FileJournal
from agent_tracer.server.domain.pricing import Rate
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.limits import KNOWN_MODELS_MAX, MODEL_PAIRS_PER_COMMIT_MAX
from agent_tracer.server.ports.journal import Record
from agent_tracer.server.ports.store import StoreDownError, TooMuchDataError
from agent_tracer.server.services.commits import CommitListener
from agent_tracer.server.services.loader import Loader
from agent_tracer.server.services.price_book import PriceBook
from tests.fixtures.load import REQUESTS
from tests.fixtures.loading import BAD, TENANT, ListStore, loader_over

WAIT_SECONDS = 60


@dataclass
class Bench:
    """A data directory whose loader can be made anew, as after a restart."""

    folder: Path
    store: ListStore = field(default_factory=ListStore)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    listeners: list[CommitListener] = field(default_factory=list)

    @asynccontextmanager
    async def journal(self) -> AsyncIterator[FileJournal]:
        journal = await asyncio.to_thread(FileJournal.open, self.folder / "journal")
        try:
            yield journal
        finally:
            await journal.aclose()

    @asynccontextmanager
    async def loading(self, journal: FileJournal) -> AsyncIterator[Loader]:
        """A running loader, cancelled at the end: as in a crash, it does not finish what it has begun."""
        self.registry = CollectorRegistry()
        loader = loader_over(self.folder, journal, self.store, listeners=self.listeners, registry=self.registry)
        task = asyncio.create_task(loader.run())
        try:
            yield loader
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def count(self, name: str, signal: Signal) -> float:
        value = self.registry.get_sample_value(f"agent_tracer_{name}_total", {"signal": signal.name.lower()})
        assert value is not None
        return value


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent_tracer.server.services.loader.LOAD_RETRY_SECONDS", 0.3)
    monkeypatch.setattr("agent_tracer.server.services.loader.LOAD_LISTENER_SECONDS", 0.1)


async def append(journal: FileJournal, *payloads: bytes, signal: Signal = Signal.TRACES) -> None:
    for payload in payloads:
        await journal.append(signal, TENANT, time.time_ns(), payload)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


async def test_everything_in_the_journal_is_inserted_once_and_in_order_by_signal(bench: Bench) -> None:
    async with bench.journal() as journal, bench.loading(journal) as loader:
        for number in range(5):
            await append(journal, b"span %d" % number)
            await append(journal, b"log %d" % number, signal=Signal.LOGS)
        await loader.wait_loaded(journal.durable_end)
        assert bench.store.payloads(Signal.TRACES) == [b"span %d" % n for n in range(5)]
        assert bench.store.payloads(Signal.LOGS) == [b"log %d" % n for n in range(5)]
        assert loader.state.loaded == journal.durable_end
        assert loader.state.behind_seconds == 0


async def test_after_a_crash_the_same_range_is_inserted_with_the_same_token_though_more_has_come(
    bench: Bench,
) -> None:
    bench.store.fail_with = [StoreDownError("the connection broke; nobody knows what was stored")]
    async with bench.journal() as journal:
        await append(journal, b"a", b"b")
        async with bench.loading(journal):
            await until(lambda: len(bench.store.attempts) == 1)
    async with bench.journal() as journal:
        await append(journal, b"c", b"d")
        async with bench.loading(journal) as loader:
            await loader.wait_loaded(journal.durable_end)
    (first, first_again), (second, second_again), (third, third_again) = bench.store.attempts
    assert first == second
    assert (first_again, second_again, third_again) == (False, True, False)
    assert third != first
    assert bench.store.payloads(Signal.TRACES) == [b"a", b"b", b"c", b"d"]


async def test_a_journal_begun_anew_does_not_repeat_tokens_nor_hold_up_the_loader(bench: Bench) -> None:
    for folder in ("old", "journal"):
        async with bench.journal() as journal:
            await append(journal, *[b"the same bytes"] * (3 if folder == "old" else 1))
            async with bench.loading(journal) as loader:
                await loader.wait_loaded(journal.durable_end)
        if folder == "old":
            (bench.folder / "journal").rename(bench.folder / "lost")
    assert len(bench.store.records) == 4


async def test_a_refused_request_stands_alone_in_quarantine_and_its_neighbours_are_stored(bench: Bench) -> None:
    good = [REQUESTS[Signal.TRACES]([f"{n}", f"{n}+"]).SerializeToString() for n in range(20)]
    async with bench.journal() as journal:
        await append(journal, *good[:7], BAD, *good[7:12], BAD, *good[12:])
        async with bench.loading(journal) as loader:
            await loader.wait_loaded(journal.durable_end)
    assert bench.store.payloads(Signal.TRACES) == good
    assert [r.payload for r in bench.store.quarantined] == [BAD, BAD]
    assert bench.count("stored", Signal.TRACES) == 40
    assert bench.count("loaded_requests", Signal.TRACES) == 20
    assert bench.count("quarantined_requests", Signal.TRACES) == 2


async def test_bisection_takes_the_same_halves_after_a_crash(bench: Bench) -> None:
    async with bench.journal() as journal:
        await append(journal, b"a", b"b", b"c", BAD, b"d", b"e")
        bench.store.gate.clear()
        async with bench.loading(journal):
            await bench.store.inserting.wait()
            bench.store.gate.set()
            await until(lambda: len(bench.store.attempts) >= 3)
    async with bench.journal() as journal, bench.loading(journal) as loader:
        await append(journal, b"f")
        await loader.wait_loaded(journal.durable_end)
    assert sorted(bench.store.payloads(Signal.TRACES)) == [b"a", b"b", b"c", b"d", b"e", b"f"]


async def test_a_store_that_is_down_is_told_to_readers_and_asked_again(bench: Bench) -> None:
    bench.store.fail_with = [StoreDownError("no answer")]
    async with bench.journal() as journal, bench.loading(journal) as loader:
        await append(journal, b"a")
        with pytest.raises(StoreDownError, match="no answer"):
            await loader.wait_loaded(journal.durable_end)
        assert loader.state.trouble == "no answer"
        await until(lambda: loader.state.trouble == "")
        await loader.wait_loaded(journal.durable_end)
    assert bench.store.payloads(Signal.TRACES) == [b"a"]


@pytest.mark.parametrize("error", [TooMuchDataError("memory"), ValueError("a defect"), OSError(28, "disk full")])
async def test_no_error_ends_the_loader_or_costs_a_request(bench: Bench, error: Exception) -> None:
    bench.store.fail_with = [error]
    async with bench.journal() as journal, bench.loading(journal) as loader:
        await append(journal, b"a", b"b")
        await until(lambda: loader.state.trouble != "")
        await append(journal, b"c")
        await until(lambda: loader.state.trouble == "")
        await loader.wait_loaded(journal.durable_end)
    assert bench.store.payloads(Signal.TRACES) == [b"a", b"b", b"c"]
    assert bench.store.quarantined == []


class Broken:
    """A CommitListener that fails."""

    async def committed(self, records: Sequence[Record]) -> None:
        raise ValueError(records)


class Stuck:
    """A CommitListener that never comes back."""

    async def committed(self, records: Sequence[Record]) -> None:
        await asyncio.Event().wait()


@pytest.mark.parametrize("listener", [Broken(), Stuck()])
async def test_a_listener_cannot_hold_up_or_end_loading(bench: Bench, listener: CommitListener) -> None:
    bench.listeners = [listener]
    async with bench.journal() as journal, bench.loading(journal) as loader:
        for payload in (b"a", b"b"):
            await append(journal, payload)
            async with asyncio.timeout(WAIT_SECONDS):
                await loader.wait_loaded(journal.durable_end)
    assert bench.store.payloads(Signal.TRACES) == [b"a", b"b"]


class Noting:
    """A CommitListener that takes its time."""

    def __init__(self) -> None:
        self.noted: list[bytes] = []

    async def committed(self, records: Sequence[Record]) -> None:
        await asyncio.sleep(0.02)
        self.noted += [record.payload for record in records]


async def test_a_read_that_waits_goes_on_when_every_listener_was_told(bench: Bench) -> None:
    first, last = Noting(), Noting()
    bench.listeners = [first, last]
    async with bench.journal() as journal, bench.loading(journal) as loader:
        await append(journal, b"a")
        await loader.wait_loaded(journal.durable_end)
        assert (first.noted, last.noted) == ([b"a"], [b"a"])
        await append(journal, b"b")
        await until(lambda: loader.is_loaded(journal.durable_end))
        assert (first.noted, last.noted) == ([b"a", b"b"], [b"a", b"b"])


async def test_closing_the_journal_loads_what_it_still_holds_and_ends_the_loader(bench: Bench) -> None:
    async with bench.journal() as journal:
        loader = loader_over(bench.folder, journal, bench.store)
        await append(journal, b"a", b"b")
        task = asyncio.create_task(loader.run())
        await journal.aclose()
        async with asyncio.timeout(WAIT_SECONDS):
            await task
    assert bench.store.payloads(Signal.TRACES) == [b"a", b"b"]


async def test_closing_ends_the_loader_of_a_store_that_is_down_and_the_next_start_loads_the_rest(bench: Bench) -> None:
    bench.store.fail_with = [StoreDownError("no answer")] * 2
    async with bench.journal() as journal:
        loader = loader_over(bench.folder, journal, bench.store)
        await append(journal, b"a")
        task = asyncio.create_task(loader.run())
        await until(lambda: loader.state.trouble != "")
        await journal.aclose()
        async with asyncio.timeout(WAIT_SECONDS):
            await task
    async with bench.journal() as journal, bench.loading(journal) as loader:
        await loader.wait_loaded(journal.durable_end)
    assert bench.store.payloads(Signal.TRACES) == [b"a"]


async def test_requests_that_come_together_are_committed_together(bench: Bench) -> None:
    async with bench.journal() as journal:
        await append(journal, *(b"%d" % n for n in range(50)))
        async with bench.loading(journal) as loader:
            await loader.wait_loaded(journal.durable_end)
    assert len(bench.store.attempts) == 1


async def test_state_tells_for_how_long_the_store_has_been_behind(bench: Bench) -> None:
    bench.store.gate.clear()
    async with bench.journal() as journal, bench.loading(journal) as loader:
        await append(journal, b"a")
        await until(lambda: loader.state.behind_seconds > 0.05)
        bench.store.gate.set()
        await loader.wait_loaded(journal.durable_end)
        assert loader.state.behind_seconds == 0


@dataclass
class Prices:
    """A PriceSource that has a rate for every model, and keeps what it was asked."""

    asked: list[tuple[str, str]] = field(default_factory=list)

    def rates(self, provider: str, model: str) -> tuple[Rate, ...]:
        self.asked.append((provider, model))
        return (Rate(0, 0, 0, 0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0),)


async def test_a_model_is_looked_up_once() -> None:
    prices, store = Prices(), ListStore()
    book = PriceBook(prices, store, lambda _: (frozenset({"m"}), frozenset({"p"})))
    for _ in range(3):
        await book.learn([b"request"])
    assert sorted(prices.asked) == [("", "m"), ("p", "m")]
    assert len(store.rates) == 2


async def test_invented_names_of_models_and_providers_cost_a_bounded_time_and_a_bounded_store() -> None:
    prices, store = Prices(), ListStore()
    calls = iter(range(1_000))

    def scan(_: bytes) -> tuple[frozenset[str], frozenset[str]]:
        call = next(calls)
        return frozenset(f"m{call}-{n}" for n in range(10_000)), frozenset(f"p{call}-{n}" for n in range(10_000))

    book = PriceBook(prices, store, scan)
    await book.learn([b"request"])
    assert len(prices.asked) == MODEL_PAIRS_PER_COMMIT_MAX
    for _ in range(20):
        await book.learn([b"request"])
    assert len(store.rates) == KNOWN_MODELS_MAX


async def test_spans_do_not_wait_for_prices_that_cannot_be_found(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    def broken(_: bytes) -> tuple[frozenset[str], frozenset[str]]:
        raise ValueError("a defect")

    async with bench.journal() as journal:
        loader = loader_over(tmp_path, journal, bench.store, prices=PriceBook(Prices(), bench.store, broken))
        await append(journal, b"a")
        task = asyncio.create_task(loader.run())
        await loader.wait_loaded(journal.durable_end)
        await journal.aclose()
        await task
    assert bench.store.payloads(Signal.TRACES) == [b"a"]
