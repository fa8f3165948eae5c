"""`capture_content=False` holds for instrumentors of every family, whatever the agent's environment says."""

import json
from pathlib import Path

import pytest

from tests.fixtures.agent_process import run_agent
from tests.fixtures.receiving import receiver

INSTRUMENTOR = '''
import os
import ollama

class Instrumentor:
    """As OpenLLMetry's are: asks at each call whether contents are wanted, and forgets to at one place."""

    def _check_dependency_conflicts(self):
        return None

    def instrument(self, tracer_provider):
        tracer = tracer_provider.get_tracer("made up")

        def chat(prompt):
            with tracer.start_as_current_span(NAME.format(prompt)) as span:
                if (os.getenv("TRACELOOP_TRACE_CONTENT") or "true") == "true":
                    span.set_attribute("gen_ai.prompt.0.content", prompt)
                    span.set_attribute("made.up.by.this.one", prompt)
                span.set_attribute("gen_ai.prompt.0.user", prompt)
                span.set_attribute("gen_ai.request.model", "llama3")

        ollama.chat = chat

    def uninstrument(self):
        del ollama.chat
'''
WRITTEN = {
    "ollama.py": "",
    "opentelemetry/instrumentation/ollama.py": f'{INSTRUMENTOR}\nNAME = "chat"\n',
    "opentelemetry/instrumentation/crewai.py": f'{INSTRUMENTOR}\nNAME = "{{}}"\n',
    "made_up-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: made-up\nVersion: 1\n",
    "made_up-1.dist-info/entry_points.txt": "[opentelemetry_instrumentor]\n"
    "ollama = opentelemetry.instrumentation.ollama:Instrumentor\n"
    "crewai = opentelemetry.instrumentation.crewai:Instrumentor\n",
}
SCRIPT = """
import json, os, sys
sys.path.insert(0, {folder!r})
from agent_tracer.client.telemetry import instrument
before = dict(os.environ)
handle = instrument("contents", auto=["ollama", "crewai"], {arguments})
import ollama
if hasattr(ollama, "chat"):
    ollama.chat("the-secret")
during = dict(os.environ)
print(json.dumps([handle.instrumented, handle.flush()]))
handle.shutdown()
print(json.dumps([during == before, dict(os.environ) == before, during.get("TRACELOOP_TRACE_CONTENT")]))
"""


@pytest.fixture
def folder(tmp_path: Path) -> str:
    for name, text in WRITTEN.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return str(tmp_path)


def outcome(script: str, **environment: str) -> tuple[bytes, list[list[object]], str]:
    """What was sent, what was printed, what was logged."""
    with receiver() as (url, got):
        ended = run_agent(script, AGENT_TRACER_URL=url, OTEL_EXPORTER_OTLP_COMPRESSION="none", **environment)
    return b"".join(body for _, _, body in got), [json.loads(line) for line in ended.lines], ended.err


@pytest.mark.parametrize(
    "set_by_the_agent", [{}, {"TRACELOOP_TRACE_CONTENT": "true", "OPENINFERENCE_HIDE_INPUTS": "false"}]
)
def test_no_contents_whatever_the_environment_says(folder: str, set_by_the_agent: dict[str, str]) -> None:
    script = SCRIPT.format(folder=folder, arguments="capture_content=False")
    body, (used, variables), err = outcome(script, **set_by_the_agent)
    assert used == [["ollama"], True]
    assert "crewai is not instrumented: its instrumentor cannot leave contents out" in err
    assert b"llama3" in body
    assert b"the-secret" not in body
    assert variables == [False, True, "false"], "set while it lasts, and back afterwards"


def test_contents_where_they_are_wanted(folder: str) -> None:
    body, (used, variables), err = outcome(SCRIPT.format(folder=folder, arguments="capture_content=True"))
    assert used == [["crewai", "ollama"], True]
    assert body.count(b"the-secret") >= 3
    assert variables == [True, True, None]
    assert err == ""


def test_contents_that_the_environment_forbids(folder: str) -> None:
    script = SCRIPT.format(folder=folder, arguments="")
    body, (used, _), _ = outcome(script, OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT="no_content")
    assert used == [["ollama"], True]
    assert b"the-secret" not in body


def test_what_the_agent_sets_meanwhile_stays() -> None:
    script = """
import os
from agent_tracer.client.telemetry import instrument
handle = instrument(capture_content=False)
os.environ["TRACELOOP_TRACE_CONTENT"] = "true"
handle.shutdown()
print(os.environ["TRACELOOP_TRACE_CONTENT"], "OPENINFERENCE_HIDE_INPUTS" in os.environ)
"""
    assert run_agent(script, OTEL_TRACES_SAMPLER="always_off").lines == ["true False"]
