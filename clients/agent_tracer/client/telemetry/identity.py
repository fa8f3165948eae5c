"""Who is working: agent, workflow and session in baggage, so that every span below tells them, in other processes too.

Baggage keys are the attributes' own names. Baggage goes where the propagator carries it (OTEL_PROPAGATORS).
"""

from collections.abc import Mapping
from typing import Final

from opentelemetry import baggage, trace
from opentelemetry.context import Context

from agent_tracer.client._shared.identity import (
    AGENT_ID,
    AGENT_KEYS,
    AGENT_NAME,
    AGENT_TYPE,
    AGENT_VERSION,
    SESSION_ID,
    WORKFLOW_ID,
)

__all__ = ["AGENT_ID", "AGENT_NAME", "AGENT_TYPE", "AGENT_VERSION", "SESSION", "USER", "WORKFLOW", "carried", "carry"]

WORKFLOW: Final = WORKFLOW_ID
SESSION: Final = SESSION_ID
USER: Final = "user.id"
"""Not in baggage: an end user's id is nothing to send to whomever the agent calls."""

_CARRIED: Final = (*AGENT_KEYS, WORKFLOW, SESSION)
_FOREIGN_AGENT: Final = ("agent.id", AGENT_NAME, "agent.name", "graph.node.id", "langfuse.agent.id")
_AGENT_OPERATIONS: Final = frozenset({"invoke_agent", "create_agent"})


def carry(attributes: Mapping[str, object], context: Context | None) -> Context | None:
    """The context with the identity among a span's attributes in its baggage; a new agent leaves nothing of the old."""
    if AGENT_ID in attributes:
        for name in AGENT_KEYS:
            if name not in attributes:
                context = baggage.remove_baggage(name, context)
    for name in _CARRIED:
        if name in attributes:
            context = baggage.set_baggage(name, attributes[name], context)
    return context


def carried(context: Context | None) -> dict[str, str]:
    """The identity in a context's baggage (the current one's for None), as attributes."""
    entries = baggage.get_all(context)
    return {name: str(entries[name]) for name in _CARRIED if name in entries} if entries else {}


def inherited(span: trace.Span, context: Context | None) -> dict[str, str]:
    """What a starting span of anyone takes over from its context.

    An agent of another framework keeps its own identity, and so do the spans under it, which the server gives to
    their nearest agent: where the parent span is local and not ours, no agent is written.
    """
    found = carried(context)
    if not found:
        return found
    own: Mapping[str, object] = getattr(span, "attributes", None) or {}
    if all(name in own for name in found):
        return {}
    if AGENT_ID in found and (_is_agent(own) or not _is_ours(trace.get_current_span(context), found[AGENT_ID])):
        for name in AGENT_KEYS:
            found.pop(name, None)
    return {name: value for name, value in found.items() if name not in own}


def _is_agent(attributes: Mapping[str, object]) -> bool:
    return (
        AGENT_ID in attributes
        or any(name in attributes for name in _FOREIGN_AGENT)
        or attributes.get("openinference.span.kind") == "AGENT"
        or attributes.get("gen_ai.operation.name") in _AGENT_OPERATIONS
    )


def _is_ours(parent: trace.Span, agent_id: str) -> bool:
    attributes: Mapping[str, object] | None = getattr(parent, "attributes", None)
    return attributes is None or attributes.get(AGENT_ID) == agent_id
