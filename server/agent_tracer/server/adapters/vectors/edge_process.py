"""The process of the embedded index: messages come on standard input, answers go to standard output.

It ends when its input does, and so with the server, however that ends; and when nothing has come for a while.
"""

import fcntl
import os
import select
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from agent_tracer.server.adapters.vectors.edge_shard import EdgeShard
from agent_tracer.server.adapters.vectors.frames import HEAD, decode, encode, lengths

_INPUT: Final = 0


def main() -> int:
    """Arguments: the folder, the vectors' dimensions, after how many idle seconds to end."""
    folder, dimensions, idle_seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints is no answer
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The process of a server that was killed may still be busy in the folder.
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    shard = EdgeShard(folder / "shard", dimensions)
    try:
        _write(answers, encode({"result": "ready"}))
        _serve(shard, answers, idle_seconds)
    finally:
        shard.close()
    return 0


def _serve(shard: EdgeShard, answers: int, idle_seconds: float) -> None:
    while select.select([_INPUT], [], [], idle_seconds)[0]:
        head = _read(HEAD.size)
        if head is None:
            return
        text_length, block_length = lengths(head)
        text, block = _read(text_length), _read(block_length)
        if text is None or block is None:
            return
        _write(answers, encode(_answer(shard, decode(text), block)))


def _answer(shard: EdgeShard, message: Mapping[str, Any], block: bytes) -> dict[str, Any]:
    call: Callable[..., Any] = getattr(shard, message["call"])
    try:
        return {"result": call(*([block] if block else []), **message["arguments"])}
    except BaseException as error:  # noqa: BLE001 - the library's panics are no Exception
        return {"error": f"{type(error).__name__}: {error}"[:2000]}


def _read(length: int) -> bytes | None:
    """None at the end of the input."""
    parts = []
    while length:
        part = os.read(_INPUT, min(length, 1 << 20))
        if not part:
            return None
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def _write(answers: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(answers, view) :]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:
        sys.exit(0)  # the server is gone
