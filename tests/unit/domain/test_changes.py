"""Events that tell of changes, as changes."""

import pytest

from agent_tracer.server.domain.changes import ChangeEvent, read_changes
from agent_tracer.server.domain.telemetry import AttributeValue

SHA = "57d572d5f437848b93cdc20779fbd65ffd228479"
DIFF = "diff --git a/app/pool.go b/app/pool.go\n--- a/app/pool.go\n+++ b/app/pool.go\n@@ -1 +1 @@\n-max = 50\n+max = 5"


def test_a_body_with_a_diff_is_message_and_diff_and_its_files_are_those_of_the_diff() -> None:
    (change,) = read_changes([ChangeEvent(1, "", "commit", {"sha": SHA}, f"shrink the pool\n\n{DIFF}")])

    assert (change.change_id, change.kind, change.text, change.diff) == (SHA, "commit", "shrink the pool", DIFF)
    assert change.files == ["app/pool.go"]
    assert change.components == []


def test_fields_of_a_body_are_as_good_as_attributes() -> None:
    body: dict[str, AttributeValue] = {
        "commit": {"sha": SHA, "message": "shrink"},
        "files_changed": ["a.go", "b.go"],
        "diff": "@@ -1 +1 @@\n-a\n+b",
    }

    (change,) = read_changes([ChangeEvent(1, "git", "", {}, body)])

    assert (change.change_id, change.text, change.files) == (SHA, "shrink", ["a.go", "b.go"])
    assert change.diff.startswith("@@")


def test_a_commit_is_live_where_and_when_it_was_first_deployed() -> None:
    changes = read_changes(
        [
            ChangeEvent(9, "cart", "deployment", {"vcs.ref.head.revision": SHA[:8]}),
            ChangeEvent(5, "ci", "deployment", {"vcs.ref.head.revision": SHA, "service.name": "shop"}),
            ChangeEvent(1, "git", "vcs.commit", {"vcs.ref.head.revision": SHA, "vcs.change.title": "shrink"}),
        ]
    )

    assert [(c.change_id, c.kind, c.time_ns, c.components, c.text) for c in changes] == [
        (SHA, "deploy", 5, ["cart", "shop"], "shrink")
    ]


def test_short_revisions_that_fit_two_commits_stay_by_themselves() -> None:
    other = SHA[:10] + "0" * 30
    changes = read_changes(ChangeEvent(n, "", "commit", {"sha": sha}) for n, sha in enumerate((SHA, other, SHA[:8])))

    assert [change.change_id for change in changes] == [SHA, other, SHA[:8]]


def test_numbers_that_begin_alike_are_different_revisions() -> None:
    changes = read_changes(ChangeEvent(n, "", "commit", {"revision": text}) for n, text in enumerate(("12", "123")))

    assert [change.change_id for change in changes] == ["12", "123"]


@pytest.mark.parametrize(
    ("name", "attributes", "kind", "change_id", "said"),
    [
        ("feature_flag.change", {"feature_flag.key": "fast", "change": "off->on"}, "flag", "fast", "fast: off->on"),
        ("flag", {"flag": "fast", "old_value": "off", "new_value": "on"}, "flag", "fast", "fast: off -> on"),
        ("", {"feature_flag.key": "fast", "feature_flag.result.variant": "b"}, "flag", "fast", "fast: -> b"),
        ("config.update", {"config.key": "db.pool", "from": 50, "to": 5}, "config", "db.pool", "db.pool: 50 -> 5"),
        ("deploy", {"version": "v2"}, "deploy", "v2", "deploy of shop v2"),
        ("k8s.deployment.rollout", {"deployment.id": "d-7"}, "deploy", "d-7", "deploy of shop"),
        ("", {"commit_sha": SHA, "service": "shop"}, "deploy", SHA, "deploy of shop"),
    ],
)
def test_kinds_ids_and_words(name: str, attributes: dict[str, str], kind: str, change_id: str, said: str) -> None:
    (change,) = read_changes([ChangeEvent(1, "shop", name, attributes)])

    assert (change.kind, change.change_id, change.text) == (kind, change_id, said)
    assert change.components == ["shop"]


def test_a_flag_that_is_turned_twice_is_two_changes() -> None:
    events = [ChangeEvent(n, "shop", "flag", {"flag": "fast", "value": n}) for n in (1, 2)]

    assert [change.time_ns for change in read_changes(events)] == [1, 2]


def test_an_event_without_any_id_has_one_of_its_own() -> None:
    (change,) = read_changes([ChangeEvent(7, "shop", "config.reload", {})])

    assert change.change_id == "config.reload-shop-7"
