"""The journal against its disk: torn and damaged files, a full disk, failing syncs."""

import asyncio
import errno
import os
import resource
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from agent_tracer.server.adapters.journal import FileJournal, JournalFormatError
from agent_tracer.server.adapters.journal.segment import SEGMENT_HEADER_BYTES
from agent_tracer.server.domain.ids import DEFAULT_TENANT
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.ports.journal import JournalFullError, Position, Record

WAIT_SECONDS = 60
SMALL_SEGMENT = 10_000


async def append(journal: FileJournal, payload: bytes) -> Position:
    return await asyncio.wait_for(journal.append(Signal.TRACES, DEFAULT_TENANT, 1, payload), WAIT_SECONDS)


async def write(directory: Path, payloads: list[bytes], segment_bytes: int = SMALL_SEGMENT) -> list[Position]:
    with FileJournal.open(directory, segment_bytes=segment_bytes) as journal:
        return [await append(journal, payload) for payload in payloads]


def read_all(journal: FileJournal, *, name: str = "loader", commit: bool = False) -> list[Record]:
    reader = journal.reader(name, required=True)
    records: list[Record] = []
    while batch := reader.read(max_bytes=100_000, max_records=1_000):
        records += batch
        if commit:
            reader.commit(batch[-1].end)
    return records


def payloads(journal: FileJournal) -> list[bytes]:
    return [record.payload for record in read_all(journal)]


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.segment"))


def spoil(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 0xFF]))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "journal"


async def test_ack_and_reading_wait_for_the_sync(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entered, release = asyncio.Event(), threading.Event()
    loop, real = asyncio.get_running_loop(), os.fdatasync

    def slow(fd: int) -> None:
        loop.call_soon_threadsafe(entered.set)
        release.wait(WAIT_SECONDS)
        real(fd)

    with FileJournal.open(directory) as journal:
        reader = journal.reader("loader", required=True)
        monkeypatch.setattr(os, "fdatasync", slow)
        task = asyncio.ensure_future(append(journal, b"written, not synced"))
        await asyncio.wait_for(entered.wait(), WAIT_SECONDS)
        assert not task.done()
        assert journal.durable_end == 0
        assert not reader.read(max_bytes=100, max_records=1)
        release.set()
        assert await task == journal.durable_end > 0
        assert len(reader.read(max_bytes=100, max_records=1)) == 1


async def test_a_tail_torn_at_any_byte_is_cut_and_writing_goes_on(directory: Path, tmp_path: Path) -> None:
    ends = await write(directory, [b"one", b"two" * 20, b"three" * 9])
    [segment] = segments(directory)

    for cut in range(SEGMENT_HEADER_BYTES + ends[1] - 1, SEGMENT_HEADER_BYTES + ends[2] + 1):
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(directory, copy)
        os.truncate(copy / segment.name, cut)
        whole = sum(SEGMENT_HEADER_BYTES + end <= cut for end in ends)
        with FileJournal.open(copy) as journal:
            assert journal.durable_end == ends[whole - 1]
            assert (copy / segment.name).stat().st_size == SEGMENT_HEADER_BYTES + ends[whole - 1]
            await append(journal, b"next")
            assert payloads(journal) == [*[b"one", b"two" * 20, b"three" * 9][:whole], b"next"]
            assert journal.stats().damaged_ranges == 0


async def test_damage_inside_the_last_segment_loses_one_record_and_no_neighbour(directory: Path) -> None:
    ends = await write(directory, [b"one" * 30, b"two" * 30, b"three" * 30])
    spoil(segments(directory)[0], SEGMENT_HEADER_BYTES + ends[0] + 2)

    with FileJournal.open(directory) as journal:
        assert journal.durable_end == ends[2]
        assert journal.stats().damaged_ranges == 1
        end = await append(journal, b"next")
        assert end > ends[2]
        assert payloads(journal) == [b"one" * 30, b"three" * 30, b"next"]


@pytest.mark.parametrize("kept", [0, SEGMENT_HEADER_BYTES + 100], ids=["emptied", "shortened"])
async def test_a_spoiled_older_segment_is_passed_and_counted_once(directory: Path, kept: int) -> None:
    wanted = [b"%02d" % number + b"." * 1_000 for number in range(40)]
    await write(directory, wanted)
    victim = segments(directory)[1]
    os.truncate(victim, kept)

    with FileJournal.open(directory) as journal:
        got = payloads(journal)
        assert 25 <= len(got) < 40, "one segment of about nine records is lost"
        assert got == [payload for payload in wanted if payload in got], "the others are there in order"
        counted = journal.stats().damaged_ranges
        assert counted > 0
        assert len(read_all(journal, name="other")) == len(got)
        assert journal.stats().damaged_ranges == counted


async def test_random_damage_in_an_older_segment_goes_on_behind_it(directory: Path) -> None:
    wanted = [b"%02d" % number + b"." * 1_000 for number in range(40)]
    await write(directory, wanted)
    for offset in (SEGMENT_HEADER_BYTES + 3, 5_000):
        spoil(segments(directory)[1], offset)

    with FileJournal.open(directory) as journal:
        reader = journal.reader("other", required=False)
        records = read_all(journal)
        assert len(records) == 38
        assert len(reader.read(max_bytes=10**6, max_records=100)) == 38
        assert journal.stats().damaged_ranges == 2, "counted once, not once a reader"


@pytest.mark.parametrize("max_records", [4, 100], ids=["met alone", "met behind records"])
async def test_damage_at_the_very_end_does_not_hold_the_cursor_back(directory: Path, max_records: int) -> None:
    wanted = [b"%02d" % number + b"." * 1_000 for number in range(5)]
    with FileJournal.open(directory) as journal:
        for payload in wanted:
            await append(journal, payload)
        records = read_all(journal, commit=True)
        reader = journal.reader("exporter", required=False)
        assert reader.committed == 0
        spoil(segments(directory)[0], SEGMENT_HEADER_BYTES + records[4].start + 500)
        batch = reader.read(max_bytes=10**6, max_records=max_records)
        assert len(batch) == 4
        reader.commit(batch[-1].end)
        assert not reader.read(max_bytes=10**6, max_records=max_records)
        assert reader.committed == journal.durable_end, "nobody waits for a record that is gone"


async def test_a_segment_with_a_spoiled_header_is_set_aside(directory: Path) -> None:
    wanted = [b"%02d" % number + b"." * 1_000 for number in range(40)]
    ends = await write(directory, wanted)
    for victim in (segments(directory)[1], segments(directory)[-1]):
        spoil(victim, 20)

    with FileJournal.open(directory) as journal:
        assert await append(journal, b"next") > ends[-1], "no position is used twice"
        records = read_all(journal)
    assert records[-1].payload == b"next"
    assert all(left.end <= right.start for left, right in pairwise(records))
    assert len(list(directory.glob("*.damaged"))) == 2


async def test_positions_are_not_used_again_when_segments_are_gone(directory: Path) -> None:
    with FileJournal.open(directory) as journal:
        end = await append(journal, b"one")
        read_all(journal, commit=True)
    for path in segments(directory):
        path.unlink()

    with FileJournal.open(directory) as journal:
        assert journal.durable_end == end
        assert await append(journal, b"two") > end
        assert payloads(journal) == [b"two"]


async def test_a_segment_removed_under_a_reader_is_passed(directory: Path) -> None:
    with FileJournal.open(directory, segment_bytes=SMALL_SEGMENT) as journal:
        for number in range(40):
            await append(journal, b"%02d" % number + b"." * 1_000)
        segments(directory)[1].unlink()
        assert 25 <= len(read_all(journal)) < 40
        assert journal.stats().damaged_ranges == 1


async def test_leftovers_of_a_crash_are_removed(directory: Path) -> None:
    await write(directory, [b"one"])
    leftovers = [directory / "00000000000000000099.segment.tmp", directory / "cursors" / "x.cursor.tmp"]
    for path in leftovers:
        path.write_bytes(b"half")

    with FileJournal.open(directory) as journal:
        assert payloads(journal) == [b"one"]
    assert not any(path.exists() for path in leftovers)


async def test_another_format_version_is_refused_and_left_untouched(directory: Path) -> None:
    await write(directory, [b"one"])
    [segment] = segments(directory)
    before = bytearray(segment.read_bytes())
    before[8] = 9
    segment.write_bytes(before)

    with pytest.raises(JournalFormatError, match="format version 9"):
        FileJournal.open(directory)
    assert segment.read_bytes() == before


async def test_another_cursor_version_is_refused(directory: Path) -> None:
    with FileJournal.open(directory) as journal:
        journal.reader("loader", required=True)
    cursor = directory / "cursors" / "loader.cursor"
    data = bytearray(cursor.read_bytes())
    data[8] = 9
    cursor.write_bytes(data)

    with pytest.raises(JournalFormatError, match="'loader' has format version 9"):
        FileJournal.open(directory)


@pytest.mark.parametrize("slots", [(0,), (4096,), (0, 4096)])
async def test_a_torn_cursor_reads_again_but_never_skips(directory: Path, slots: tuple[int, ...]) -> None:
    wanted = [b"%d" % number for number in range(6)]
    with FileJournal.open(directory) as journal:
        for payload in wanted:
            await append(journal, payload)
        reader = journal.reader("loader", required=True)
        for _ in range(3):
            reader.commit(reader.read(max_bytes=100, max_records=1)[-1].end)
    for offset in slots:
        spoil(directory / "cursors" / "loader.cursor", offset + 24)

    with FileJournal.open(directory) as journal:
        got = payloads(journal)
    assert got == wanted[-len(got) :]
    assert 3 <= len(got) <= {1: 4, 2: 6}[len(slots)]


async def test_an_exporter_that_is_gone_stops_holding_disk(directory: Path) -> None:
    wanted = [b"%02d" % number + b"." * 1_000 for number in range(40)]
    with FileJournal.open(directory, segment_bytes=SMALL_SEGMENT) as journal:
        journal.reader("gone", required=False)
        for payload in wanted:
            await append(journal, payload)

    with FileJournal.open(directory, segment_bytes=SMALL_SEGMENT) as journal:
        read_all(journal, commit=True)
        assert len(segments(directory)) > 1, "its cursor still holds them: it may be opened later"
        assert journal.forget_unopened() == ["gone"]
        assert len(segments(directory)) == 1
    with FileJournal.open(directory) as journal:
        assert [reader.name for reader in journal.stats().readers] == ["loader"]


async def fill(journal: FileJournal, payload: bytes) -> int:
    """Append until the disk refuses; how many it took."""
    for count in range(10_000):
        try:
            await append(journal, payload)
        except JournalFullError:
            assert journal.stats().state == "disk_failing"
            return count
    pytest.fail("the disk never refused")


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Let writes past `size` bytes of a file fail in the middle, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_group_that_does_not_fit_the_disk_is_refused_as_a_whole(directory: Path) -> None:
    with FileJournal.open(directory) as journal:
        await append(journal, b"before")
        with file_size_limit(100_000):
            refused = await asyncio.gather(
                *(append(journal, b"%d" % number + b"x" * 60_000) for number in range(4)),
                return_exceptions=True,
            )
            # A group of its own may have fitted; the rest passed the limit.
            accepted = [result for result in refused if isinstance(result, int)]
            assert len(accepted) <= 1
            assert all(isinstance(result, JournalFullError) for result in refused if result not in accepted)
            assert journal.stats().state == "disk_failing"
            assert segments(directory)[0].stat().st_size == SEGMENT_HEADER_BYTES + journal.durable_end
        await append(journal, b"after")
        assert journal.stats().state == "accepting"
        assert len(read_all(journal)) == 2 + len(accepted)
    with FileJournal.open(directory) as journal:
        records = payloads(journal)
        assert (records[0], records[-1], len(records)) == (b"before", b"after", 2 + len(accepted))


def failing(times: int, real: Callable[[int], None]) -> Callable[[int], None]:
    left = [times]

    def call(fd: int) -> None:
        if left[0] > 0:
            left[0] -= 1
            raise OSError(errno.EIO, "injected")
        real(fd)

    return call


async def test_after_a_failed_sync_the_segment_is_not_written_again(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FileJournal.open(directory) as journal:
        await append(journal, b"one")
        monkeypatch.setattr(os, "fdatasync", failing(1, os.fdatasync))
        with pytest.raises(JournalFullError, match="disk is full or faulty"):
            await append(journal, b"refused")
        await append(journal, b"two")
        assert len(segments(directory)) == 2
        assert payloads(journal) == [b"one", b"two"]
    with FileJournal.open(directory) as journal:
        assert payloads(journal) == [b"one", b"two"]


@pytest.mark.parametrize("before", [[], [b"one"]], ids=["empty segment", "used segment"])
async def test_a_refused_write_that_could_not_be_taken_back_is_never_read(
    directory: Path, monkeypatch: pytest.MonkeyPatch, before: list[bytes]
) -> None:
    def refuse(_fd: int, _size: int) -> None:
        raise OSError(errno.EIO, "injected")

    with FileJournal.open(directory) as journal:
        for payload in before:
            await append(journal, payload)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", failing(1, os.fdatasync))
            patch.setattr(os, "ftruncate", refuse)
            with pytest.raises(JournalFullError):
                await append(journal, b"refused" * 50)
        await append(journal, b"two")
        assert payloads(journal) == [*before, b"two"]
    with FileJournal.open(directory) as journal:
        assert payloads(journal) == [*before, b"two"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    point = tmp_path / "disk"
    point.mkdir()
    mount = shutil.which("mount")
    umount = shutil.which("umount")
    if mount is None or umount is None:
        pytest.skip("needs mount(8)")
    options = ["-t", "tmpfs", "-o", "size=1m", "tmpfs", str(point)]
    if subprocess.run([mount, *options], check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield point
    subprocess.run([umount, str(point)], check=True)


async def test_on_a_full_disk_the_loader_can_commit_and_appends_take_up_again(small_disk: Path) -> None:
    with FileJournal.open(small_disk / "journal", segment_bytes=100_000) as journal:
        loader = journal.reader("loader", required=True)
        exporter = journal.reader("exporter", required=False)
        taken = await fill(journal, b"x" * 20_000)
        (small_disk / "ballast").write_bytes(b"x" * 1_000)
        with pytest.raises(OSError, match="No space"):
            (small_disk / "ballast").write_bytes(b"x" * 2**20)
        records = loader.read(max_bytes=2**20, max_records=1_000)
        assert len(records) == taken
        loader.commit(records[-1].end)
        assert exporter.committed == 0
        for _ in range(10):
            await append(journal, b"y" * 20_000)
        stats = {reader.name: reader for reader in journal.stats().readers}
        assert stats["exporter"].skipped_records > 0, "an exporter gives way on a full disk"
        assert journal.stats().state == "accepting"
        assert [record.payload[:1] for record in loader.read(max_bytes=2**20, max_records=100)] == [b"y"] * 10
