"""Ranges of receipt time that wait: none is lost, none is doubled."""

from hypothesis import given
from hypothesis import strategies as st

from agent_tracer.server.limits import INDEX_RANGES_MAX
from agent_tracer.server.ports.settling import ReceivedRange
from agent_tracer.server.services.received_ranges import WaitingRanges

ranges = st.builds(ReceivedRange, st.integers(0, 60), st.integers(0, 60))


def times(some: WaitingRanges) -> list[int]:
    return [time for one in some.all() for time in range(one.start_ns, one.end_ns + 1)]


@given(st.lists(ranges, max_size=30))
def test_what_was_added_waits_once_and_in_order(added: list[ReceivedRange]) -> None:
    waiting = WaitingRanges(added)
    assert times(waiting) == sorted({time for one in added for time in range(one.start_ns, one.end_ns + 1)})
    assert bool(waiting) == bool(times(waiting))
    gaps = zip(waiting.all(), waiting.all()[1:], strict=False)
    assert all(one.end_ns + 1 < later.start_ns for one, later in gaps), "neighbours are one range"


@given(st.lists(ranges, min_size=1, max_size=30), st.integers(0, 60))
def test_what_came_before_a_time_can_be_dropped(added: list[ReceivedRange], time: int) -> None:
    waiting = WaitingRanges(added)
    before = times(waiting)
    waiting.drop_before(time)
    assert times(waiting) == [one for one in before if one >= time]


def test_the_latest_is_taken_first_and_waits_no_more() -> None:
    waiting = WaitingRanges([ReceivedRange(5, 6), ReceivedRange(1, 2)])
    assert [waiting.take_latest() for _ in range(3)] == [ReceivedRange(5, 6), ReceivedRange(1, 2), None]


def test_a_range_that_ends_before_it_starts_is_none() -> None:
    assert not WaitingRanges([ReceivedRange(5, 4)])


def test_too_many_gaps_become_fewer_and_nothing_in_them_is_forgotten() -> None:
    added = [ReceivedRange(10 * n, 10 * n + 1) for n in range(INDEX_RANGES_MAX + 5)]
    waiting = WaitingRanges(added)
    assert len(waiting.all()) == INDEX_RANGES_MAX
    assert {time for one in added for time in (one.start_ns, one.end_ns)} <= set(times(waiting))
    assert waiting.all()[-1] == added[-1], "the oldest are the ones that are joined"
