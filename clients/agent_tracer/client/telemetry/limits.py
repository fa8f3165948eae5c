"""Bounds of telemetry in an agent's process, each with its reason."""

from typing import Final

EXIT_SECONDS_MAX: Final = 3.0
"""How long the agent's exit waits for what is still to be sent. Nobody waits longer for a script to end."""

EXIT_SECONDS_MAX_FAILING: Final = 0.5
"""The same where the last try failed: the server is most likely still down."""

EXIT_LAST_WORD_SECONDS: Final = 0.1
"""Of these, what a try that is given up has to tell how it ended; without that it counts as not sent."""

REQUEST_BYTES_MAX: Final = 8_388_608
"""What a request carries of texts and numbers: half of the 16 MiB that the server takes, since more is around them."""

FAILING_SECONDS_MAX: Final = 5.0
"""How long a batch's requests may fail before the rest of it is not tried: refusals are quick, a server away is not."""

FLUSH_SECONDS_MAX: Final = 10.0
"""How long flush() waits where the caller names no time: one try of the exporter, whose own limit is ten seconds."""

SCHEDULE_DELAY_MS: Final = 1_000.0
"""How long a span waits for others at most, where OTEL_BSP_SCHEDULE_DELAY says nothing: live views want a second."""

CONTENT_CHARACTERS_MAX: Final = 65_536
"""An input's or output's text in one attribute. Longer ones are cut: an agent's memory is not ours to fill."""

STREAMED_ITEMS_MAX: Final = 4_096
"""Pieces of a stream that are kept for the output attribute."""

HELD_SPANS_MAX: Final = 64
"""Model calls that wait for the end of the call around them. More are sent at once: losing usage is worse."""

OPEN_CALLS_MAX: Final = 4_096
"""Model calls under way that are looked at for repetitions; calls that never end would fill memory otherwise."""

PHOENIX_COST_SECONDS_MAX: Final = 10.0
"""How long trace_llm_call asks Phoenix for a span's cost: its daemon works every 5 seconds."""

PHOENIX_REQUEST_SECONDS_MAX: Final = 5.0
"""One request to Phoenix."""

PHOENIX_RESPONSE_BYTES_MAX: Final = 4_194_304
"""What is read of one of Phoenix's answers; a page of spans is well below."""
