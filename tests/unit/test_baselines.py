"""What an incident is compared with, where the time before it holds little."""

from collections.abc import Sequence

from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.rca.view import Change, LogSeries, MetricSeries
from agent_tracer.server.domain.rca.windows import NS, Frame, frame
from agent_tracer.server.domain.telemetry import TimeRange
from agent_tracer.server.ports.telemetry_window import Calls, Found, Observed, SeriesPlan
from agent_tracer.server.services.baselines import Baseline, Baselines

MINUTE = 60 * NS
HOUR = 60 * MINUTE
START = 500_000 * HOUR
NOW = START + 400 * 24 * HOUR
TENANT = TenantId("t")


class Telemetry:
    """What was received when, by signal; no series."""

    def __init__(self, **minutes: Sequence[int]) -> None:
        self._times = {name: [START + minute * MINUTE for minute in held] for name, held in minutes.items()}
        self.asked: list[TimeRange] = []

    async def observed(self, _tenant: TenantId, time_range: TimeRange, width_ns: int) -> Observed:
        self.asked.append(time_range)
        begin = time_range.start_ns
        held = {
            name: sorted(
                {begin + (at - begin) // width_ns * width_ns for at in times if begin <= at < time_range.end_ns}
            )
            for name, times in self._times.items()
        }
        return Observed(held.get("spans", []), held.get("logs", []), held.get("metrics", []))

    async def calls(self, _tenant: TenantId, _plan: SeriesPlan) -> Calls:
        return Calls(Found(()), Found(()))

    async def metrics(self, _tenant: TenantId, _plan: SeriesPlan) -> Found[MetricSeries]:
        return Found(())

    async def logs(self, _tenant: TenantId, _plan: SeriesPlan) -> Found[LogSeries]:
        return Found(())

    async def changes(self, _tenant: TenantId, _time_range: TimeRange) -> Sequence[Change]:
        return ()


def minutes(found: Baseline) -> list[int]:
    return [(start - START) // MINUTE for start in found.starts_ns]


async def chosen(telemetry: Telemetry, taken: Sequence[TimeRange] = (), now_ns: int = NOW) -> Baseline:
    place: Frame = frame(START, None, now_ns, HOUR)
    seen = await telemetry.observed(TENANT, TimeRange(place.window.start_ns, place.end_ns), place.width_ns)
    return await Baselines(telemetry).choose(TENANT, place, seen, taken, now_ns)


async def test_a_well_observed_window_is_compared_with_alone() -> None:
    every = range(-600, 5)
    telemetry = Telemetry(spans=every, logs=every, metrics=every)
    found = await chosen(telemetry)
    assert minutes(found) == list(range(-60, -15))
    assert not found.caveats
    assert len(telemetry.asked) == 1, "nothing further is read"


async def test_metrics_of_every_fifth_minute_reach_further_back() -> None:
    found = await chosen(Telemetry(metrics=range(-600, 5, 5)))
    held = [minute for minute in minutes(found) if minute % 5 == 0]
    assert len(held) == 30
    assert min(held) == -165
    assert found.caveats == [
        "metrics were received in 9 buckets of the window only: earlier ones are compared with too"
    ]


async def test_spans_of_hours_before_serve_where_the_window_has_none() -> None:
    every = range(-60, 5)
    found = await chosen(Telemetry(spans=[-400, -399, 0, 1, 2], metrics=every))
    assert minutes(found)[:2] == [-400, -399]
    assert len(found.caveats) == 1


async def test_a_sound_minute_afterwards_serves_where_there_was_none_before() -> None:
    found = await chosen(Telemetry(spans=[0, 1, 2, 7], metrics=range(-60, 5)))
    assert minutes(found)[-1] == 7
    assert found.caveats == ["no spans were received before the incident: later ones are compared with"]


async def test_what_is_not_there_during_the_incident_is_not_looked_for() -> None:
    found = await chosen(Telemetry(spans=[-400], metrics=range(-60, 5)))
    assert -400 not in minutes(found)
    assert not found.caveats


async def test_times_of_other_incidents_are_no_measure_of_what_is_usual() -> None:
    every = range(-600, 5)
    other = TimeRange(START - 40 * MINUTE, START - 30 * MINUTE)
    found = await chosen(Telemetry(spans=every, logs=every, metrics=every), [other])
    assert minutes(found) == [*range(-60, -40), *range(-30, -15)]


async def test_other_incidents_serve_where_nothing_else_was_received() -> None:
    other = TimeRange(START - 300 * MINUTE, START - 295 * MINUTE)
    found = await chosen(Telemetry(spans=[-299, -298, 0, 1]), [other])
    assert minutes(found)[:2] == [-299, -298]
    assert found.caveats == ["no spans were received outside other incidents: times of those are compared with"]


async def test_months_are_searched_only_where_a_day_holds_nothing_at_all() -> None:
    far = -90 * 24 * 60
    lone = await chosen(Telemetry(metrics=[far, far + 1, 0, 1]))
    assert minutes(lone)[:2] == [far, far + 1]
    telemetry = Telemetry(spans=[far, 0, 1], metrics=range(-60, 5))
    assert far not in minutes(await chosen(telemetry))
    assert min(each.start_ns for each in telemetry.asked) >= START - 26 * HOUR


async def test_nothing_of_the_future_is_asked_for() -> None:
    telemetry = Telemetry(spans=[0, 1])
    await chosen(telemetry, now_ns=START + 2 * MINUTE)
    assert max(each.end_ns for each in telemetry.asked) <= START + 2 * MINUTE
