"""Traces, log lines and events: what is usual yields nothing, what is not is told."""

import random
from typing import Any

import numpy as np
import pytest

from agent_tracer.server.domain.correlation.bursts import bursts
from agent_tracer.server.domain.correlation.events import judged, related_events
from agent_tracer.server.domain.correlation.findings import (
    Began,
    RelatedEvent,
    RelatedLog,
    RelatedMetric,
    RelatedTrace,
    Tie,
    TieKind,
)
from agent_tracer.server.domain.correlation.hint import hint
from agent_tracer.server.domain.correlation.logs import own_logs
from agent_tracer.server.domain.correlation.traces import alike, merged, tied
from agent_tracer.server.domain.correlation.windows import MINUTE_NS
from agent_tracer.server.domain.incidents import Incident, IncidentSource, IncidentStatus
from agent_tracer.server.domain.rca.view import Change
from agent_tracer.server.domain.statistics.multiple import discovery_rates
from agent_tracer.server.domain.telemetry import Evaluation
from agent_tracer.server.limits import CORRELATION_TIES_MAX
from tests.unit.domain.correlation.noise import BEFORE, BUCKETS
from tests.unit.domain.correlation.subjects import START_NS, around, key, subject, usual_subject

DAY_NS = 24 * 60 * MINUTE_NS


def counts(rng: np.random.Generator, rows: int) -> Any:
    """Steady, rare, and clustered lines."""
    steady = rng.poisson(20, (rows, BUCKETS))
    rare = rng.poisson(0.05, (rows, BUCKETS))
    clustered = (rng.random((rows, BUCKETS)) < 0.02) * rng.poisson(10, (rows, BUCKETS))
    return np.concatenate([steady, rare, clustered]).astype(float)


def test_lines_written_as_always_are_no_bursts() -> None:
    rng = np.random.default_rng(1)
    lists = 0
    for _ in range(80):
        values = counts(rng, 20)
        found = bursts(values[:, :BEFORE], values[:, BEFORE:])
        lists += min(discovery_rates(list(map(float, found.p_value)))) <= 0.01
    assert lists <= 4


@pytest.mark.parametrize(("usual", "more", "minutes"), [(0, 2, 4), (0, 30, 2), (0.1, 5, 4), (20, 40, 6)])
def test_a_burst_is_found_among_others(usual: float, more: float, minutes: int) -> None:
    rng = np.random.default_rng(2)
    values = counts(rng, 20)
    values[0] = rng.poisson(usual, BUCKETS)
    values[0, -minutes:] += rng.poisson(more, minutes) + 1
    found = bursts(values[:, :BEFORE], values[:, BEFORE:])
    rates = discovery_rates(list(map(float, found.p_value)))
    assert rates[0] <= 0.05
    assert min(rates[1:]) > 0.01
    assert found.excess[0] > 0.3


def test_fewer_lines_than_usual_are_no_burst_and_gaps_are_no_nought() -> None:
    values = np.full((3, BUCKETS), 20.0)
    values[0, BEFORE:] = 0
    values[1, :BEFORE] = np.nan
    values[2, BEFORE:] = np.nan
    assert list(bursts(values[:, :BEFORE], values[:, BEFORE:]).p_value) == [1, 1, 1]


def failures(*minutes: float) -> list[Began]:
    return [Began(key(number), START_NS + round(at * MINUTE_NS)) for number, at in enumerate(minutes, start=1)]


def test_traces_that_fail_alike_all_at_once_are_related() -> None:
    found = alike(subject(), around(), failures(-1, 0.5, 1, 2, -70), "failed alike")
    assert {one.key for one in found} == {key(1), key(2), key(3), key(4)}
    assert all(0.6 < one.correlation <= 1 and one.reasons == ["failed alike"] for one in found)


def test_traces_that_fail_as_often_as_ever_are_not() -> None:
    rng, lists = random.Random(3), 0
    for _ in range(200):
        others = failures(*(at for at in range(-125, 5) if rng.random() < 0.2))
        lists += bool(alike(subject(), around(), others, ""))
    assert lists <= 12


def test_one_other_failure_near_is_chance() -> None:
    assert alike(subject(), around(), failures(1), "") == []


def test_tied_traces_are_related_by_what_they_say() -> None:
    ties = [Tie(key(1), START_NS, TieKind.LINKS), Tie(key(2), START_NS, TieKind.SESSION, "chat-7")]
    found = merged(tied(ties, around()))
    assert [(one.key, one.correlation) for one in found] == [(key(1), 1.0), (key(2), 0.9)]
    assert found[1].reasons == ["is of the same session chat-7"]


def test_a_workflow_that_ran_before_and_an_id_of_everything_tie_nothing() -> None:
    ran_before = [Tie(key(1), START_NS, TieKind.WORKFLOW, "w"), Tie(key(2), START_NS - DAY_NS, TieKind.WORKFLOW, "w")]
    everything = [Tie(key(n), START_NS, TieKind.SESSION, "default") for n in range(CORRELATION_TIES_MAX)]
    assert tied(ran_before + everything, around()) == []
    assert [one.key for one in tied(ran_before[:1], around())] == [key(1)]


def test_a_trace_found_in_two_ways_is_told_once_with_both_reasons() -> None:
    found = merged([RelatedTrace(key(1), 0.5, ["a"]), RelatedTrace(key(1), 0.8, ["b"])])
    assert found == [RelatedTrace(key(1), 0.8, ["a", "b"])]


def change(minutes: float, component: str = "payment", name: str = "d") -> Change:
    return Change(name, "deploy", START_NS + round(minutes * MINUTE_NS), [component] if component else [])


def test_a_deploy_just_before_is_told_where_deploys_are_rare() -> None:
    found = related_events(subject(), around(), DAY_NS, [change(-3), change(-700)], [])
    assert [(one.name, one.component) for one in found] == [("deploy d", "payment")]
    assert found[0].correlation > 0.9


def test_where_deploys_are_all_the_time_none_is_told() -> None:
    often = [change(-at + 0.5) for at in range(1, 120)]
    assert related_events(subject(), around(), 120 * MINUTE_NS, often, []) == []


def test_deploys_at_random_times_are_hardly_ever_told_of_a_usual_trace() -> None:
    rng, told = random.Random(4), 0
    for _ in range(300):
        deploys = [change(rng.uniform(-24 * 60, 5)) for _ in range(24)]
        told += bool(related_events(usual_subject(), around(), DAY_NS, deploys, []))
    assert told <= 9


def test_what_came_after_is_told_less_readily_than_what_came_before() -> None:
    (before,) = related_events(subject(), around(), DAY_NS, [change(-2)], [])
    (after,) = related_events(subject(), around(), DAY_NS, [change(2)], [])
    assert after.correlation < before.correlation


def incident(service: str, minutes: float, **more: Any) -> Incident:
    start_ns = START_NS + round(minutes * MINUTE_NS)
    return Incident("i", "it fails", IncidentStatus.OPEN, "high", service, start_ns, None, IncidentSource.API, **more)


def test_an_incident_of_the_traces_service_is_told_however_long_it_has_lasted() -> None:
    (found,) = related_events(subject(), around(), DAY_NS, [], [incident("payment", -300)])
    assert (found.name, found.component, found.correlation) == ("incident i", "payment", 0.9)


def test_an_incident_that_names_the_trace_is_certain() -> None:
    (found,) = related_events(subject(), around(), DAY_NS, [], [incident("other", -300, trace_ids=("one",))])
    assert found.correlation == 1


def test_an_old_incident_of_another_service_is_not_told() -> None:
    assert related_events(subject(), around(), DAY_NS, [], [incident("other", -300)]) == []


def test_evaluations_of_the_trace_are_told_with_their_verdict() -> None:
    trace_id = subject().trace_id
    (found,) = judged([Evaluation("e", trace_id, None, "relevance", 0.2, "poor", "off topic", "judge", START_NS)])
    assert (found.name, found.detail) == ("evaluation relevance", "score 0.2, poor, off topic, by judge")


def test_own_records_that_say_the_same_are_one_and_errors_come_first() -> None:
    def record(severity: int, message: str, at: int) -> RelatedLog:
        return RelatedLog(severity, message, "payment", at, 1, 1.0, of_trace=True)

    found = own_logs([record(9, "begun", 1), record(17, "refused", 5), record(17, "refused", 3)])
    assert [(one.message, one.count, one.time_ns) for one in found] == [("refused", 2, 3), ("begun", 1, 1)]


def test_a_usual_trace_gets_no_guess() -> None:
    assert hint(usual_subject(), [], [], []) is None


def test_the_guess_names_what_the_error_says_and_is_surer_with_more_behind_it() -> None:
    alone = hint(subject(), [], [], [])
    assert alone is not None
    assert (alone.type, alone.component) == ("dependency_down", "payment")
    metrics = [RelatedMetric("db.pool.in_use", "payment", 38, 8, 1.0, 0.001)]
    events = [RelatedEvent("deploy d", 0.99, START_NS - MINUTE_NS, "payment")]
    surer = hint(subject(), metrics, [], events)
    assert surer is not None
    assert alone.confidence < surer.confidence <= 0.95


def test_a_change_names_the_fault_where_nothing_else_does() -> None:
    slow = subject(failure=None, is_slow=True, slowest="payment")
    events = [RelatedEvent("deploy d", 0.99, START_NS - MINUTE_NS, "payment")]
    assert [found and found.type for found in (hint(slow, [], [], []), hint(slow, [], [], events))] == [
        "slow",
        "deploy",
    ]
