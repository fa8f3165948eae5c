"""Every program of docs/quickstart, run as it stands there, and what the server then knows."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc
import pytest

from agent_tracer.server.demo.stand_in import stand_in
from agent_tracer.v1 import ace_pb2, ace_pb2_grpc, trace_pb2
from tests.e2e.talk import CALL_SECONDS, stubs
from tests.fixtures.program import Program, free_ports

PAGES: Final = Path(__file__).resolve().parents[2] / "docs/quickstart"
RUN_SECONDS: Final = 240
SEEN_SECONDS: Final = 90

_PROGRAM: Final = re.compile(r"`([\w.]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Case:
    """What of a page is run, and what is to be seen: the trace of `agent`, with these agents, and a model's calls."""

    page: str
    run: str
    agent: str
    agents: frozenset[str]
    model: str = ""
    calls: int = 0


CASES: Final = [
    Case("openai", "agent.py", "summarizer", frozenset({"summarizer"}), "gpt-4.1-mini", 1),
    Case("anthropic", "agent.py", "reviewer", frozenset({"reviewer"}), "claude-haiku-4-5", 1),
    Case("langgraph", "graph.py", "writer", frozenset({"outliner", "writer"}), "gpt-4.1-mini", 2),
    Case("openai-agents", "support.py", "support", frozenset({"support"}), "gpt-4.1-mini", 1),
    Case("mcp", "planner.py", "planner", frozenset({"planner", "weather-desk"})),
    Case("mesh", "planner.py", "planner", frozenset({"planner", "writer"})),
]


def programs(page: str, folder: Path) -> None:
    """The page's files, as they are shown."""
    found = _PROGRAM.findall((PAGES / f"{page}.md").read_text())
    assert found
    for name, text in found:
        (folder / name).write_text(text)


@pytest.fixture
def environment(program: Program) -> Iterator[dict[str, str]]:
    """What a reader has in the environment: keys, and here where the server and the models are."""
    with stand_in() as models:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "AGENT_TRACER"))}
        yield {
            **kept,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "AGENT_TRACER_URL": program.url,
            "OPENAI_API_KEY": "none",
            "OPENAI_BASE_URL": f"{models}/v1",
            "ANTHROPIC_API_KEY": "none",
            "ANTHROPIC_BASE_URL": models,
            "OPENAI_AGENTS_DISABLE_TRACING": "0",
            "WRITER": f"127.0.0.1:{free_ports(1)[0]}",
        }


@contextmanager
def background(command: list[str], says: str, folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """A program that goes on, from the line that it says until it is stopped."""
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == says
        try:
            yield
        finally:
            process.terminate()


def ran(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=RUN_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def trace_of(program: Program, since: float, case: Case) -> trace_pb2.Trace:
    """The newest trace of the case's agent, once all of its agents are in it: a process left in the background still
    sends."""
    request = trace_pb2.ListTracesRequest(agent_id=case.agent)
    request.start_time.FromSeconds(int(since))
    deadline = time.monotonic() + SEEN_SECONDS
    with stubs(program.target) as stub:
        while True:
            found = stub.ListTraces(request, timeout=CALL_SECONDS).traces
            if (found and case.agents <= set(found[0].agents)) or time.monotonic() > deadline:
                assert found, f"no trace of {case.agent}"
                return stub.GetTrace(trace_pb2.GetTraceRequest(trace_id=found[0].trace_id), timeout=CALL_SECONDS)
            time.sleep(0.2)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.page)
def test_the_program_of_the_page_is_seen_as_the_page_says(
    case: Case, program: Program, environment: dict[str, str], tmp_path: Path
) -> None:
    programs(case.page, tmp_path)
    since = time.time() - 1
    if case.page == "mesh":
        with background([sys.executable, "writer.py"], "writing", tmp_path, environment):
            ran([sys.executable, case.run], tmp_path, environment)
            trace = trace_of(program, since, case)
    else:
        ran([sys.executable, case.run], tmp_path, environment)
        trace = trace_of(program, since, case)

    assert case.agents == set(trace.agents)
    assert trace.status == "success"
    calls = [span for span in trace.spans if span.kind == "llm"]
    assert [span.model.startswith(case.model) for span in calls] == [True] * case.calls
    assert all(span.usage.output_tokens > 0 and span.cost > 0 for span in calls)
    assert {span.agent_id for span in calls} == (case.agents if case.calls else set()), "every agent has its own calls"
    assert sum(span.usage.total_tokens for span in calls) == trace.usage.total_tokens


def test_the_job_of_the_page_becomes_tasks_whose_coverage_reaches_the_score(
    program: Program, environment: dict[str, str], tmp_path: Path
) -> None:
    programs("ci", tmp_path)
    (tmp_path / "doubling.py").write_text("def twice(n):\n    return 2 * n\n\n\ndef never(n):\n    return n\n")
    (tmp_path / "test_numbers.py").write_text(
        "from doubling import twice\n\n\ndef test_twice():\n    assert twice(2) == 4\n"
    )

    ran(["sh", "job.sh"], tmp_path, environment)

    with grpc.insecure_channel(program.target) as opened:
        ace = ace_pb2_grpc.AceServiceStub(opened)
        score = ace.ScoreAgent(ace_pb2.ScoreAgentRequest(agent_id="coder", period="1h"), timeout=CALL_SECONDS)
    coverage = next(part for part in score.components if "coverage" in part.name)
    assert (coverage.dimension, coverage.source) == ("quality", "traces")
    assert 0 < coverage.value < 1
