"""Incidents as callers write them."""

from dataclasses import replace
from typing import Any

import pytest

from agent_tracer.server.domain.errors import IdConflictError, InvalidFieldsError
from agent_tracer.server.domain.incident_drafts import IncidentDraft, check_draft, made_of
from agent_tracer.server.domain.incidents import IncidentSource, IncidentStatus

S = 1_000_000_000
NOW = 1_790_000_000 * S
DRAFT = IncidentDraft(
    incident_id="inc-1",
    title="slow",
    severity="critical",
    service="web",
    start_ns=NOW - 60 * S,
    labels={"metric": "p95"},
    annotations={"note": "x"},
    trace_ids=["t1", "t2"],
)


def wrong(**fields: Any) -> list[str]:
    with pytest.raises(InvalidFieldsError) as refused:
        check_draft(IncidentDraft(**fields), NOW)
    return [violation.field for violation in refused.value.violations]


def test_a_draft_becomes_an_open_incident() -> None:
    check_draft(DRAFT, NOW)
    made = made_of(DRAFT, None, "new", NOW)
    assert (made.incident_id, made.title, made.severity, made.service) == ("inc-1", "slow", "critical", "web")
    assert (made.start_ns, made.end_ns, made.status) == (NOW - 60 * S, None, IncidentStatus.OPEN)
    assert (made.labels, made.annotations, made.trace_ids) == ({"metric": "p95"}, {"note": "x"}, ("t1", "t2"))
    assert made.source == IncidentSource.API


def test_nothing_has_to_be_said() -> None:
    check_draft(IncidentDraft(), NOW)
    made = made_of(IncidentDraft(), None, "new", NOW)
    assert (made.incident_id, made.title, made.start_ns, made.status) == ("new", "incident", NOW, IncidentStatus.OPEN)
    assert made_of(IncidentDraft(service="web"), None, "new", NOW).title == "incident in web"


def test_with_an_end_it_is_resolved() -> None:
    made = made_of(replace(DRAFT, end_ns=NOW), None, "new", NOW)
    assert (made.status, made.end_ns) == (IncidentStatus.RESOLVED, NOW)
    alone = made_of(IncidentDraft(end_ns=NOW - 9), None, "new", NOW)
    assert alone.start_ns == NOW - 9, "a start that is left out is no later than the end"


def test_the_same_again_is_the_same_incident() -> None:
    made = made_of(DRAFT, None, "new", NOW)
    assert made_of(DRAFT, made, "newer", NOW + S) == made
    assert made_of(IncidentDraft(incident_id="inc-1"), made, "newer", NOW + S) == made


def test_an_end_resolves_one_that_was_open_and_is_the_same_again_afterwards() -> None:
    made = made_of(DRAFT, None, "new", NOW)
    ending = IncidentDraft(incident_id="inc-1", end_ns=NOW)
    ended = made_of(ending, made, "newer", NOW)
    assert ended == replace(made, status=IncidentStatus.RESOLVED, end_ns=NOW)
    assert made_of(ending, ended, "newer", NOW) == ended
    assert made_of(DRAFT, ended, "newer", NOW) == ended, "a repeat of the first call does not open it again"
    with pytest.raises(InvalidFieldsError, match="end_time"):
        made_of(IncidentDraft(incident_id="inc-1", end_ns=DRAFT.start_ns and DRAFT.start_ns - 1), made, "newer", NOW)


@pytest.mark.parametrize(
    "other",
    [
        {"title": "fast"},
        {"severity": "low"},
        {"service": "db"},
        {"start_ns": NOW - S},
        {"labels": {"metric": "p99"}},
        {"annotations": {"note": "y"}},
        {"trace_ids": ["t1"]},
    ],
)
def test_the_same_id_with_other_content_is_refused_by_name(other: dict[str, Any]) -> None:
    made = made_of(DRAFT, None, "new", NOW)
    name = {"start_ns": "start_time"}.get(*other, *other)
    with pytest.raises(IdConflictError, match=f"another {name}:") as refused:
        made_of(replace(DRAFT, **other), made, "newer", NOW)
    assert refused.value.details == {"incident_id": "inc-1"}


def test_another_end_is_another_incident() -> None:
    ended = made_of(replace(DRAFT, end_ns=NOW), None, "new", NOW)
    with pytest.raises(IdConflictError, match="another title, end_time:"):
        made_of(replace(DRAFT, title="fast", end_ns=NOW - S), ended, "newer", NOW)


def test_all_wrong_fields_are_told_at_once() -> None:
    assert wrong(
        incident_id="x" * 257,
        title="t" * 1025,
        severity="a\nb",
        service="s" * 257,
        start_ns=1,
        end_ns=NOW + 7200 * S,
        labels={"": "v"},
        annotations={"k": "v" * 4097},
        trace_ids=["ok", ""],
    ) == [
        "incident_id",
        "title",
        "severity",
        "service",
        "start_time",
        "end_time",
        "labels",
        "annotations",
        "trace_ids[1]",
    ]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"start_ns": NOW, "end_ns": NOW - 1}, "end_time"),
        ({"labels": {str(n): "" for n in range(65)}}, "labels"),
        ({"labels": {"k" * 257: ""}}, "labels"),
        ({"annotations": {str(n): "v" * 4096 for n in range(20)}}, "annotations"),
        ({"trace_ids": ["t"] * 101}, "trace_ids"),
    ],
)
def test_bounds_are_held(fields: dict[str, Any], field: str) -> None:
    assert wrong(**fields) == [field]
