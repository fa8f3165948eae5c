"""What the two parties of a call make of baggage: who is at work, what their spans say of it, and what is sent on.

It is the same for nearly all calls of an agent, so that it is remembered by the texts that it is made of.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from opentelemetry import baggage
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context

from agent_tracer.client._shared.identity import AGENT_ID, INTERACTION_ID, SESSION_ID, as_agent
from agent_tracer.client.mesh.propagation import KEPT, outgoing, with_baggage

HANDOFF: Final = "handoff"
"""OSSA's delegation type of one agent calling another."""

Attributes = dict[str, Any]

_TEXT: Final = frozenset({str})


@dataclass(frozen=True, slots=True)
class Caller:
    """What a caller makes of the baggage that it works with: what its span says and its call sends."""

    agent: str
    is_new: bool
    """The baggage names another agent, or none."""
    attributes: Attributes
    baggage: str
    alone: Context
    """The agent's context where nothing else is current."""


def caller_of(agent_id: str, entries: Mapping[str, object]) -> Caller:
    """The caller of that id (empty: the agent that the baggage names) among these baggage entries."""
    if _TEXT.issuperset(map(type, entries.values())):
        return known_caller(agent_id, tuple(entries.items()))
    return _caller_of_any(agent_id, entries)


@lru_cache(maxsize=KEPT)
def known_caller(agent_id: str, entries: tuple[tuple[str, object], ...]) -> Caller:
    """As `caller_of`, remembered."""
    return _caller_of_any(agent_id, dict(entries))


def _caller_of_any(agent_id: str, entries: Mapping[str, object]) -> Caller:
    agent = agent_id or _text(entries.get(AGENT_ID))
    is_new = entries.get(AGENT_ID) != agent
    context = Context()
    for key, value in entries.items():
        context = baggage.set_baggage(key, value, context)
    if is_new:
        context = as_agent(agent, context)
    return Caller(
        agent=agent,
        is_new=is_new,
        attributes=_identity(agent, _text(entries.get(SESSION_ID)), _text(entries.get(INTERACTION_ID))),
        baggage=outgoing(context).get("baggage", ""),
        alone=as_agent(agent, Context()),
    )


@dataclass(frozen=True, slots=True)
class Received:
    """What a callee makes of the baggage that it was sent: its own context, and what its span and link say."""

    context: Context
    attributes: Attributes
    link: Mapping[str, Any]


def receive(sent: Mapping[str, str], ambient: Context, agent: str) -> Received:
    """What the callee `agent` makes of these headers, standing in `ambient`."""
    context = with_baggage(sent.get("baggage", ""), ambient)
    entries = baggage.get_all(context)
    caller = _text(entries.get(AGENT_ID))
    attributes = dict(_identity(agent, _text(entries.get(SESSION_ID)), _text(entries.get(INTERACTION_ID))))
    link: Mapping[str, Any] = {}
    if caller and agent and caller != agent:
        attributes |= {"ossa.delegation.type": HANDOFF, "ossa.parent.agent.id": caller}
        link = BoundedAttributes(None, {"ossa.delegation.type": HANDOFF, "ossa.agent.id": caller})
    return Received(as_agent(agent, context), attributes, link)


@lru_cache(maxsize=KEPT)
def received(text: str, agent: str) -> Received:
    """As `receive` with nothing around, where it is the same for nearly all calls of a caller."""
    return receive({"baggage": text}, Context(), agent)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


@lru_cache(maxsize=KEPT)
def _identity(agent: str, session: str, interaction: str) -> Attributes:
    made = {AGENT_ID: agent, "ossa.agent.id": agent, SESSION_ID: session, "ossa.session.id": session}
    made[INTERACTION_ID] = interaction
    return {key: value for key, value in made.items() if value}
