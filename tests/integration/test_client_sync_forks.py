"""What a child process does with a client of its parent's: nothing that the parent would feel."""

import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.fixtures.program import Program

SECONDS_MAX = 20
"""Of one call: more than a busy machine takes, and what a call waits where the connection is dead."""

BEGIN = f"""
import asyncio, multiprocessing, os, sys, threading
from agent_tracer.client import AgentTracer

awaited = AgentTracer(sys.argv[1], timeout_seconds={SECONDS_MAX}, retries=0)
tracer = awaited.sync

def ask(*_):
    return len(tracer.traces.list_traces(agent_id="nobody").traces)

def forked(work):
    child = os.fork()
    if child == 0:
        work()
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""

PARENTS = {
    "child-ends": """
ask()
forked(lambda: None)
ask()
""",
    "child-asks": """
ask()
for _ in range(2):
    forked(ask)
    ask()
""",
    "child-closes": """
ask()
forked(tracer.close)
ask()
""",
    "grandchild-asks": """
def child():
    ask()
    forked(ask)
    ask()

ask()
forked(child)
ask()
""",
    "grandchild-of-one-that-does-not-ask": """
ask()
forked(lambda: forked(ask))
ask()
""",
    "pool": """
ask()
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(ask, range(4)) == [0] * 4
ask()
""",
    "under-a-running-loop": """
def child():
    asyncio.run(awaited.traces.list_traces(agent_id="nobody"))
    os._exit(0)

async def main():
    async with awaited:
        await awaited.traces.list_traces(agent_id="nobody")
        forked(child)
        await awaited.traces.list_traces(agent_id="nobody")

asyncio.run(main())
""",
}

STREAM = """
agent = sys.argv[2]

def write(name):
    tracer.traces.create_trace(f"{agent}-{name}", agent, "greet")

def child():
    try:
        next(watching)
    except RuntimeError as error:
        print(error, flush=True)
    ask()
    watching.close()

write("first")
ask()
watching = tracer.traces.watch_traces(agent_id=agent, timeout_seconds=60)
seen = threading.Event()

def keep_writing():
    count = 0
    while not seen.wait(0.2):
        count += 1
        write(count)

writer = threading.Thread(target=keep_writing)
writer.start()
next(watching)
seen.set()
writer.join()
forked(child)
write("after")
assert any(trace.trace_id.endswith("-after") for trace in watching)
watching.close()
"""


SPAWNED = f"""
import multiprocessing
import sys

from agent_tracer.client import AgentTracer

tracer = AgentTracer(sys.argv[1], timeout_seconds={SECONDS_MAX}, retries=0).sync


def ask(_=None):
    return len(tracer.traces.list_traces(agent_id="nobody").traces)


if __name__ == "__main__":
    ask()
    with multiprocessing.get_context(sys.argv[2]).Pool(1) as pool:
        assert pool.map(ask, range(2)) == [0, 0]
    ask()
"""


def run(program: Program, script: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", BEGIN + script, program.target, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("script", PARENTS.values(), ids=PARENTS.keys())
def test_a_parents_connection_outlives_its_children_and_theirs_work_too(program: Program, script: str) -> None:
    done = run(program, script)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_parents_stream_is_not_its_childs_to_read_or_to_end(program: Program) -> None:
    done = run(program, STREAM, f"forks-{uuid.uuid4().hex}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "a stream is read by the process that began it: call the method again in this one\n"


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_process_begun_anew_has_a_connection_of_its_own(program: Program, method: str, tmp_path: Path) -> None:
    script = tmp_path / "spawning.py"
    script.write_text(SPAWNED)
    command = [sys.executable, str(script), program.target, method]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
