"""Alarms as incidents."""

from dataclasses import replace

import pytest

from agent_tracer.server.domain.detection.episodes import (
    APART_BUCKETS,
    BUCKET_NS,
    RESOLVED_BUCKETS,
    Kind,
    Subject,
    episode_of,
    episodes,
    incident_of,
)
from agent_tracer.server.domain.detection.figures import Alarm, Measure
from agent_tracer.server.domain.ids import TenantId, TraceId
from agent_tracer.server.domain.incidents import IncidentStatus

TENANT = TenantId("t")
SHOP = Subject(Kind.SERVICE, "shop", "shop")
PLANNER = Subject(Kind.AGENT, "planner", "shop")
SLOW = Alarm(1000, Measure.LATENCY, 1, 1.5, 1234.0, 99.6)


def test_alarms_within_hours_are_one_incident_and_later_ones_another() -> None:
    later = replace(SLOW, bucket=1000 + APART_BUCKETS)
    far = replace(SLOW, bucket=later.bucket + APART_BUCKETS + 1)
    known, changed = episodes(TENANT, [], [(SHOP, far), (SHOP, SLOW), (PLANNER, later)])
    assert [(one.first, one.last) for one in known] == [(1000, later.bucket), (far.bucket, far.bucket)]
    assert changed == known


def test_the_same_alarms_again_change_nothing() -> None:
    known, _ = episodes(TENANT, [], [(SHOP, SLOW)])
    assert episodes(TENANT, known, [(SHOP, SLOW)]) == (known, [])


def test_an_incident_is_known_by_its_place_and_beginning() -> None:
    def of(tenant: str, subject: Subject) -> str:
        return episodes(TenantId(tenant), [], [(subject, SLOW)])[0][0].incident_id

    assert of("t", SHOP) == of("t", PLANNER), "an agent's service is where it is"
    assert len({of("t", SHOP), of("u", SHOP), of("t", Subject(Kind.SERVICE, "web", "web"))}) == 3


def test_an_incident_tells_the_worst_of_what_it_shows_in() -> None:
    failing = Alarm(1003, Measure.ERROR_RATE, 1, 6.0, 0.341, 0.0123)
    ((episode,), _) = episodes(TENANT, [], [(SHOP, SLOW), (PLANNER, failing)])
    incident = incident_of(episode, 1003)
    assert incident.title == "error rate of agent planner: 34 % (usual 1.2 %)"
    assert (incident.severity, incident.service) == ("critical", "shop")
    assert (incident.labels["measures"], incident.labels["agent_id"]) == ("latency,error_rate", "planner")
    assert incident.start_ns == 1000 * BUCKET_NS


@pytest.mark.parametrize(
    ("alarm", "title"),
    [
        (SLOW, "latency of shop: 1.2 s (usual 100 ms)"),
        (replace(SLOW, measure=Measure.CALLS, value=18_234, usual=4), "calls in 5 minutes of shop: 18,000 (usual 4)"),
        (replace(SLOW, measure=Measure.COST, value=0.5, usual=0.0312), "cost of 5 minutes of shop: 0.5 USD (usual 0.031 USD)"),
    ],
)  # fmt: skip
def test_titles_have_figures_of_two_digits(alarm: Alarm, title: str) -> None:
    ((episode,), _) = episodes(TENANT, [], [(SHOP, alarm)])
    assert incident_of(episode, 1000).title == title


def test_an_incident_is_over_half_an_hour_after_its_last_alarm() -> None:
    ((episode,), _) = episodes(TENANT, [], [(SHOP, SLOW)])
    going_on, over = (incident_of(episode, 1000 + RESOLVED_BUCKETS + more) for more in (-1, 0))
    assert (going_on.status, going_on.end_ns) == (IncidentStatus.OPEN, None)
    assert (over.status, over.end_ns) == (IncidentStatus.RESOLVED, 1001 * BUCKET_NS)


@pytest.mark.parametrize("subject", [SHOP, PLANNER, Subject(Kind.AGENT, "lone", "")])
def test_what_was_kept_is_read_back_as_it_was(subject: Subject) -> None:
    ((episode,), _) = episodes(TENANT, [], [(subject, SLOW)])
    episode = replace(episode, trace_ids=(TraceId("a"),))
    for judged_to in (1000, 2000):
        assert episode_of(incident_of(episode, judged_to)) == episode


def test_an_incident_that_somebody_changed_is_left_alone() -> None:
    ((episode,), _) = episodes(TENANT, [], [(SHOP, SLOW)])
    assert episode_of(replace(incident_of(episode, 1000), annotations={"note": "x"})) is None
