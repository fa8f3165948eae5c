"""What a model call costs, by linear rates: the reference of the store's SQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

DAY_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True)
class Rate:
    """US dollars per token of one model, and the calls that it applies to.

    A call matches when it starts at or after `valid_from_seconds` (Unix time; 0 is always), its time of day
    in UTC is in [day_start_seconds, day_end_seconds) (0 to 86400 is the whole day; a window over midnight is
    two rates), and its input has at least `min_input_tokens` (0 for the base price). A tier prices all of the
    call's tokens.
    """

    valid_from_seconds: int
    day_start_seconds: int
    day_end_seconds: int
    min_input_tokens: int
    input: float
    cache_read: float
    cache_write: float
    output: float
    reasoning: float
    per_request: float


@dataclass(frozen=True, slots=True)
class Call:
    """A call's start (Unix time) and its tokens, none negative.

    Input includes what was read from and written to the provider's cache; output includes reasoning.
    """

    start_seconds: int
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0


def price(rates: Sequence[Rate], call: Call) -> float | None:
    """The call's cost in US dollars by the last of the rates that matches; None (unpriced) where none does.

    Parts that exceed their whole leave nothing of it, never less: the cost is never negative.
    """
    rate = next((rate for rate in reversed(rates) if _matches(rate, call)), None)
    if rate is None:
        return None
    plain_input = max(0, call.input_tokens - call.cache_read_tokens - call.cache_write_tokens)
    plain_output = max(0, call.output_tokens - call.reasoning_tokens)
    return (
        rate.input * plain_input
        + rate.cache_read * call.cache_read_tokens
        + rate.cache_write * call.cache_write_tokens
        + rate.output * plain_output
        + rate.reasoning * call.reasoning_tokens
        + rate.per_request
    )


def _matches(rate: Rate, call: Call) -> bool:
    return (
        rate.valid_from_seconds <= call.start_seconds
        and rate.day_start_seconds <= call.start_seconds % DAY_SECONDS < rate.day_end_seconds
        and rate.min_input_tokens <= call.input_tokens
    )
