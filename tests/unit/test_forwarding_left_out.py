"""What is said, and how often, of items that a backend does not take."""

import pytest

from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.limits import EXPORT_TELL_SECONDS
from agent_tracer.server.services.forwarding_left_out import LeftOut


class Counted:
    """ports.export.ExportMetrics, of what is left out."""

    def __init__(self) -> None:
        self.items = 0

    def sent(self, signal: Signal, items: int) -> None: ...

    def retried(self, signal: Signal) -> None: ...

    def skipped(self, signal: Signal, reason: str, items: int) -> None:
        assert signal is Signal.TRACES
        assert reason
        self.items += items


def test_a_line_tells_of_all_items_since_the_last_one_and_none_comes_sooner_than_a_minute(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now, counted = [100.0], Counted()
    left_out = LeftOut("test", counted, lambda: now[0])
    for _ in range(10):
        left_out.add(Signal.TRACES, "refused", 3, "HTTP 400")
    assert "items=3" in (told := capsys.readouterr().out)
    assert told.count("left out") == 1
    now[0] += EXPORT_TELL_SECONDS
    left_out.add(Signal.TRACES, "refused", 3, "HTTP 400")
    assert "items=30" in capsys.readouterr().out, "nothing is left untold"
    assert counted.items == 33


def test_each_reason_has_a_line_of_its_own_and_a_signal_that_is_lacked_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    counted = Counted()
    left_out = LeftOut("test", counted, lambda: 0.0)
    for kind in ("refused", "rejected", "unsupported"):
        left_out.add(Signal.TRACES, kind, 1, "why")
    assert capsys.readouterr().out.count("left out") == 2
    assert counted.items == 3, "but all are counted"
