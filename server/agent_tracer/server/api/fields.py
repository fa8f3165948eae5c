"""Fields that messages of every service share: times, absent scalars, counts of 32 bits."""

from typing import Any, Final

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from agent_tracer.server.domain.checks import NS
from agent_tracer.server.domain.errors import invalid

_INT32_MAX: Final = 2**31 - 1
_NANOS: Final = range(NS)


def time_from(field: str, request: Message) -> int | None:
    """A Timestamp field in nanoseconds, None where it is absent. Raises InvalidFieldsError where it is malformed."""
    if not request.HasField(field):
        return None
    time = getattr(request, field)
    if time.nanos not in _NANOS:
        raise invalid(field, "must have nanos from 0 to 999,999,999")
    return int(time.seconds * NS + time.nanos)


def time_to(time_ns: int) -> Timestamp:
    """A time of UTC nanoseconds."""
    return Timestamp(seconds=time_ns // NS, nanos=time_ns % NS)


def optional(message: Message, field: str) -> Any:  # noqa: ANN401 - as the field's type
    """An `optional` scalar, None where it is absent."""
    return getattr(message, field) if message.HasField(field) else None


def int32(number: int) -> int:
    """The field's type; a count beyond it is shown as the most it holds."""
    return min(number, _INT32_MAX)
