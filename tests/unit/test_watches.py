"""What the detector judges next, and what it forgets."""

import pytest

from agent_tracer.server.domain.detection.episodes import Kind, Subject
from agent_tracer.server.domain.detection.figures import Bounds
from agent_tracer.server.domain.detection.limits import HOUR_BUCKETS
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.limits import WATCHED_READ_HOURS_MAX
from agent_tracer.server.ports.watched import Changed
from agent_tracer.server.services import watches as module
from agent_tracer.server.services.watches import Job, Watches, known_bounds

ONE, TWO = TenantId("one"), TenantId("two")
LONG_AGO = float("-inf")
NOW = 5_000_000
"""The last bucket that is over; it is not the last of its hour."""


def changed(
    name: str, first: int, last: int, *, tenant: TenantId = ONE, judged_to: int | None = None, service: str = ""
) -> Changed:
    return Changed(tenant, Subject(Kind.SERVICE, name, service or name), first, last, first, judged_to)


def jobs(watches: Watches, committed_at: float = LONG_AGO) -> list[tuple[str, int, int]]:
    return [(job.key[2], job.first, job.end) for job in watches.jobs(NOW, committed_at)]


def do_all(watches: Watches) -> None:
    while some := watches.jobs(NOW, LONG_AGO):
        for job in some:
            watches.judged(job, Bounds(job.hours[0], 1, ()))


def test_a_subject_is_judged_from_its_oldest_bucket_to_the_last_that_is_over() -> None:
    watches = Watches()
    watches.note(changed("shop", NOW - 5, NOW + 1), NOW)
    assert jobs(watches) == [("shop", NOW - 5, NOW + 1)]
    assert not watches.is_judged(NOW)
    do_all(watches)
    assert watches.is_judged(NOW)
    assert watches.is_waiting, "for the bucket that goes on"


def test_after_a_restart_it_goes_on_behind_what_was_judged() -> None:
    watches = Watches()
    watches.note(changed("shop", NOW - 50, NOW, judged_to=NOW - 3), NOW)
    assert jobs(watches) == [("shop", NOW - 2, NOW + 1)]
    do_all(watches)
    assert not watches.is_waiting


def test_what_comes_late_changes_nothing_and_history_that_is_imported_does() -> None:
    watches = Watches()
    watches.note(changed("shop", NOW - 2000, NOW), NOW)
    do_all(watches)
    watches.note(changed("shop", NOW - 20, NOW - 10), NOW)
    assert jobs(watches) == []
    watches.note(changed("shop", NOW - 1500, NOW - 1400), NOW)
    assert jobs(watches) == [("shop", NOW - 1500, NOW + 1)], "all that follows was judged without it"


def test_the_newest_bucket_of_an_import_waits_while_more_is_coming() -> None:
    watches = Watches()
    watches.note(changed("shop", NOW - 500, NOW - 400), NOW)
    assert jobs(watches, committed_at=float("inf")) == [("shop", NOW - 500, NOW - 400)]
    assert jobs(watches) == [("shop", NOW - 500, NOW - 399)]


def test_tenants_are_judged_apart_and_few_subjects_of_many_hours_together() -> None:
    watches = Watches()
    for tenant in (TWO, ONE):
        for name in ("a", "b"):
            watches.note(changed(name, NOW - 50, NOW, tenant=tenant), NOW)
    some = watches.jobs(NOW, LONG_AGO)
    assert [job.key[0] for job in some] == [ONE, ONE, TWO, TWO]
    from_hour, to_hour = watches.read_hours(some[0])
    together = WATCHED_READ_HOURS_MAX // (to_hour - from_hour)
    many = [Job(some[0].key, some[0].first, some[0].end)] * (together + 1)
    assert [len(batch) for batch in watches.batches(many)] == [together, 1]


def test_an_hour_that_is_judged_bit_by_bit_is_not_read_with_its_weeks_again() -> None:
    watches = Watches()
    hour = NOW // HOUR_BUCKETS
    start = hour * HOUR_BUCKETS
    watches.note(changed("shop", start, start), NOW)
    (first,) = watches.jobs(NOW, LONG_AGO)
    long_ago, _ = watches.read_hours(first)
    made = Bounds(hour, 1, ())
    watches.judged(first, made)
    watches.note(changed("shop", start, NOW), NOW)
    (second,) = watches.jobs(NOW, LONG_AGO)
    assert known_bounds(second, watches[second.key]) is made
    assert long_ago < hour - 24 <= watches.read_hours(second)[0]


def test_the_service_of_an_agent_is_learned_and_not_unlearned() -> None:
    watches = Watches()
    for service in ("shop", "till", ""):
        subject = Subject(Kind.AGENT, "planner", service)
        watches.note(Changed(ONE, subject, NOW, NOW, NOW, None), NOW)
    assert watches[ONE, Kind.AGENT, "planner"].subject.service == "till"


def test_of_too_many_subjects_those_without_news_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WATCHED_SUBJECTS_MAX", 2)
    watches = Watches()
    for name in ("a", "b", "c"):
        watches.note(changed(name, NOW, NOW), NOW)
    watches.forget()
    assert len(jobs(watches)) == 3, "all of them wait"
    do_all(watches)
    watches.note(changed("a", NOW, NOW, judged_to=NOW), NOW)
    watches.forget()
    with pytest.raises(KeyError):
        watches[ONE, Kind.SERVICE, "b"]
    assert watches[ONE, Kind.SERVICE, "a"].judged_to == watches[ONE, Kind.SERVICE, "c"].judged_to == NOW
