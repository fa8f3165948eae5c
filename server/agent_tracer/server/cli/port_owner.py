"""Who listens on a TCP port of this machine, as far as Linux lets this user know."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from agent_tracer.server.cli.text import plain

_LISTENING: Final = "0A"  # TCP_LISTEN, include/net/tcp_states.h
_TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_COMMAND_CHARACTERS_MAX: Final = 60


def is_listening(port: int) -> bool:
    """Whether any socket of this machine listens on the port."""
    return bool(_inodes(port))


def owner_of(port: int) -> str:
    """`python -m x (pid 42)` of the process that listens on the port; empty where it cannot be known."""
    inodes = _inodes(port)
    for process in _processes() if inodes else ():
        if inodes & _sockets(process):
            return f"{_command(process)} (pid {process.name})"
    return ""


def _inodes(port: int) -> set[str]:
    found = set()
    for table in _TABLES:
        try:
            lines = table.read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            local, state, inode = fields[1], fields[3], fields[9]
            if state == _LISTENING and int(local.rpartition(":")[2], 16) == port:
                found.add(inode)
    return found


def _processes() -> Iterator[Path]:
    return (path for path in Path("/proc").iterdir() if path.name.isdecimal())


def _sockets(process: Path) -> set[str]:
    found = set()
    try:
        for descriptor in (process / "fd").iterdir():
            match = re.fullmatch(r"socket:\[(\d+)\]", str(descriptor.readlink()))
            if match:
                found.add(match[1])
    except OSError:
        # Another user's process, or one that ended meanwhile.
        return found
    return found


def _command(process: Path) -> str:
    try:
        words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        words = []
    line = " ".join(word for word in words if word)
    return plain(line[:_COMMAND_CHARACTERS_MAX]) or "a process"
