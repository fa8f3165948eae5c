"""Whether an OTLP export request may be kept as it came in, and if not, what of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from google.protobuf.message import Message

from agent_tracer.server.domain.errors import TooLargeError
from agent_tracer.server.domain.otlp_json import Request
from agent_tracer.server.domain.otlp_repair import repair
from agent_tracer.server.domain.otlp_rules import EXPLANATIONS, RULES, Bounds, Reason, Rules, walk
from agent_tracer.server.domain.otlp_wire import (
    MalformedRequestError,
    TooManyItemsError,
    decode_shallow,
    decode_sound,
)
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.limits import ATTRIBUTE_VALUE_BYTES_MAX, MESSAGE_BYTES_MAX

__all__ = ["EXPLANATIONS", "MalformedRequestError", "Reason", "TooManyItemsError", "Verdict", "validate"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What may be kept of a request.

    `payload` is a serialised export request of the same signal: the very bytes that came in where all was
    well, empty where nothing is left. `warnings` tell of items that were kept, but changed.
    """

    singular: str
    payload: bytes
    kept: int
    rejected: Mapping[Reason, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def rejected_count(self) -> int:
        """Items of which nothing may be kept."""
        return sum(self.rejected.values())

    @property
    def message(self) -> str:
        """For the sender's eyes, as OTLP's partial success carries it; empty where all was kept as sent."""
        parts = list(self.warnings)
        if self.rejected:
            reasons = ", ".join(f"{count} {EXPLANATIONS[reason]}" for reason, count in self.rejected.items())
            total = self.kept + self.rejected_count
            parts.insert(0, f"rejected {self.rejected_count} of {_plural(total, self.singular)}: {reasons}")
        return "; ".join(parts)


def validate(signal: Signal, payload: bytes, now_ns: int) -> Verdict:
    """Check one export request against the rules and limits, at the server's time now_ns.

    Costs about 2 us a span where all is well. Raises MalformedRequestError, TooManyItemsError, TooLargeError.
    """
    if len(payload) > MESSAGE_BYTES_MAX:
        raise TooLargeError(f"an export request takes at most {MESSAGE_BYTES_MAX} bytes: send smaller batches")
    rules, bounds = RULES[signal], Bounds.at(now_ns)
    request = decode_shallow(signal, payload)
    if request is not None:
        count = _count_clean(request, rules, bounds, check_sizes=len(payload) > ATTRIBUTE_VALUE_BYTES_MAX)
        if count is not None:
            return Verdict(rules.singular, payload if count else b"", count)
    return _repaired(signal, payload, bounds, check_nesting=request is None)


def _count_clean(request: Request, rules: Rules, bounds: Bounds, *, check_sizes: bool) -> int | None:
    """How many items there are; None where any of them needs a closer look."""
    count = 0
    for batch in walk(request, rules):
        if batch.fault or (len(batch.items) and not rules.are_clean(batch.items, bounds)):
            return None
        if check_sizes and any(map(_is_large, (batch.group.resource, batch.scope.scope, *batch.items))):
            return None
        count += len(batch.items)
    return count


def _is_large(message: Message) -> bool:
    """Whether the message might hold an attribute value that must be cut."""
    return message.ByteSize() > ATTRIBUTE_VALUE_BYTES_MAX


def _repaired(signal: Signal, payload: bytes, bounds: Bounds, *, check_nesting: bool) -> Verdict:
    rules = RULES[signal]
    request, lost = decode_sound(signal, payload)
    check_sizes = len(payload) > ATTRIBUTE_VALUE_BYTES_MAX
    done = repair(request, rules, bounds, check_nesting=check_nesting, check_sizes=check_sizes)
    if lost:
        done.rejected[Reason.MALFORMED] += lost
    sound = request.SerializeToString() if done.is_changed else payload
    cut, mended = _plural(done.cut_values, "attribute value"), _plural(done.mended_items, rules.singular)
    warnings = {
        f"{cut} cut to {ATTRIBUTE_VALUE_BYTES_MAX} bytes": done.cut_values,
        f"{mended} kept without a trace_id or span_id of the wrong length": done.mended_items,
    }
    return Verdict(
        singular=rules.singular,
        payload=sound if done.kept else b"",
        kept=done.kept,
        rejected=dict(done.rejected),
        warnings=tuple(text for text, count in warnings.items() if count),
    )


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
