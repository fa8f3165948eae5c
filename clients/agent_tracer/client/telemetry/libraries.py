"""Which installed instrumentors are switched on: OpenInference's, and OpenTelemetry's where OpenInference has none.

One instrumentor a library, so that a call is no two spans. A library that is not imported yet is instrumented when it
is: importing model SDKs takes seconds, which an agent that does not use them should not wait.
"""

import importlib.metadata
import logging
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from typing import Any, Final

from opentelemetry.trace import TracerProvider

from agent_tracer.client.telemetry.duplicates import framework_call_begins
from agent_tracer.client.telemetry.nesting import nest

__all__ = ["Libraries"]

_logger: Final = logging.getLogger("agent_tracer.client")

_OPENINFERENCE: Final = "openinference_instrumentor"
_OPENTELEMETRY: Final = "opentelemetry_instrumentor"
_DISABLED: Final = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"

_ALIASES: Final[Mapping[str, str]] = {
    "openai_v2": "openai", "openai_agents_v2": "openai_agents", "agents": "openai_agents",
    "google_generativeai": "google_genai", "llamaindex": "llama_index", "mistralai": "mistral", "botocore": "bedrock",
    "boto3": "bedrock", "vertex_ai": "vertexai", "langgraph": "langchain",
}  # fmt: skip
"""Names under which instrumentors of the same library are registered."""

_MODEL_LIBRARIES: Final = frozenset({
    "agno", "anthropic", "autogen", "autogen_agentchat", "bedrock", "beeai", "claude_agent_sdk", "cohere", "crewai",
    "dspy", "google_adk", "google_genai", "groq", "guardrails", "haystack", "instructor", "langchain", "litellm",
    "llama_index", "mistral", "ollama", "openai", "openai_agents", "portkey", "pydantic_ai", "replicate", "smolagents",
    "strands_agents", "together", "transformers", "vertexai", "watsonx", "writer",
})  # fmt: skip
"""What of OpenTelemetry's instrumentors is of models and agents. Others (HTTP, gRPC) are asked for by name."""

_MODULES: Final[Mapping[str, str]] = {
    "openai": "openai", "anthropic": "anthropic", "langchain": "langchain_core", "openai_agents": "agents",
    "llama_index": "llama_index.core", "google_genai": "google.genai", "mistral": "mistralai", "groq": "groq",
    "bedrock": "botocore", "crewai": "crewai", "litellm": "litellm", "dspy": "dspy", "haystack": "haystack",
}  # fmt: skip
"""The module whose import starts a library. A library that is not here is instrumented at once."""

_NATIVE: Final[Mapping[str, str]] = {"anthropic": "ANTHROPIC_OPEN_TELEMETRY"}
"""SDKs that write spans themselves, and the variable that switches them off."""

_WITHOUT_CONTENT: Final[Mapping[str, str]] = {
    "TRACELOOP_TRACE_CONTENT": "false",
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "NO_CONTENT",
    "OPENINFERENCE_HIDE_INPUTS": "true",
    "OPENINFERENCE_HIDE_OUTPUTS": "true",
    "OPENINFERENCE_HIDE_LLM_INVOCATION_PARAMETERS": "true",
    "OPENINFERENCE_HIDE_EMBEDDINGS_TEXT": "true",
    "ADK_CAPTURE_MESSAGE_CONTENT_IN_SPANS": "false",
    "ANTHROPIC_OPEN_TELEMETRY_TRACES_CONTENT_MODE": "metadata_only",
}
"""What tells instrumentors, and SDKs that write spans themselves, to leave contents out.

Sources: OpenLLMetry's privacy page, OpenTelemetry's GenAI instrumentations, OpenInference's configuration page.
"""

_ONLY_WITH_CONTENT: Final = frozenset({"opentelemetry.instrumentation.crewai"})
"""Instrumentors that have no such switch and name their spans after contents: a task's description, for one."""


@dataclass(slots=True)
class Libraries:
    """The instrumentors of one set-up."""

    provider: TracerProvider
    capture_content: bool
    on: dict[str, Any] = field(default_factory=dict)
    """Instrumentors that are switched on, by library."""
    waiting: set[str] = field(default_factory=set)
    """Libraries that are instrumented once they are imported."""
    _changed: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    """Environment variables: what they were set to here, and what they were before."""
    _ended: bool = False

    def switch_on(self, names: Collection[str] | None = None) -> None:
        """Instrument the named libraries, or all of models and agents for None. Never raises."""
        wanted = None if names is None else {_library(name) for name in names}
        disabled = {_library(name) for name in os.environ.get(_DISABLED, "").split(",") if name.strip()}
        found = _candidates()
        if not self.capture_content:
            for variable, value in _WITHOUT_CONTENT.items():
                self._set(variable, value)
        for library, points in found.items():
            openinference = any(point.group == _OPENINFERENCE for point in points)
            chosen = library in wanted if wanted is not None else openinference or library in _MODEL_LIBRARIES
            if chosen and library not in disabled and "*" not in disabled:
                self._when_imported(library, self._allowed(library, points))
        if unknown := (wanted or set()) - set(found):
            _logger.warning("no instrumentor is installed for %s", ", ".join(sorted(unknown)))

    def switch_off(self) -> None:
        """Undo what was done; a library that is still waited for stays as it is."""
        self._ended = True
        self.waiting.clear()
        for instrumentor in self.on.values():
            with suppress(Exception):
                instrumentor.uninstrument()
        self.on.clear()
        for variable, (ours, before) in self._changed.items():
            if os.environ.get(variable) == ours:  # else the agent has set it since
                os.environ.pop(variable)
                os.environ.update({} if before is None else {variable: before})
        self._changed.clear()

    def _set(self, variable: str, value: str) -> None:
        self._changed[variable] = (value, os.environ.get(variable))
        os.environ[variable] = value

    def _allowed(self, library: str, points: Sequence[EntryPoint]) -> Sequence[EntryPoint]:
        if self.capture_content:
            return points
        allowed = [point for point in points if point.module not in _ONLY_WITH_CONTENT]
        if not allowed:
            _logger.warning("%s is not instrumented: its instrumentor cannot leave contents out", library)
        return allowed

    def _when_imported(self, library: str, points: Sequence[EntryPoint]) -> None:
        if not points:
            return
        module = _MODULES.get(library)
        if module is None or module in sys.modules:
            self._instrument(library, points)
            return
        try:
            from wrapt import register_post_import_hook  # noqa: PLC0415 - comes with the instrumentors
        except ImportError:
            self._instrument(library, points)
            return
        self.waiting.add(library)
        register_post_import_hook(lambda _: self._instrument(library, points), module)

    def _instrument(self, library: str, points: Sequence[EntryPoint]) -> None:
        self.waiting.discard(library)
        if self._ended or library in self.on or _in_use(points):
            return
        for point in points:
            try:
                instrumentor = point.load()()
                if instrumentor._check_dependency_conflicts() is not None:  # noqa: SLF001 - instrument() would log it
                    continue
                instrumentor.instrument(tracer_provider=self.provider, **self._settings(point))
            except Exception:
                _logger.debug("the instrumentor of %s cannot be used", library, exc_info=True)
                continue
            self.on[library] = instrumentor
            self._adjust(library, instrumentor)
            return

    def _settings(self, point: EntryPoint) -> dict[str, Any]:
        if self.capture_content or not point.value.startswith("openinference."):
            return {}
        from openinference.instrumentation import TraceConfig  # noqa: PLC0415 - comes with the instrumentors

        return {"config": TraceConfig(hide_inputs=True, hide_outputs=True, hide_llm_invocation_parameters=True)}

    def _adjust(self, library: str, instrumentor: object) -> None:
        native = _NATIVE.get(library)
        if native is not None and native not in os.environ:
            self._set(native, "false")
        if library == "langchain":
            for adjust in (_announce_model_calls, nest):
                with suppress(Exception):
                    adjust(instrumentor)


def _announce_model_calls(instrumentor: object) -> None:
    """LangChain's spans neither become current nor tell at their start that they are model calls.

    So its handler says it, in the caller's own context: handlers of async callbacks run in a thread otherwise.
    """
    handler: Any = getattr(instrumentor, "_tracer", None)
    if handler is None:
        return
    handler.run_inline = True
    for name in ("on_chat_model_start", "on_llm_start"):
        setattr(handler, name, _announcing(getattr(handler, name)))


def _announcing(start: Any) -> Any:  # noqa: ANN401 - a bound method
    def announced(*arguments: Any, **keywords: Any) -> Any:  # noqa: ANN401 - as the method
        with framework_call_begins():
            return start(*arguments, **keywords)

    return announced


def _library(name: str) -> str:
    plain = name.strip().lower().replace("-", "_")
    return _ALIASES.get(plain, plain)


def _candidates() -> dict[str, list[EntryPoint]]:
    """By library, the instrumentors to try in turn: OpenInference's before OpenTelemetry's own, then others."""
    found: dict[str, list[EntryPoint]] = {}
    for group in (_OPENINFERENCE, _OPENTELEMETRY):
        for point in importlib.metadata.entry_points(group=group):
            known = found.setdefault(_library(point.name), [])
            if all(point.value != other.value for other in known):
                known.append(point)
    return found


def _in_use(points: Sequence[EntryPoint]) -> bool:
    """Whether the agent itself has switched on one of a library's instrumentors."""
    for point in points:
        module = sys.modules.get(point.module)
        made = getattr(module, point.attr, None) if module is not None else None
        if made is not None and getattr(made, "_is_instrumented_by_opentelemetry", False):
            return True
        instance = getattr(made, "_instance", None)
        if getattr(instance, "_is_instrumented_by_opentelemetry", False):
            return True
    return False
