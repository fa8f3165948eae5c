"""`PhoenixTracer`: model calls as spans in a Phoenix project, and back what Phoenix makes of them."""

import asyncio
import inspect
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import Span, Status, StatusCode

from agent_tracer.client.telemetry import contents, state
from agent_tracer.client.telemetry.limits import FLUSH_SECONDS_MAX, PHOENIX_COST_SECONDS_MAX
from agent_tracer.client.telemetry.model_answers import Usage, model_of, text_of, token_attributes, usage_of
from agent_tracer.client.telemetry.openinference import content_attributes, described, text_of_asked
from agent_tracer.client.telemetry.phoenix_server import PhoenixServer, phoenix_target
from agent_tracer.client.telemetry.quality import Evaluation, Quality, evaluate
from agent_tracer.client.telemetry.sending import Losses, QuietExporter, SendingProcessor

__all__ = ["LLMCall", "PhoenixTracer", "Quality"]

_logger: Final = logging.getLogger("agent_tracer.client")


@dataclass(frozen=True, slots=True)
class LLMCall:
    """A traced model call. Also read by key: `call["trace_id"]`."""

    trace_id: str
    """32 hex digits."""
    span_id: str
    """16 hex digits."""
    project: str
    model: str
    usage: Usage | None
    """Tokens; None where nobody told them."""
    cost: float | None
    """US dollars as Phoenix shows them; None where Phoenix has no price or did not answer in time."""
    latency: float
    """Seconds."""
    quality: Quality
    response: Any
    """What the call gave, or the response that was given."""

    @property
    def tokens(self) -> Usage | None:
        """`usage` by its other name."""
        return self.usage

    @property
    def latency_ms(self) -> float:
        """`latency` in milliseconds."""
        return self.latency * 1000

    @property
    def text(self) -> str:
        """The answer's text."""
        return text_of(self.response)

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - of any field
        """A field by its name."""
        try:
            return getattr(self, name)
        except AttributeError:
            raise KeyError(name) from None


class PhoenixTracer:
    """Writes model calls to one project of a Phoenix.

    A Phoenix that is down costs no error: the span is lost and counted (`dropped_spans`), the cost is None.
    """

    def __init__(  # noqa: PLR0913 - where, as whom, and how long
        self,
        endpoint: str | None = None,
        project: str | None = None,
        *,
        project_name: str | None = None,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        evaluators: Mapping[str, Any] | None = None,
        capture_content: bool = True,
        cost_timeout: float = PHOENIX_COST_SECONDS_MAX,
    ) -> None:
        """Set up sending; nothing is sent yet.

        Args:
            endpoint: `http://localhost:6006`, with or without `/v1/traces`; else PHOENIX_COLLECTOR_ENDPOINT, else that.
            project: The Phoenix project; else PHOENIX_PROJECT_NAME, else `default`.
            project_name: `project` by its other name.
            api_key: Sent as a bearer token; else PHOENIX_API_KEY.
            headers: More headers; else PHOENIX_CLIENT_HEADERS.
            evaluators: By name, asked about every call; see `trace_llm_call`.
            capture_content: False keeps prompts and answers out of the spans.
            cost_timeout: Seconds to wait for Phoenix's figure; 0 does not ask.

        Raises:
            ValueError: The endpoint is no address.
        """
        from phoenix.otel import PROJECT_NAME, HTTPSpanExporter, TracerProvider  # noqa: PLC0415 - takes half a second
        from phoenix.otel.settings import (  # noqa: PLC0415
            get_env_client_headers,
            get_env_phoenix_auth_header,
            get_env_project_name,
        )

        found = phoenix_target(endpoint)
        self.endpoint = found.shown
        """`http://host:port` of the Phoenix, a password in it masked."""
        self.project = project or project_name or get_env_project_name()
        key = {"authorization": f"Bearer {api_key}"} if api_key else get_env_phoenix_auth_header() or {}
        sent = {**(get_env_client_headers() or {}), **key, **(headers or {}), **found.credentials}
        traces_url = f"{found.url}/v1/traces"
        self._evaluators = dict(evaluators or {})
        self._capture = state.content_allowed(wanted=capture_content)
        self._cost_seconds = cost_timeout
        self._server = PhoenixServer(found.url, sent)
        self._losses = Losses(traces_url)
        quiet = QuietExporter(lambda: HTTPSpanExporter(endpoint=traces_url, headers=sent), self._losses)
        self._sending = SendingProcessor(quiet, self._losses)
        self._provider = TracerProvider(
            endpoint=traces_url,
            protocol="http/protobuf",
            resource=Resource.create({PROJECT_NAME: self.project}),
            verbose=False,
        )
        self._provider.add_span_processor(self._sending)  # in place of the one that sends while the caller waits
        self._tracer = self._provider.get_tracer(state.SCOPE, state.version())

    @property
    def tracer_provider(self) -> trace.TracerProvider:
        """For OpenInference instrumentors that shall write to the project."""
        return self._provider

    @property
    def dropped_spans(self) -> int:
        """Spans that did not get to Phoenix."""
        return self._losses.total

    def trace_llm_call(  # noqa: PLR0913 - what there is to say of a call
        self,
        call: Callable[..., Any] | str | None = None,
        /,
        *arguments: Any,  # noqa: ANN401 - the call's
        model: str | None = None,
        provider: str | None = None,
        messages: Sequence[Any] | None = None,
        prompt: str | None = None,
        response: Any = None,  # noqa: ANN401 - any SDK's object, a dict or a text
        usage: Any = None,  # noqa: ANN401 - any SDK's object or a dict
        tokens: Any = None,  # noqa: ANN401 - `usage` by its other name
        latency: float | None = None,
        latency_ms: float | None = None,
        name: str | None = None,
        session: str | None = None,
        attributes: Mapping[str, Any] | None = None,
        error: BaseException | str | None = None,
        coherence: Any = None,  # noqa: ANN401 - an evaluator or a score
        relevance: Any = None,  # noqa: ANN401 - an evaluator or a score
        evaluators: Mapping[str, Any] | None = None,
        **keywords: Any,  # noqa: ANN401 - the call's
    ) -> Any:  # noqa: ANN401 - an LLMCall, or an awaitable of one
        """Trace a model call: make it, or tell one that was made.

        With a callable, calls it with the arguments and keywords, and with `model`, `messages`, `prompt` as far as it
        takes them; measures the time; reads usage, model and text from what it gives (OpenAI's and Anthropic's objects,
        or dicts). An async callable makes this awaitable. What the callable raises is told and goes on unchanged.

        Without one, writes the given values: `trace_llm_call(model="gpt-4.1-mini", prompt="Hi", response="Hello",
        usage={"prompt_tokens": 1, "completion_tokens": 1}, latency=0.2)`; the model may come first, prompt and
        response after it.

        Args:
            call: What to call; or the model's name; or nothing.
            *arguments: The callable's; after a model's name, prompt and response.
            model: The model asked for. Where the answer names one, that is told.
            provider: Whose model it is; guessed by the model's name where it is not said.
            messages: What was asked, as a chat.
            prompt: What was asked, as a text.
            response: The answer: a text, an SDK's object or a dict.
            usage: Tokens, as an SDK's object or a dict; read from the response where it is not said.
            tokens: `usage` by its other name.
            latency: Seconds, of a call that was made.
            latency_ms: The same in milliseconds.
            name: The span's name.
            session: The conversation.
            attributes: Others of the span.
            error: What a call that was made failed with.
            coherence: An evaluator, or a score. See `quality.Evaluator`.
            relevance: An evaluator, or a score.
            evaluators: More of them, by name. All go to Phoenix as annotations of the span.
            **keywords: The callable's; without one, attributes of the span.

        Returns:
            An `LLMCall`, once Phoenix has stored the span, or `cost_timeout` is over. With an async callable an
            awaitable of one.
        """
        told = {"model": model, "messages": messages, "prompt": prompt}
        facts = _Facts(
            model=model,
            provider=provider,
            asked=messages if messages is not None else prompt,
            name=name,
            session=session,
            attributes={str(key): value for key, value in (attributes or {}).items()},
            evaluators={**self._evaluators, **_given(coherence=coherence, relevance=relevance), **(evaluators or {})},
        )
        if callable(call):
            passed = {**_taken(call, told), **keywords}
            return self._made(call, arguments, passed, facts)
        facts.attributes.update({key: contents.text(value) for key, value in keywords.items()})
        if isinstance(call, str):
            facts.model, (facts.asked, response) = call, _positional(arguments, facts.asked, response)
        seconds = _seconds(latency, latency_ms)
        span = self._begin(facts, time.time_ns() - int(seconds * 1e9))
        answered = _Answered(response, usage if usage is not None else tokens, seconds, error)
        return self._told(span, facts, answered)

    def flush(self, timeout: float = FLUSH_SECONDS_MAX) -> bool:
        """Send what waits, in `timeout` seconds at most; False where something did not get out."""
        return self._sending.force_flush(int(timeout * 1000))

    def shutdown(self) -> None:
        """Send what waits, for three seconds at most, and end."""
        self._sending.shutdown()

    def _made(
        self, call: Callable[..., Any], arguments: Sequence[Any], keywords: Mapping[str, Any], facts: "_Facts"
    ) -> Any:  # noqa: ANN401 - an LLMCall or an awaitable of one
        span, started = self._begin(facts, time.time_ns()), time.perf_counter()
        try:
            with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                response = call(*arguments, **keywords)
        except BaseException as error:
            self._end(span, facts, _Answered(None, None, time.perf_counter() - started, error))
            raise
        if inspect.isawaitable(response):
            return self._awaited(response, span, facts, started)
        return self._told(span, facts, _Answered(response, None, time.perf_counter() - started))

    async def _awaited(self, coming: Any, span: Span, facts: "_Facts", started: float) -> LLMCall:  # noqa: ANN401
        try:
            with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                response = await coming
        except BaseException as error:
            self._end(span, facts, _Answered(None, None, time.perf_counter() - started, error))
            raise
        answered = _Answered(response, None, time.perf_counter() - started)
        return await asyncio.to_thread(self._told, span, facts, answered)

    def _begin(self, facts: "_Facts", start_ns: int) -> Span:
        facts.start_ns = start_ns
        attributes = {"openinference.span.kind": "LLM", **facts.attributes}
        attributes |= {"session.id": facts.session} if facts.session else {}
        attributes |= {"llm.model_name": facts.model} if facts.model else {}
        return self._tracer.start_span(facts.name or "llm", attributes=attributes, start_time=start_ns)

    def _end(self, span: Span, facts: "_Facts", answered: "_Answered") -> Usage | None:
        model = model_of(answered.response) or facts.model or ""
        usage = usage_of(answered.usage) if answered.usage is not None else usage_of(answered.response)
        span.set_attributes(described(model, facts.provider) | (token_attributes(usage) if usage else {}))
        if self._capture:
            span.set_attributes(content_attributes(facts.asked, answered.response))
        if answered.error is not None:
            failed = answered.error
            if isinstance(failed, BaseException):
                span.record_exception(failed)
                failed = f"{type(failed).__name__}: {failed}"
            span.set_status(Status(StatusCode.ERROR, failed))
        else:
            span.set_status(Status(StatusCode.OK))
        span.end(facts.start_ns + int(answered.seconds * 1e9))
        return usage

    def _told(self, span: Span, facts: "_Facts", answered: "_Answered") -> LLMCall:
        usage = self._end(span, facts, answered)
        context = span.get_span_context()
        span_id = trace.format_span_id(context.span_id)
        cost = None
        judged = evaluate(facts.evaluators, text_of_asked(facts.asked), text_of(answered.response))
        if self.flush():
            cost = self._server.cost(span_id, self._cost_seconds) if self._cost_seconds > 0 else None
            if judged and not self._server.annotate([_annotation(span_id, *one) for one in judged.items()]):
                _logger.warning("Phoenix did not take the evaluations of span %s", span_id)
        return LLMCall(
            trace_id=trace.format_trace_id(context.trace_id),
            span_id=span_id,
            project=self.project,
            model=model_of(answered.response) or facts.model or "",
            usage=usage,
            cost=cost,
            latency=answered.seconds,
            quality=Quality({name: one.score for name, one in judged.items() if one.score is not None}),
            response=answered.response,
        )


@dataclass(slots=True)
class _Facts:
    """What is known before the answer."""

    model: str | None
    provider: str | None
    asked: Any
    name: str | None
    session: str | None
    attributes: dict[str, Any]
    evaluators: dict[str, Any]
    start_ns: int = 0


@dataclass(frozen=True, slots=True)
class _Answered:
    response: Any
    usage: Any
    seconds: float
    error: BaseException | str | None = None


def _given(**values: Any) -> dict[str, Any]:  # noqa: ANN401 - evaluators or scores
    return {name: value for name, value in values.items() if value is not None}


def _taken(call: Callable[..., Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the told values that a callable has parameters for."""
    given = _given(**told)
    try:
        parameters = inspect.signature(call).parameters.values()
    except (TypeError, ValueError):
        return given
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return given
    names = {parameter.name for parameter in parameters}
    return {name: value for name, value in given.items() if name in names}


def _positional(arguments: Sequence[Any], asked: Any, response: Any) -> tuple[Any, Any]:  # noqa: ANN401
    """Prompt and response after a model that came first."""
    return (arguments[0] if arguments else asked), (arguments[1] if len(arguments) > 1 else response)


def _seconds(latency: float | None, latency_ms: float | None) -> float:
    """A told latency; 0 for what is no number that a span can last."""
    try:
        seconds = float(latency) if latency is not None else float(latency_ms or 0.0) / 1000
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return seconds if math.isfinite(seconds) else 0.0


def _annotation(span_id: str, name: str, judged: Evaluation) -> dict[str, Any]:
    result = {"score": judged.score, "label": judged.label, "explanation": judged.explanation}
    return {
        "span_id": span_id,
        "name": name,
        "annotator_kind": judged.kind,
        "identifier": state.SCOPE,
        "result": {key: value for key, value in result.items() if value is not None},
    }
