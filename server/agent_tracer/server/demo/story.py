"""The story that the demo plays: a planner, a researcher and a writer make the notes of a release."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

RELEASES: Final = ("2.3.0", "2.3.1", "2.4.0", "2.5.0", "3.0.0")

CHANGES: Final = (
    "Checkout retries a declined card once and tells the customer why it was declined.",
    "Search ranks products by availability in the nearest warehouse.",
    "Refund requests for late shipments are approved without a supervisor up to 50 euros.",
    "The mobile app caches the product catalogue and opens twice as fast offline.",
    "Breaking: the orders API drops version one; clients must send an idempotency key.",
    "Invoices show the reduced tax rate for books and medical products.",
    "Passkeys replace text messages as the second factor of customer accounts.",
    "Support agents see shipment delays next to the conversation.",
)

CHANGELOG_TOOL: Final = "search_changelog"
PUBLISH_TOOL: Final = "publish_notes"
TOOL_TIMEOUT_SECONDS: Final = 0.3
"""How long an agent waits for a tool."""


class Trouble(Enum):
    """What befalls the changelog tool in a run: the seconds it needs, attempt by attempt."""

    NONE = (0.02, 0.02)
    SLOW = (0.25, 0.25)
    TIMEOUT_ONCE = (3600.0, 0.02)
    TIMEOUT = (3600.0, 3600.0)


TROUBLES: Final = (Trouble.TIMEOUT_ONCE, Trouble.NONE, Trouble.SLOW, Trouble.TIMEOUT, Trouble.NONE)
"""By run, over and over: the first run has a failure already, so that the shortest demo shows one."""


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent as `gen_ai.agent.*` describes it, and the type of the task it does here."""

    id: str
    name: str
    type: str
    version: str
    task_type: str
    instructions: str


PLANNER: Final = Agent(
    "release-planner",
    "Release planner",
    "planner",
    "1.4.0",
    "plan",
    "You plan release notes: choose the audience, the emphasis and the questions that research must answer.",
)
RESEARCHER: Final = Agent(
    "release-researcher",
    "Release researcher",
    "researcher",
    "2.1.0",
    "research",
    "You collect what changed in a release. Search the changelog before you answer, and cite what you found.",
)
WRITER: Final = Agent(
    "release-writer",
    "Release writer",
    "writer",
    "3.0.2",
    "write",
    "You write release notes in plain words, short sentences, most important first; then publish them.",
)

PLAN_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "audience": {"enum": ["customers", "developers", "support"]},
        "emphasis": {"type": "string"},
        "questions": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["audience", "emphasis", "questions"],
    "additionalProperties": False,
}

TOOL_SCHEMAS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    CHANGELOG_TOOL: (
        "Searches the changelog of all releases.",
        {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
    ),
    PUBLISH_TOOL: (
        "Publishes finished notes.",
        {"type": "object", "properties": {"headline": {"type": "string"}}, "required": ["headline"]},
    ),
}
"""Description and JSON schema of the arguments, by tool."""


def search_changelog(query: str) -> str:
    """The changes that share a word with the query, as JSON; all of them where none does."""
    words = set(query.lower().split())
    found = [change for change in CHANGES if words & set(change.lower().rstrip(".").split())]
    return json.dumps(found or list(CHANGES))
