"""Phoenix's own interface, as far as a traced call needs it: what a span costs, and its annotations."""

import json
import logging
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

from agent_tracer.client._shared.environment import PHOENIX_ENDPOINT, Target, target
from agent_tracer.client._shared.posting import REDIRECTS, PostError, post
from agent_tracer.client.telemetry.limits import PHOENIX_REQUEST_SECONDS_MAX, PHOENIX_RESPONSE_BYTES_MAX

__all__ = ["DEFAULT_URL", "PhoenixServer", "phoenix_target"]

_logger: Final = logging.getLogger("agent_tracer.client")

DEFAULT_URL: Final = "http://localhost:6006"
_COST: Final = "query ($id: String!) { getSpanByOtelId(spanId: $id) { costSummary { total { cost } } } }"
_GRPC_PORT: Final = 4317
_HTTP_PORT: Final = 6006
_FIRST_STEP_SECONDS: Final = 0.05
_STEP_SECONDS_MAX: Final = 0.5
_COST_AFTER_SPAN_SECONDS: Final = 2.0
"""Phoenix prices a span while it stores it: one that is there without a cost for so long is of no known model."""


def phoenix_target(endpoint: str | None) -> Target:
    """What a caller or PHOENIX_COLLECTOR_ENDPOINT says: `http://host:port`, with or without `/v1/traces`.

    The signal's path is what `register(endpoint="http://localhost:6006")` lacks, so that Phoenix gets nothing. The port
    of its gRPC (4317) means the one of its HTTP on the same host. The headers are not for it: Agent Tracer's key is
    among them. Raises BadEndpointError where it is no address.
    """
    found = target(endpoint or os.environ.get(PHOENIX_ENDPOINT, "") or DEFAULT_URL)
    parts = urlsplit(found.url)
    if parts.port == _GRPC_PORT:  # its interface is over HTTP alone
        return replace(found, url=parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:{_HTTP_PORT}").geturl())
    return found


class PhoenixServer:
    """One Phoenix over HTTP. Nothing raises: what Phoenix does not tell is None."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self._url = url
        self._headers = dict(headers)
        self._is_told = False

    def cost(self, span_id: str, seconds_max: float) -> float | None:
        """What Phoenix shows as a span's cost in US dollars, waiting until it has stored the span."""
        deadline, step, seen = time.monotonic() + seconds_max, _FIRST_STEP_SECONDS, 0.0
        while True:
            span = self._span(span_id)
            if span is not None:
                summary = span.get("costSummary")
                if isinstance(summary, dict):
                    return _number(summary.get("total"), "cost")
                seen = seen or time.monotonic()
            now = time.monotonic()
            if now + step > deadline or (seen and now - seen > _COST_AFTER_SPAN_SECONDS):
                return None
            time.sleep(step)
            step = min(step * 2, _STEP_SECONDS_MAX)

    def annotate(self, annotations: Sequence[Mapping[str, Any]]) -> bool:
        """Write evaluations to spans; the same name and identifier again replaces. Phoenix stores them later."""
        return self._post("/v1/span_annotations", {"data": list(annotations)}) is not None

    def _span(self, span_id: str) -> dict[str, Any] | None:
        answer = self._post("/graphql", {"query": _COST, "variables": {"id": span_id}})
        data = answer.get("data") if answer is not None else None
        span = data.get("getSpanByOtelId") if isinstance(data, dict) else None
        return span if isinstance(span, dict) else None

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
        headers = {"content-type": "application/json", **self._headers}
        try:
            sent = json.dumps(body).encode()
            answer = post(
                f"{self._url}{path}",
                sent,
                headers,
                seconds=PHOENIX_REQUEST_SECONDS_MAX,
                bytes_max=PHOENIX_RESPONSE_BYTES_MAX,
            )
            # Every number is a float: an integer may have more digits than a float can hold.
            told = json.loads(answer.body or b"{}", parse_int=float)
        except PostError as error:
            self._tell(error)
            return None
        except (TypeError, ValueError, RecursionError) as error:
            _logger.debug("Phoenix at %s: %s", self._url, type(error).__name__)
            return None
        return told if isinstance(told, dict) else {}

    def _tell(self, error: PostError) -> None:
        """Log it. The first redirect is a warning: no time will mend that."""
        is_warning = error.status in REDIRECTS and not self._is_told
        self._is_told = self._is_told or is_warning
        _logger.log(logging.WARNING if is_warning else logging.DEBUG, "Phoenix at %s: %s", self._url, error)


def _number(held: object, name: str) -> float | None:
    number = held.get(name) if isinstance(held, dict) else None
    return number if isinstance(number, float) and math.isfinite(number) else None
