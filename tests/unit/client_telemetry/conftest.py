"""A tracer provider with the client's processor, whose spans stay here."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from agent_tracer.client.telemetry import state
from agent_tracer.client.telemetry.processor import AgentSpanProcessor

_OURS = ("OTEL_", "AGENT_TRACER_", "OPENINFERENCE_", "PHOENIX_", "TRACEPARENT", "TRACESTATE")


@pytest.fixture(autouse=True)
def quiet_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(_OURS)]:
        monkeypatch.delenv(name)


class Seen:
    """A provider with the client's processor, and what came through."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.processor = AgentSpanProcessor(SimpleSpanProcessor(self.exporter))
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(self.processor)

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def named(self, name: str) -> ReadableSpan:
        (found,) = [span for span in self.spans if span.name == name]
        return found

    def attributes(self, name: str) -> dict[str, Any]:
        return dict(self.named(name).attributes or {})


@pytest.fixture
def seen() -> Iterator[Seen]:
    found = Seen()
    active = state.activate(found.provider, None, capture_content=True)
    yield found
    state.deactivate(active)
    found.provider.shutdown()


@pytest.fixture
def without_content() -> Iterator[Callable[[], Seen]]:
    found = Seen()
    active = state.activate(found.provider, None, capture_content=False)
    yield lambda: found
    state.deactivate(active)
    found.provider.shutdown()
