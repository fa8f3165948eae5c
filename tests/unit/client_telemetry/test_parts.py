"""How a batch is divided by its size, and what becomes of each part."""

from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from agent_tracer.client.telemetry.limits import REQUEST_BYTES_MAX
from agent_tracer.client.telemetry.parts import parts
from agent_tracer.client.telemetry.sending import Losses, QuietExporter

MIB = 1_048_576


def span(name: str, size: int = 0, **given: Any) -> ReadableSpan:
    return ReadableSpan(name, attributes={"input.value": "x" * size}, **given)


def names(divided: Sequence[Sequence[ReadableSpan]]) -> list[str]:
    return [" ".join(one.name for one in part) for part in divided]


class Server(SpanExporter):
    """Takes what is small enough, and nothing where it is away."""

    def __init__(self, *, away: bool = False) -> None:
        self.asked: list[str] = []
        self._away = away

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.asked.append(" ".join(one.name for one in spans))
        size = sum(len(str((one.attributes or {})["input.value"])) for one in spans)
        return SpanExportResult.FAILURE if self._away or size > 2 * REQUEST_BYTES_MAX else SpanExportResult.SUCCESS


def test_a_small_batch_stays_as_it_is() -> None:
    batch = [span(str(number), 1000) for number in range(512)]
    (only,) = parts(batch)
    assert only is batch


def test_a_large_batch_is_divided_in_its_order() -> None:
    batch = [span(str(number), 3 * MIB) for number in range(5)]
    assert names(parts(batch)) == ["0 1", "2 3", "4"]


def test_a_span_too_large_for_any_part_goes_alone_and_after_the_others() -> None:
    assert names(parts([span("a"), span("big", 9 * MIB), span("b")])) == ["a b", "big"]


@pytest.mark.parametrize(
    "large",
    [
        ReadableSpan("s", attributes={"text": "é" * (3 * MIB)}),
        ReadableSpan("s", attributes={"text": "\ud800" + "x" * (6 * MIB)}),
        ReadableSpan("s", attributes={"list": ["x" * MIB] * 6}),
        ReadableSpan("s", attributes={"vector": [0.5] * 400_000}),
        ReadableSpan("s", events=[Event("exception", {"exception.stacktrace": "x" * (6 * MIB)})]),
    ],
    ids=["two bytes a character", "lone surrogate", "texts", "numbers", "event"],
)
def test_every_place_of_a_span_that_may_be_large_counts(large: ReadableSpan) -> None:
    assert len(parts([large, large])) == 2


def test_a_refused_part_takes_no_other_with_it() -> None:
    server, losses = Server(), Losses("")
    quiet = QuietExporter(lambda: server, losses)
    batch = [span("a"), span("big", 17 * MIB), span("b", 7 * MIB), span("c", 7 * MIB)]
    assert quiet.export(batch) is SpanExportResult.FAILURE
    assert server.asked == ["a b", "c", "big"]
    assert losses.by_reason == {"not taken": 1}
    assert not quiet.tries.failing


def test_parts_are_not_tried_one_after_the_other_where_the_server_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent_tracer.client.telemetry.sending.FAILING_SECONDS_MAX", 1e-9)
    server, losses = Server(away=True), Losses("")
    quiet = QuietExporter(lambda: server, losses)
    assert quiet.export([span(str(number), 5 * MIB) for number in range(4)]) is SpanExportResult.FAILURE
    assert server.asked == ["0"]
    assert losses.by_reason == {"not taken": 4}
    assert quiet.tries.failing


def test_what_is_left_of_a_batch_is_given_up_with_it() -> None:
    losses, left = Losses(""), []

    class Ending(Server):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            taken = super().export(spans)
            if len(self.asked) == 2:
                left.append(quiet.tries.give_up())
                return SpanExportResult.FAILURE
            return taken

    server = Ending()
    quiet = QuietExporter(lambda: server, losses)
    quiet.export([span(str(number), 5 * MIB) for number in range(4)])
    assert left == [3]
    assert losses.total == 0
