"""Who is at work: the agent, session and interaction that a context's baggage names.

The baggage keys are the span attributes of the same meaning, so that a span processor may copy them as they are, and
another program's reader of W3C baggage understands them.
"""

from typing import Final

from opentelemetry import baggage
from opentelemetry.context import Context, get_current

AGENT_ID: Final = "gen_ai.agent.id"
AGENT_NAME: Final = "gen_ai.agent.name"
AGENT_VERSION: Final = "gen_ai.agent.version"
AGENT_TYPE: Final = "gen_ai.agent.type"
SESSION_ID: Final = "gen_ai.conversation.id"
WORKFLOW_ID: Final = "gen_ai.workflow.name"
INTERACTION_ID: Final = "ossa.interaction.id"

AGENT_KEYS: Final = (AGENT_ID, AGENT_NAME, AGENT_VERSION, AGENT_TYPE)
"""What belongs to one agent: another agent takes over none of it."""


def named(key: str, context: Context | None = None) -> str:
    """The baggage entry of the context (the current one unless given), empty without one."""
    value = baggage.get_baggage(key, context)
    return value if isinstance(value, str) else ""


def current_agent(context: Context | None = None) -> str:
    """The id of the agent at work in the context, empty where none is named."""
    return named(AGENT_ID, context)


def as_agent(agent_id: str, context: Context | None = None) -> Context:
    """The context with that agent at work; with "" nobody, so that what came from afar names no agent here."""
    made = get_current() if context is None else context
    if agent_id == named(AGENT_ID, made):
        return made
    held = baggage.get_all(made)
    for key in AGENT_KEYS:
        if key in held:
            made = baggage.remove_baggage(key, made)
    return baggage.set_baggage(AGENT_ID, agent_id, made) if agent_id else made
