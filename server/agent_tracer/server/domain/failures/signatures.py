"""Which failed runs failed alike: a signature that depends on the run alone, hashed to the id of its group."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agent_tracer.server.domain.failures.masking import template
from agent_tracer.server.domain.failures.roles import Role, roles
from agent_tracer.server.domain.failures.steps import Step, bounded
from agent_tracer.server.domain.failures.wording import error_line, has_error

NAME_CHARACTERS_MAX: Final = 128
TITLE_CHARACTERS_MAX: Final = 160

VERSION: Final = "fg1"
"""Goes up with every change of what a signature is: groups of two versions must not be mixed."""

_HASH_PERSON: Final = f"agent-tracer:{VERSION}".encode()

_GROUP_BYTES: Final = 8
_EXCEPTION: Final = re.compile(r"^\s*(?:[\w.]+\.)?(\w+(?:Error|Exception|Warning|Exit|Interrupt|Timeout))\b")


@dataclass(frozen=True, slots=True)
class Signature:
    """What a failed run failed by. `error_type` and `message_template` are empty where no step reported an error.

    `group_id`: 16 hex digits, the same for the same four fields, upper and lower case not told apart.
    """

    step_kind: str
    step_name: str
    error_type: str
    message_template: str
    group_id: str

    @property
    def title(self) -> str:
        """One line for a list of groups."""
        where = f"{self.step_kind} {self.step_name}".strip() or "a run without steps"
        if not (self.error_type or self.message_template):
            return f"Failed without an error, last step {where}"[:TITLE_CHARACTERS_MAX]
        what = self.message_template
        if self.error_type and self.error_type.lower() not in what.lower():
            what = f"{self.error_type}: {what}".removesuffix(": ")
        return f"{where}: {what}"[:TITLE_CHARACTERS_MAX]


def signature(steps: Sequence[Step], others: Sequence[Step] = ()) -> Signature:
    """The signature of a failed run: its deepest failing step that no retry mended, the last of equally deep ones.

    Failing steps are those of status error; where there are none, the tools' whose text reports an error; then those
    of `others` (the spans around the steps) that say how they failed. A run without any is known by its last step that
    is not a person's.
    """
    ordered = bounded(steps)
    step = _failing(ordered) or _telling(others)
    if step is None:
        last = next((one for one, role in _backwards(ordered) if role is not Role.REQUESTER), None)
        return _signed(last.kind if last else "", _name(last) if last else "", "", "")
    message = _message(step)
    exception = _EXCEPTION.match(message)
    error_type = step.error_type.rpartition(".")[2] or (exception.group(1) if exception else "")
    return _signed(step.kind, _name(step), template(error_type)[:NAME_CHARACTERS_MAX], template(message))


def _signed(kind: str, name: str, error_type: str, message_template: str) -> Signature:
    digest = hashlib.blake2b(digest_size=_GROUP_BYTES, person=_HASH_PERSON)
    for part in (kind, name, error_type, message_template):
        raw = part.casefold().encode("utf-8", "replace")
        digest.update(len(raw).to_bytes(8, "big"))
        digest.update(raw)
    return Signature(kind, name, error_type, message_template, digest.hexdigest())


def _failing(steps: Sequence[Step]) -> Step | None:
    marked = [step for step in steps if step.failed or step.error_type]
    reported = [step for step, role in _backwards(steps) if role is Role.TOOL and has_error(step.text)]
    failed = marked or reported[::-1]
    depth = _depths(steps)
    return max(_not_retried(failed, steps), key=lambda step: (depth[step.span_id], step.index), default=None)


def _telling(others: Sequence[Step]) -> Step | None:
    told = [step for step in bounded(others) if step.failed and (step.error_type or step.message)]
    depth = _depths(told)
    return max(told, key=lambda step: (depth[step.span_id], step.index), default=None)


def _not_retried(failed: Sequence[Step], steps: Sequence[Step]) -> list[Step]:
    """The failing steps that no later step of the same kind, name and caller mended."""
    failing = {step.span_id for step in failed}
    mended: dict[tuple[str, str, str], int] = {}
    for step in steps:
        if step.span_id not in failing:
            mended[step.kind, _name(step), step.parent] = step.index
    return [step for step in failed if mended.get((step.kind, _name(step), step.parent), -1) < step.index]


def _depths(steps: Sequence[Step]) -> Mapping[str, int]:
    """Spans above each one, in the run; a loop of parents ends where it comes back to itself."""
    parents = {step.span_id: step.parent for step in steps}
    found: dict[str, int] = {}
    for span_id in parents:
        way: list[str] = []
        seen: set[str] = set()
        at = span_id
        while at in parents and at not in found and at not in seen:
            way.append(at)
            seen.add(at)
            at = parents[at]
        above = found.get(at, -1)
        for height, one in enumerate(reversed(way), 1):
            found[one] = above + height
    return found


def _message(step: Step) -> str:
    """What was reported: the exception that the text ends with, else the status message, else the line of the error."""
    text = step.message or step.output
    raised = [line for line in text.splitlines() if _EXCEPTION.match(line)]
    if raised:
        return raised[-1].strip()
    return step.message or error_line(text) or next((line for line in text.splitlines() if line.strip()), "")


def _name(step: Step) -> str:
    return template(step.tool_name or step.name or step.agent_id)[:NAME_CHARACTERS_MAX]


def _backwards(steps: Sequence[Step]) -> list[tuple[Step, Role]]:
    return list(zip(steps, roles(steps), strict=True))[::-1]
