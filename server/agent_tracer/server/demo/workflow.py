"""`agent-tracer demo`: a workflow of three agents, real SDKs and real OTLP, no key and no network."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import anthropic
import openai
from openinference.instrumentation import using_session
from openinference.instrumentation.anthropic import AnthropicInstrumentor
from openinference.instrumentation.openai import OpenAIInstrumentor
from opentelemetry.sdk.trace import TracerProvider

from agent_tracer.server.demo.agents import Crew, ToolTimeoutError
from agent_tracer.server.demo.stand_in import Latency, stand_in
from agent_tracer.server.demo.story import RELEASES, TROUBLES
from agent_tracer.server.demo.telemetry import DemoTelemetry, demo_telemetry
from agent_tracer.server.limits import DEMO_RUNS_MAX

WORKFLOW: Final = "release_notes"
_LATENCY: Final = Latency(first_token_seconds=0.02, per_token_seconds=0.0005)
_KEY: Final = "stand-in"


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What a demo made."""

    trace_ids: tuple[str, ...]
    """32 hex digits each, in the order of the runs."""
    session_id: str
    spans: int
    llm_calls: int
    """Chats and messages; embeddings are not among them."""
    errors: int
    """Spans with error status."""
    failed_runs: int


def run_demo(otlp_endpoint: str, *, runs: int = 5, progress: Callable[[str], None] | None = None) -> DemoResult:
    """Plays the workflow `runs` times and sends every span to an OTLP receiver, run by run.

    `otlp_endpoint` is `host:port` for gRPC without TLS, or an http(s) URL. The SDKs' class methods are
    instrumented while it runs: one demo at a time in a process. Each run takes about half a second.
    Raises ValueError for `runs` out of bounds, DemoEndpointError, DemoDeliveryError.
    """
    if not 1 <= runs <= DEMO_RUNS_MAX:
        message = f"runs must be 1 to {DEMO_RUNS_MAX}, not {runs}"
        raise ValueError(message)
    report = progress or (lambda _line: None)
    session_id = f"demo-{uuid.uuid4().hex[:12]}"
    trace_ids: list[str] = []
    failed_runs = 0
    with demo_telemetry(otlp_endpoint) as telemetry, _crew(telemetry, session_id) as crew:
        for index in range(runs):
            trace_id, outcome, failed = _run(crew, index)
            telemetry.deliver()
            trace_ids.append(trace_id)
            failed_runs += failed
            report(f"run {index + 1} of {runs}, trace {trace_id}: {outcome}")
        counts = telemetry.counts
    return DemoResult(tuple(trace_ids), session_id, counts.spans, counts.llm_calls, counts.errors, failed_runs)


def _run(crew: Crew, index: int) -> tuple[str, str, bool]:
    """Trace id, what happened in a few words, and whether the run failed."""
    release, trouble = RELEASES[index % len(RELEASES)], TROUBLES[index % len(TROUBLES)]
    attributes = {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.workflow.name": WORKFLOW,
        "gen_ai.conversation.id": crew.session_id,
        "session.id": crew.session_id,
    }
    trace_id = ""
    try:
        with crew.tracer.start_as_current_span(f"invoke_workflow {WORKFLOW}", attributes=attributes) as root:
            trace_id = f"{root.get_span_context().trace_id:032x}"
            findings = crew.research(release, crew.plan(release), trouble)
            crew.write(release, findings)
    except ToolTimeoutError as timeout:
        return trace_id, f"failed, {timeout}", True
    return trace_id, _OUTCOMES.get(trouble.name, "notes published"), False


_OUTCOMES: Final = {
    "SLOW": "notes published, after a slow tool",
    "TIMEOUT_ONCE": "notes published, after a tool timed out and was tried again",
}


@contextmanager
def _crew(telemetry: DemoTelemetry, session_id: str) -> Iterator[Crew]:
    with (
        stand_in(_LATENCY) as base_url,
        _instrumented(telemetry.provider),
        # Proxies of the environment are not asked: nothing may leave the machine.
        openai.OpenAI(
            base_url=f"{base_url}/v1",
            api_key=_KEY,
            max_retries=0,
            http_client=openai.DefaultHttpxClient(trust_env=False),
        ) as openai_client,
        # The SDK's own spans are off: each call would be seen twice beside the instrumentor's.
        anthropic.Anthropic(
            base_url=base_url,
            api_key=_KEY,
            max_retries=0,
            open_telemetry=False,
            http_client=anthropic.DefaultHttpxClient(trust_env=False),
        ) as anthropic_client,
        using_session(session_id),
    ):
        tracer = telemetry.provider.get_tracer("agent_tracer.demo")
        yield Crew(tracer, openai_client, anthropic_client, WORKFLOW, session_id)


@contextmanager
def _instrumented(provider: TracerProvider) -> Iterator[None]:
    instrumentors = (OpenAIInstrumentor(), AnthropicInstrumentor())
    for instrumentor in instrumentors:
        instrumentor.instrument(tracer_provider=provider)
    try:
        yield
    finally:
        for instrumentor in instrumentors:
            instrumentor.uninstrument()
