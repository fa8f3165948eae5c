"""Kill -9 while requests are appended: every acknowledged record is there afterwards, and none twice."""

import asyncio
import os
import random
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

from agent_tracer.server.adapters.journal import FileJournal
from agent_tracer.server.domain.ids import DEFAULT_TENANT
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.ports.journal import Record

KILLS = 10
APPENDERS = 8
ACKNOWLEDGED_MAX = 150
SEGMENT_BYTES = 2_000_000
PAYLOAD_BYTES_MAX = 60_000
SEED = 20_240_917


async def append_forever(directory: Path, generation: int) -> None:
    """The child: append from several tasks; write each record's name to stdout once its append returned."""
    chance = random.Random(generation)

    async def appender(journal: FileJournal, number: int) -> None:
        count = 0
        while True:
            name = f"{generation}-{number}-{count}"
            payload = name.encode() + b" " + chance.randbytes(chance.randrange(PAYLOAD_BYTES_MAX))
            await journal.append(Signal.TRACES, DEFAULT_TENANT, generation, payload)
            os.write(1, name.encode() + b"\n")
            count += 1

    with FileJournal.open(directory, segment_bytes=SEGMENT_BYTES) as journal:
        await asyncio.gather(*(appender(journal, number) for number in range(APPENDERS)))


def acknowledged_until_killed(directory: Path, generation: int, count: int) -> list[str]:
    """Start a child, kill it once `count` records are acknowledged; all names it managed to report."""
    command = [sys.executable, __file__, str(directory), str(generation)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(count)]
        child.kill()
        lines += child.stdout.readlines()
    assert lines[0], "the child must have run"
    return [line.decode().strip() for line in lines if line.endswith(b"\n")]


def read_new(directory: Path) -> list[Record]:
    """Reopen as the server does, read on from the cursor, and commit."""
    with FileJournal.open(directory, segment_bytes=SEGMENT_BYTES) as journal:
        assert journal.stats().damaged_ranges == 0
        reader = journal.reader("loader", required=True)
        records: list[Record] = []
        while batch := reader.read(max_bytes=4_000_000, max_records=100):
            records += batch
            reader.commit(batch[-1].end)
        return records


def test_every_acknowledged_record_survives_kill_9_once(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    acknowledged: set[str] = set()
    seen: Counter[str] = Counter()
    places: list[tuple[int, int]] = []
    for generation in range(KILLS):
        acknowledged.update(
            acknowledged_until_killed(tmp_path / "journal", generation, chance.randint(1, ACKNOWLEDGED_MAX))
        )
        records = read_new(tmp_path / "journal")
        seen.update(record.payload.partition(b" ")[0].decode() for record in records)
        places += [(record.start, record.end) for record in records]

    assert len(acknowledged) >= KILLS
    assert acknowledged - seen.keys() == set(), "acknowledged and lost"
    assert [name for name, times in seen.items() if times > 1] == []
    assert all(start < end for start, end in places)
    assert all(left[1] <= right[0] for left, right in pairwise(places)), "a position was used twice"


if __name__ == "__main__":
    asyncio.run(append_forever(Path(sys.argv[1]), int(sys.argv[2])))
