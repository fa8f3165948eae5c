"""Where prices of models come from."""

from typing import Protocol

from agent_tracer.server.domain.pricing import Rate


class PriceSource(Protocol):
    """A price list. Works offline; the same names give the same rates as long as the process lives."""

    def rates(self, provider: str, model: str) -> tuple[Rate, ...]:
        """The model's rates, of which the last that matches a call wins. At least one matches every call.

        Provider and model are as telemetry names them; the provider may be empty. Empty where the model is
        unknown, has no price by tokens or requests, or runs on the caller's own machines: unpriced, never a
        guess. Raises nothing, whatever the text. Costs some milliseconds and keeps nothing: callers remember.
        """
        ...
