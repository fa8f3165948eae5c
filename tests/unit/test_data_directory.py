"""The data directory: one server at a time, clear errors, and what the loader remembers over a crash."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from agent_tracer.server.adapters.data_directory import (
    DataDirectory,
    DataDirectoryError,
    FileLoadIntent,
    files_usable,
    locked_directory,
    own_temporary_files,
)
from agent_tracer.server.adapters.journal import JournalFormatError
from agent_tracer.server.ports.journal import Position

HOLD = """
import sys
from pathlib import Path
from agent_tracer.server.adapters.data_directory import locked_directory
with locked_directory(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_told_who_has_the_directory_and_what_to_do(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(DataDirectoryError, match=rf"process {holder.pid}\b.*--data-dir"):
            enter(tmp_path)
        holder.kill()
        holder.wait()
    enter(tmp_path)  # the lock went with the process, although nobody let go of it


def enter(root: Path) -> None:
    with locked_directory(root):
        pass


def test_a_new_directory_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    enter(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/nowhere"])
def test_a_directory_that_cannot_be_is_named_with_the_setting(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataDirectoryError, match=r"cannot be used.*data_dir") as raised:
        enter(tmp_path / place)
    assert str(tmp_path / place) in str(raised.value)


def test_a_relative_path_stays_the_same_place_when_the_working_directory_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with locked_directory(Path("data")) as directory:
        assert directory.root == tmp_path / "data"
        assert directory.journal.is_absolute()
        assert directory.store.is_absolute()


def test_an_unusable_file_below_is_named_too(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)
    directory.journal.touch()
    with pytest.raises(DataDirectoryError, match="journal: Not a directory"), files_usable(directory):
        list(directory.journal.iterdir())


def test_temporary_files_lie_in_the_directory_and_those_of_a_killed_server_go(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)
    before = tempfile.gettempdir()
    with own_temporary_files(directory):
        left = Path(tempfile.mkdtemp())
        (left / "prompts").touch()
        assert left.parent == directory.temporary
    assert tempfile.gettempdir() == before
    with own_temporary_files(directory):
        assert list(directory.temporary.iterdir()) == []


def test_the_planned_end_survives_and_the_last_plan_counts(tmp_path: Path) -> None:
    assert FileLoadIntent(tmp_path).planned_end() is None
    for end in (5, 12, 30):
        FileLoadIntent(tmp_path).plan(Position(end))
        assert FileLoadIntent(tmp_path).planned_end() == end


def test_planning_needs_no_new_disk_block_because_the_loader_must_go_on_when_the_disk_is_full(tmp_path: Path) -> None:
    intent = FileLoadIntent(tmp_path)
    intent.plan(Position(1))
    (file,) = tmp_path.iterdir()
    made = file.stat()
    for end in range(2, 50):
        intent.plan(Position(end))
    (file,) = tmp_path.iterdir()
    now = file.stat()
    assert (now.st_ino, now.st_blocks, now.st_size) == (made.st_ino, made.st_blocks, made.st_size)


def test_a_plan_torn_by_a_crash_leaves_the_one_before(tmp_path: Path) -> None:
    intent = FileLoadIntent(tmp_path)
    for end in (5, 12):
        intent.plan(Position(end))
    (file,) = tmp_path.iterdir()
    data = file.read_bytes()
    for spoiled in (data[:13] + b"?" + data[14:], data[:-5] + b"?" + data[-4:]):
        file.write_bytes(spoiled)
        assert FileLoadIntent(tmp_path).planned_end() in {5, 12}
    file.write_bytes(b"\0" * len(data))
    assert FileLoadIntent(tmp_path).planned_end() is None


def test_a_plan_of_a_later_version_is_refused(tmp_path: Path) -> None:
    FileLoadIntent(tmp_path).plan(Position(5))
    (file,) = tmp_path.iterdir()
    data = file.read_bytes()
    file.write_bytes(data.replace(data[8:10], b"\x63\x00"))
    with pytest.raises(JournalFormatError, match="version 99"):
        FileLoadIntent(tmp_path)
