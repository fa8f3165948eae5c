"""The slow road of a request that cannot be kept as it is: what is wrong goes, what is too long is cut."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.message import Message
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from agent_tracer.server.domain.otlp_json import DEPTH_MAX, Request
from agent_tracer.server.domain.otlp_rules import Bounds, Items, Reason, Rules, walk
from agent_tracer.server.limits import ATTRIBUTE_VALUE_BYTES_MAX

_ANY_VALUE: Final = AnyValue.DESCRIPTOR.full_name
_ELEMENT_BYTES_MIN: Final = 2
"""Tag and length: what an empty element of an array takes."""


@dataclass(slots=True)
class Repaired:
    """What was done to a request."""

    kept: int = 0
    rejected: Counter[Reason] = field(default_factory=Counter)
    cut_values: int = 0
    mended_items: int = 0

    @property
    def is_changed(self) -> bool:
        """Whether the request differs from what came in."""
        return bool(self.rejected or self.cut_values or self.mended_items)


def repair(request: Request, rules: Rules, bounds: Bounds, *, check_nesting: bool, check_sizes: bool) -> Repaired:
    """Take out of the request the items that break a rule, cut values that are too long, in place.

    Resources and scopes that are left without items go too. Raises TooManyItemsError.
    """
    done = Repaired()
    for batch in walk(request, rules):
        holders = (batch.group.resource, batch.scope.scope)
        fault = batch.fault
        if check_nesting and any(map(nests_too_deep, holders)):
            fault = Reason.NESTING
        kept = _sound_items(batch.items, fault, done, rules, bounds, check_nesting=check_nesting)
        for item in kept:
            done.mended_items += rules.mend is not None and rules.mend(item)
        if check_sizes:
            done.cut_values += sum(cut_values(message) for message in (*holders, *kept))
        if len(kept) < len(batch.items):
            _replace(batch.items, kept)
        done.kept += len(kept)
    if done.rejected:
        _drop_empty(request, rules)
    return done


def _sound_items(  # noqa: PLR0913 - one step of repair, cut off for its length
    items: Items, fault: Reason | None, done: Repaired, rules: Rules, bounds: Bounds, *, check_nesting: bool
) -> list[Any]:
    kept: list[Any] = []
    for item in items:
        reason = fault or rules.fault(item, bounds)
        if reason is None and check_nesting and nests_too_deep(item):
            reason = Reason.NESTING
        if reason is None:
            kept.append(item)
        else:
            done.rejected[reason] += 1
    return kept


def _replace(repeated: Items, kept: list[Any]) -> None:
    del repeated[:]
    repeated.extend(kept)


def _drop_empty(request: Request, rules: Rules) -> None:
    groups = getattr(request, rules.groups)
    for group in groups:
        scopes = getattr(group, rules.scopes)
        full = [scope for scope in scopes if any(len(items) for items, _ in rules.batches(scope))]
        if len(full) < len(scopes):
            _replace(scopes, full)
    full = [group for group in groups if len(getattr(group, rules.scopes))]
    if len(full) < len(groups):
        _replace(groups, full)


def _any_values(message: Message) -> Iterator[AnyValue]:
    """The attribute values (a log's body too) anywhere in a message, outermost only."""
    for descriptor, value in message.ListFields():
        kind = descriptor.message_type
        if kind is None:
            continue
        parts = value if descriptor.is_repeated else (value,)
        if kind.full_name == _ANY_VALUE:
            yield from parts
        else:
            for part in parts:
                yield from _any_values(part)


def nests_too_deep(message: Message) -> bool:
    """Whether any attribute value in the message holds arrays and maps more than DEPTH_MAX deep."""
    level = [value for value in _any_values(message) if value.WhichOneof("value")]
    depth = 0
    while level := [element for value in level for element in _elements(value)]:
        depth += 1
        if depth > DEPTH_MAX:
            return True
    return False


def _elements(value: AnyValue) -> Iterator[AnyValue]:
    """A value's elements, where it is an array or map; one empty value stands for those of an empty one."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        yield from value.array_value.values or (AnyValue(),)
    elif kind == "kvlist_value":
        if not value.kvlist_value.values:
            yield AnyValue()
        for pair in value.kvlist_value.values:
            yield pair.value


def cut_values(message: Message) -> int:
    """Cut every attribute value of the message to ATTRIBUTE_VALUE_BYTES_MAX; returns how many were longer."""
    if message.ByteSize() <= ATTRIBUTE_VALUE_BYTES_MAX:
        return 0
    return sum(_cut(value, ATTRIBUTE_VALUE_BYTES_MAX)[1] for value in _any_values(message))


def _marker(size: int) -> str:
    return f"...[cut from {size} bytes]"


def _cut(value: AnyValue, room: int) -> tuple[int, bool]:
    """Cut a value to about `room` bytes, its marker included: (bytes it takes now, whether it was cut)."""
    size = value.ByteSize()
    cut = _CUTTERS.get(value.WhichOneof("value") or "")
    was_cut = size > room and cut is not None and cut(value, room)
    return (value.ByteSize(), True) if was_cut else (size, False)


def _cut_text(value: AnyValue, room: int) -> bool:
    encoded = value.string_value.encode()
    if len(encoded) <= room:
        return False
    marker = _marker(len(encoded))
    # "ignore" drops what is left of a character that the cut went through.
    value.string_value = encoded[: max(0, room - len(marker))].decode(errors="ignore") + marker
    return True


def _cut_bytes(value: AnyValue, room: int) -> bool:
    size = len(value.bytes_value)
    if size <= room:
        return False
    marker = _marker(size).encode()
    value.bytes_value = value.bytes_value[: max(0, room - len(marker))] + marker
    return True


def _cut_array(value: AnyValue, room: int) -> bool:
    elements, size = value.array_value.values, value.ByteSize()
    kept, was_cut = _cut_elements(elements, room)
    if kept < len(elements):
        del elements[kept:]
        elements.add().string_value = _marker(size)
    return was_cut


def _cut_map(value: AnyValue, room: int) -> bool:
    pairs, size = value.kvlist_value.values, value.ByteSize()
    kept, was_cut = _cut_elements((pair.value for pair in pairs), room)
    if kept < len(pairs):
        del pairs[kept:]
        pairs.add(key="...").value.string_value = _marker(size)
    return was_cut


_CUTTERS: Final[Mapping[str, Callable[[AnyValue, int], bool]]] = {
    "string_value": _cut_text,
    "bytes_value": _cut_bytes,
    "array_value": _cut_array,
    "kvlist_value": _cut_map,
}


def _cut_elements(values: Iterable[AnyValue], room: int) -> tuple[int, bool]:
    """Cut the elements that pass the room: (how many are to be kept, whether anything was or must be cut)."""
    kept, was_cut = 0, False
    for value in values:
        if room <= 0:
            return kept, True
        used, value_was_cut = _cut(value, room)
        room -= max(used, _ELEMENT_BYTES_MIN)
        was_cut |= value_was_cut
        kept += 1
    return kept, was_cut
