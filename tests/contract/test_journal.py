"""What every Journal promises, and its binding for FileJournal."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import pytest

from agent_tracer.server.adapters.journal import FileJournal, JournalStats
from agent_tracer.server.domain.ids import DEFAULT_TENANT, TenantId
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.limits import JOURNAL_QUEUE_BYTES_MAX, MESSAGE_BYTES_MAX
from agent_tracer.server.ports.journal import (
    Journal,
    JournalClosedError,
    JournalFullError,
    JournalReader,
    Position,
    Record,
)

WAIT_SECONDS = 60
SMALL_BUDGET = 200_000
SMALL_SEGMENT = 20_000


class OpenJournal(Journal, Protocol):
    """A Journal with the life cycle and the figures that the suite needs of every adapter."""

    def close(self) -> None: ...
    async def aclose(self) -> None: ...
    def stats(self) -> JournalStats: ...


class Opener(Protocol):
    """Opens the same journal at every call."""

    def __call__(self, *, bytes_max: int = ..., segment_bytes: int = ...) -> AbstractContextManager[OpenJournal]: ...


async def append(journal: Journal, payload: bytes, tenant: TenantId = DEFAULT_TENANT) -> Position:
    return await asyncio.wait_for(journal.append(Signal.TRACES, tenant, 1, payload), WAIT_SECONDS)


def numbered(count: int, size: int = 10) -> list[bytes]:
    return [b"%d" % number + b"." * size for number in range(count)]


def read_all(reader: JournalReader, max_bytes: int = 10_000, max_records: int = 100) -> list[Record]:
    records: list[Record] = []
    while batch := reader.read(max_bytes=max_bytes, max_records=max_records):
        records += batch
    return records


def payloads(records: Sequence[Record]) -> list[bytes]:
    return [record.payload for record in records]


async def fill(journal: Journal, payload: bytes = b"x" * 5_000) -> int:
    """Append until the journal refuses; how many it took."""
    for count in range(10_000):
        try:
            await append(journal, payload)
        except JournalFullError:
            return count
    pytest.fail("the journal never refused")


async def appended(condition: Callable[[], bool]) -> None:
    """Let the loop turn until the condition holds."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not condition():
            await asyncio.sleep(0)


class JournalContract:
    """Bind it by deriving a Test class with an `opener` fixture."""

    async def test_records_come_back_in_order_with_every_field(self, opener: Opener) -> None:
        with opener() as journal:
            reader = journal.reader("loader", required=True)
            ends = [
                await journal.append(Signal.TRACES, TenantId("a"), 11, b"one"),
                await journal.append(Signal.LOGS, TenantId("b\u00e9"), 12, b""),
                await journal.append(Signal.METRICS, TenantId(""), 13, b"\x00" * 70_000),
            ]
            records = read_all(reader)

        assert [(r.signal, r.tenant, r.received_ns, r.payload) for r in records] == [
            (Signal.TRACES, "a", 11, b"one"),
            (Signal.LOGS, "b\u00e9", 12, b""),
            (Signal.METRICS, "", 13, b"\x00" * 70_000),
        ]
        assert [record.end for record in records] == ends
        assert all(left.end <= right.start < right.end for left, right in pairwise(records))

    async def test_durable_end_is_at_least_the_end_that_append_returned(self, opener: Opener) -> None:
        with opener() as journal:
            for payload in numbered(5):
                assert await append(journal, payload) == journal.durable_end

    async def test_many_appends_share_a_sync_and_each_is_there_once(self, opener: Opener) -> None:
        with opener() as journal:
            reader = journal.reader("loader", required=True)
            wanted = numbered(500)
            ends = await asyncio.gather(*(append(journal, payload) for payload in wanted))
            stats = journal.stats()
            records = read_all(reader)

        assert sorted(payloads(records)) == sorted(wanted)
        assert {record.end: record.payload for record in records} == dict(zip(ends, wanted, strict=True))
        assert stats.sync_count < 100
        assert (stats.appended_records, stats.queued_bytes) == (500, 0)

    async def test_the_largest_message_fits_beside_small_ones(self, opener: Opener) -> None:
        large = b"m" * MESSAGE_BYTES_MAX
        with opener() as journal:
            reader = journal.reader("loader", required=True)
            await asyncio.gather(*(append(journal, payload) for payload in (b"a", large, b"b", large)))
            assert payloads(read_all(reader)) == [b"a", large, b"b", large]

    async def test_read_keeps_its_limits_but_always_gives_one_record(self, opener: Opener) -> None:
        with opener() as journal:
            reader = journal.reader("loader", required=True)
            for payload in (b"x" * 600, b"y" * 600, b"z" * 5_000):
                await append(journal, payload)
            sizes = [len(reader.read(max_bytes=1_000, max_records=10)) for _ in range(4)]
            assert sizes == [1, 1, 1, 0]
            reader.rewind()
            assert len(reader.read(max_bytes=1_200, max_records=10)) == 2
            reader.rewind()
            assert len(reader.read(max_bytes=100_000, max_records=2)) == 2

    async def test_reading_begins_at_committed_after_a_restart(self, opener: Opener) -> None:
        with opener() as journal:
            reader = journal.reader("loader", required=True)
            for payload in numbered(10):
                await append(journal, payload)
            first = reader.read(max_bytes=10_000, max_records=4)
            reader.commit(first[-1].end)
            reader.read(max_bytes=10_000, max_records=3)

        with opener() as journal:
            reader = journal.reader("loader", required=True)
            assert reader.committed == first[-1].end
            assert payloads(read_all(reader)) == numbered(10)[4:]

    async def test_rewind_reads_again_from_committed(self, opener: Opener) -> None:
        with opener() as journal:
            reader = journal.reader("loader", required=True)
            for payload in numbered(3):
                await append(journal, payload)
            records = read_all(reader)
            reader.commit(records[0].end)
            reader.rewind()
            assert payloads(read_all(reader)) == numbered(3)[1:]

    async def test_what_was_read_before_a_rewind_can_be_committed_and_is_not_read_again(self, opener: Opener) -> None:
        with opener() as journal:
            reader = journal.reader("exporter", required=False)
            for payload in numbered(3):
                await append(journal, payload)
            records = read_all(reader)
            reader.rewind()
            reader.commit(records[1].end)
            assert payloads(read_all(reader)) == numbered(3)[2:]

    async def test_commit_goes_neither_back_nor_beyond_what_was_read(self, opener: Opener) -> None:
        with opener() as journal:
            reader = journal.reader("loader", required=True)
            ends = [await append(journal, payload) for payload in numbered(2)]
            reader.commit(reader.read(max_bytes=100, max_records=1)[-1].end)
            with pytest.raises(ValueError, match="read up to"):
                reader.commit(ends[1])
            reader.commit(Position(0))
            assert reader.committed == ends[0]

    @pytest.mark.parametrize("name", ["", "../loader", "Loader", "a" * 65, "a.b", "\u00e9"])
    async def test_a_readers_name_is_a_plain_one(self, opener: Opener, name: str) -> None:
        with opener() as journal, pytest.raises(ValueError, match="reader's name"):
            journal.reader(name, required=False)

    async def test_readers_are_independent(self, opener: Opener) -> None:
        with opener() as journal:
            loader = journal.reader("loader", required=True)
            exporter = journal.reader("exporter", required=False)
            await append(journal, b"one")
            loader.commit(read_all(loader)[-1].end)
            assert payloads(read_all(exporter)) == [b"one"]
            assert exporter.committed < loader.committed
            lags = {reader.name: reader.lag_bytes for reader in journal.stats().readers}
            assert lags["loader"] == 0 < lags["exporter"]

    async def test_positions_go_on_after_a_restart(self, opener: Opener) -> None:
        ends: list[Position] = []
        for payload in numbered(5):
            with opener() as journal:
                ends.append(await append(journal, payload))
        with opener() as journal:
            records = read_all(journal.reader("loader", required=True))

        assert [record.end for record in records] == ends
        assert all(left < right for left, right in pairwise(ends))

    async def test_space_comes_back_when_every_reader_has_passed(self, opener: Opener) -> None:
        with opener(segment_bytes=SMALL_SEGMENT) as journal:
            readers = [journal.reader(name, required=name == "loader") for name in ("loader", "exporter")]
            for payload in numbered(100, 1_000):
                await append(journal, payload)
            held = journal.stats().held_bytes
            last = [read_all(reader)[-1].end for reader in readers]
            readers[0].commit(last[0])
            assert journal.stats().held_bytes == held, "the exporter still needs it"
            readers[1].commit(last[1])
            assert journal.stats().held_bytes <= SMALL_SEGMENT

    async def test_a_new_reader_starts_at_the_oldest_record_kept(self, opener: Opener) -> None:
        with opener(segment_bytes=SMALL_SEGMENT) as journal:
            loader = journal.reader("loader", required=True)
            for payload in numbered(100, 1_000):
                await append(journal, payload)
            loader.commit(read_all(loader)[-1].end)
            oldest = journal.stats().oldest
            late = journal.reader("late", required=False)
            records = read_all(late)

        assert late.committed == oldest == records[0].start > 0
        assert payloads(records) == numbered(100, 1_000)[-len(records) :]

    async def test_a_full_journal_refuses_rather_than_take_from_the_loader(self, opener: Opener) -> None:
        with opener(bytes_max=SMALL_BUDGET, segment_bytes=SMALL_SEGMENT) as journal:
            loader = journal.reader("loader", required=True)
            taken = await fill(journal)
            with pytest.raises(JournalFullError, match=r"journal\.max_bytes") as refusal:
                await append(journal, b"x" * 5_000)
            stats = journal.stats()
            assert refusal.value.retry_seconds > 0
            assert stats.held_bytes <= SMALL_BUDGET
            assert (stats.refused_records, stats.queued_bytes, stats.state) == (2, 0, "budget_full")
            records = read_all(loader)
            assert len(records) == taken, "everything taken is there, nothing refused is"
            loader.commit(records[-1].end)
            await append(journal, b"again")
            assert payloads(read_all(loader)) == [b"again"]
            assert journal.stats().state == "accepting"

    async def test_a_full_journal_with_no_reader_yet_keeps_everything(self, opener: Opener) -> None:
        with opener(bytes_max=SMALL_BUDGET, segment_bytes=SMALL_SEGMENT) as journal:
            exporter = journal.reader("exporter", required=False)
            taken = await fill(journal)
            assert len(read_all(exporter)) == taken
            assert len(read_all(journal.reader("loader", required=True))) == taken

    async def test_a_late_exporter_loses_its_oldest_records_counted(self, opener: Opener) -> None:
        wanted = numbered(200, 3_000)
        with opener(bytes_max=SMALL_BUDGET, segment_bytes=SMALL_SEGMENT) as journal:
            loader = journal.reader("loader", required=True)
            exporter = journal.reader("exporter", required=False)
            await append(journal, wanted[0])
            exporter.commit(read_all(exporter)[-1].end)
            for payload in wanted[1:]:
                await append(journal, payload)
                loader.commit(read_all(loader)[-1].end)
            stats = {reader.name: reader for reader in journal.stats().readers}
            records = read_all(exporter)

        assert stats["loader"].skipped_records == 0
        assert stats["exporter"].skipped_records == len(wanted) - 1 - len(records) > 0
        assert stats["exporter"].skipped_bytes > stats["exporter"].skipped_records * 3_000
        assert stats["exporter"].committed == records[0].start
        assert payloads(records) == wanted[-len(records) :], "in order and complete from there on"
        assert journal.stats().refused_records == 0

    async def test_one_large_record_does_not_wedge_a_small_budget(self, opener: Opener) -> None:
        with opener(bytes_max=SMALL_BUDGET, segment_bytes=SMALL_SEGMENT) as journal:
            loader = journal.reader("loader", required=True)
            with pytest.raises(JournalFullError):
                await append(journal, b"x" * SMALL_BUDGET)
            for _ in range(3):
                await append(journal, b"y" * (SMALL_BUDGET * 3 // 4))
                loader.commit(read_all(loader)[-1].end)
            results = await asyncio.gather(
                append(journal, b"x" * SMALL_BUDGET), append(journal, b"small"), return_exceptions=True
            )
            assert isinstance(results[0], JournalFullError)
            assert payloads(read_all(loader)) == [b"small"]

    async def test_too_many_waiting_bytes_are_refused_at_once(self, opener: Opener) -> None:
        payload = b"q" * MESSAGE_BYTES_MAX
        with opener() as journal:
            asked = JOURNAL_QUEUE_BYTES_MAX // MESSAGE_BYTES_MAX + 2
            results = await asyncio.gather(*(append(journal, payload) for _ in range(asked)), return_exceptions=True)
            refused = [result for result in results if isinstance(result, JournalFullError)]
            records = read_all(journal.reader("loader", required=True))
            assert len(refused) == 3, "two too many, and one for the frame headers"
            assert len(records) == asked - len(refused)
            await append(journal, b"after")

    async def test_wait_beyond_returns_with_the_next_durable_record(self, opener: Opener) -> None:
        with opener() as journal:
            end = await append(journal, b"one")
            await asyncio.wait_for(journal.wait_beyond(Position(end - 1)), WAIT_SECONDS)
            waits = [asyncio.ensure_future(journal.wait_beyond(end)) for _ in range(3)]
            done, _ = await asyncio.wait(waits, timeout=0.05)
            assert not done
            waits[0].cancel()
            await append(journal, b"two")
            await asyncio.wait_for(asyncio.gather(*waits[1:]), WAIT_SECONDS)

    async def test_close_keeps_what_was_accepted_and_refuses_the_rest(self, opener: Opener) -> None:
        wanted = numbered(50)
        with opener() as journal:
            waiting = asyncio.ensure_future(journal.wait_beyond(Position(2**40)))
            accepted = [asyncio.ensure_future(append(journal, payload)) for payload in wanted]
            await appended(lambda: journal.stats().queued_bytes > 0 or all(task.done() for task in accepted))
            await journal.aclose()
            await asyncio.wait_for(asyncio.gather(*accepted), WAIT_SECONDS)
            with pytest.raises(JournalClosedError):
                await append(journal, b"late")
            with pytest.raises(JournalClosedError):
                await asyncio.wait_for(waiting, WAIT_SECONDS)
            journal.close()
        with opener() as journal:
            assert payloads(read_all(journal.reader("loader", required=True))) == wanted

    async def test_a_cancelled_append_harms_nobody(self, opener: Opener) -> None:
        with opener() as journal:
            tasks = [asyncio.ensure_future(append(journal, payload)) for payload in numbered(30)]
            await appended(lambda: journal.stats().queued_bytes > 0)
            for task in tasks[::3]:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            await append(journal, b"last")
            got = payloads(read_all(journal.reader("loader", required=True)))

        kept = [payload for payload, result in zip(numbered(30), results, strict=True) if isinstance(result, int)]
        assert len(kept) == 20
        assert set(kept) <= set(got)
        assert len(got) == len(set(got))
        assert journal.stats().queued_bytes == 0

    @pytest.mark.parametrize(
        ("tenant", "received_ns"),
        [("t" * 1025, 1), ("t", -1), ("t", 2**63)],
        ids=["tenant", "past", "future"],
    )
    async def test_what_fits_no_frame_is_an_error_and_harms_nobody(
        self, opener: Opener, tenant: str, received_ns: int
    ) -> None:
        with opener() as journal:
            with pytest.raises(ValueError, match=r"must fit|at most"):
                await journal.append(Signal.TRACES, TenantId(tenant), received_ns, b"")
            await append(journal, b"fine")

    async def test_reading_in_a_thread_while_appends_go_on_misses_nothing(self, opener: Opener) -> None:
        wanted = numbered(2_000, 200)

        def follow(reader: JournalReader) -> list[bytes]:
            got: list[bytes] = []
            while len(got) < len(wanted):
                batch = reader.read(max_bytes=50_000, max_records=200)
                got += payloads(batch)
                if batch and len(got) % 3 == 0:
                    reader.commit(batch[-1].end)
                if not batch:
                    time.sleep(0.001)  # asking without end keeps the others from writing
            return got

        with opener(segment_bytes=SMALL_SEGMENT) as journal:
            readers = [journal.reader(name, required=name == "loader") for name in ("loader", "exporter")]
            following = [asyncio.ensure_future(asyncio.to_thread(follow, reader)) for reader in readers]
            for first in range(0, len(wanted), 50):
                await asyncio.gather(*(append(journal, payload) for payload in wanted[first : first + 50]))
            got = await asyncio.wait_for(asyncio.gather(*following), WAIT_SECONDS)

        assert got == [wanted, wanted]


class TestFileJournal(JournalContract):
    """The journal in files."""

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        def open_journal(*, bytes_max: int = 2**30, segment_bytes: int = 2**26) -> AbstractContextManager[OpenJournal]:
            return FileJournal.open(tmp_path / "journal", bytes_max=bytes_max, segment_bytes=segment_bytes)

        return open_journal
