"""What one process of a build hands to the next in environment variables: the trace, and a job that is under way.

Sources: W3C Trace Context; OpenTelemetry, "Environment Variables as Context Propagation Carriers" (TRACEPARENT,
TRACESTATE).
"""

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final
from urllib.parse import quote

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanContext, TraceFlags, get_current_span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from agent_tracer.client._shared.environment import API_KEY, URL, BadEndpointError, target
from agent_tracer.client.buildkit.sending import Ids

JOB: Final = "AGENT_TRACER_CI_JOB"
_FIELDS: Final = ("traceparent", "tracestate")
_PROPAGATOR: Final = TraceContextTextMapPropagator()
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROTOCOL: Final = "OTEL_EXPORTER_OTLP_PROTOCOL"
_HEADERS: Final = "OTEL_EXPORTER_OTLP_HEADERS"


def parent(environment: Mapping[str, str]) -> Context:
    """The span that TRACEPARENT names, as a context to start spans in; an empty one where it names none."""
    carrier = {name: environment[name.upper()] for name in _FIELDS if environment.get(name.upper())}
    return _PROPAGATOR.extract(carrier, context=Context())


def trace_variables(span: Span) -> dict[str, str]:
    """TRACEPARENT and TRACESTATE of a span; nothing for one that is not traced at all."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, context=set_span_in_context(span, Context()))
    return {name.upper(): value for name, value in carrier.items()}


def child_environment(span: Span, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process whose spans are to lie below the span, and to go where it goes.

    An OTEL_* variable that is there already stays as it is. Without AGENT_TRACER_URL none is added: some tools take an
    endpoint as the wish to be traced, and wait for it.
    """
    child = dict(environment)
    traced = trace_variables(span)
    if traced:
        child.pop("TRACESTATE", None)
        child.update(traced)
    if environment.get(URL) and not any(environment.get(name) for name in _ENDPOINTS):
        try:
            receiver = target()
        except BadEndpointError:
            return child
        child[_ENDPOINTS[0]] = receiver.url
        child.setdefault(_PROTOCOL, receiver.transport)
        key = environment.get(API_KEY)
        own = {"authorization": f"Bearer {key}"} if key else {}
        if headers := own | dict(receiver.credentials):
            child.setdefault(_HEADERS, ",".join(f"{name}={quote(value, safe='')}" for name, value in headers.items()))
    return child


@dataclass(frozen=True, slots=True)
class StartedJob:
    """A job between `job start` and `job end`; ids are of its own span."""

    name: str
    agent_id: str
    agent_version: str
    start_ns: int
    trace_id: str
    span_id: str
    traceparent: str = ""
    tracestate: str = ""

    @property
    def parent(self) -> Context:
        """What the job itself was started in."""
        return parent({"TRACEPARENT": self.traceparent, "TRACESTATE": self.tracestate})

    @property
    def ids(self) -> Ids:
        """Those that `job start` gave out."""
        return Ids(int(self.trace_id, 16), int(self.span_id, 16))

    def variables(self) -> dict[str, str]:
        """What the steps of the job, and `job end`, are to find in their environment."""
        over = get_current_span(self.parent).get_span_context()
        flags = over.trace_flags if over.is_valid else TraceFlags(TraceFlags.SAMPLED)
        own = SpanContext(int(self.trace_id, 16), int(self.span_id, 16), is_remote=True, trace_flags=flags)
        text = base64.urlsafe_b64encode(json.dumps(asdict(self)).encode()).decode()
        found = {"TRACEPARENT": f"00-{own.trace_id:032x}-{own.span_id:016x}-{flags:02x}", JOB: text}
        return found | ({"TRACESTATE": self.tracestate} if self.tracestate else {})


def start_job(name: str, agent_id: str, agent_version: str, start_ns: int, trace_id: int | None) -> StartedJob:
    """A job that begins now, in the trace of TRACEPARENT, else in `trace_id`, else in a new one."""
    over = get_current_span(parent(os.environ)).get_span_context()
    ids = Ids(over.trace_id if over.is_valid else trace_id)
    return StartedJob(
        name=name,
        agent_id=agent_id,
        agent_version=agent_version,
        start_ns=start_ns,
        trace_id=f"{ids.generate_trace_id():032x}",
        span_id=f"{ids.generate_span_id():016x}",
        traceparent=os.environ.get("TRACEPARENT", "") if over.is_valid else "",
        tracestate=over.trace_state.to_header() if over.is_valid else "",
    )


def started_job(environment: Mapping[str, str]) -> StartedJob | None:
    """The job that the environment tells of; none where it tells of none, or what it says cannot be read."""
    try:
        held = json.loads(base64.urlsafe_b64decode(environment[JOB]))
        job = StartedJob(**held)
        int(job.trace_id, 16), int(job.span_id, 16), int(job.start_ns)
    except (KeyError, ValueError, TypeError):
        return None
    return job
