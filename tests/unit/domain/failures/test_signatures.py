"""What two failed runs have in common, and what they need not."""

import os
import subprocess
import sys
from dataclasses import replace
from random import Random

import pytest
from drain3 import TemplateMiner
from drain3.template_miner_config import TemplateMinerConfig
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_tracer.server.domain.failures.masking import TEMPLATE_CHARACTERS_MAX, template
from agent_tracer.server.domain.failures.signatures import signature
from agent_tracer.server.domain.failures.steps import Step

SPOKEN = [
    ("timeout after 30 s at 12:30:01", "timeout after 1200 s at 01:02:03.5"),
    ("order #W12 not found", "order #W998877 not found"),
    ("GET https://a.example/x?y=1 failed", "GET http://b.example:8080/other failed"),
    ("no file '/srv/a1/b.txt'", "no file '/opt/someone/c.csv'"),
    ("cannot open /srv/a1/b.txt", "cannot open /var/lib/x/y"),
    ("request 3f2a9c4e11 refused", "request 1234567890 refused"),
    ("id 123e4567-e89b-12d3-a456-426614174000 gone", "id 00000000-0000-4000-8000-00000000000a gone"),
    ("10.0.0.1:443 closed at 2026-01-02T03:04:05Z", "192.168.1.77:9 closed at 2025-12-31 23:59:59.123+02:00"),
    ("mail to a.b@c.example bounced", "mail to someone+else@long.domain.example bounced"),
    ("items 1, 2, 3 missing", "items 77 missing"),
    ("used 1,234.5 of 2e6 tokens", "used 7 of 8 tokens"),
    ("订单12不存在", "订单98765不存在"),
    ("файл «отчёт 1» не найден", "файл «план» не найден"),
    ("\x1b[31mfailed\x1b[0m 3 times", "failed 4 times"),
]


@pytest.mark.parametrize(("one", "other"), SPOKEN)
def test_what_differs_between_two_occurrences_is_masked(one: str, other: str) -> None:
    assert template(one) == template(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("rate limit reached", "context length exceeded"),
        ("订单12不存在", "订单12已取消"),
        ("connection refused by 10.0.0.1", "connection reset by 10.0.0.1"),
    ],
)
def test_words_keep_failures_apart(one: str, other: str) -> None:
    assert template(one) != template(other)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=400))
def test_a_template_is_bounded_one_line_and_has_no_digit(message: str) -> None:
    found = template(message)

    assert len(found) <= TEMPLATE_CHARACTERS_MAX
    assert "\n" not in found
    assert not any("0" <= sign <= "9" for sign in found)


def test_templates_of_hostile_texts_take_no_longer_than_their_length() -> None:
    for text in ("a" * 5_000, "/" * 5_000, "'" * 5_000, "1." * 5_000, "a@" * 5_000, "a-" * 5_000, "[" * 5_000):
        assert len(template(text)) <= TEMPLATE_CHARACTERS_MAX


def tool(index: int, name: str, *, message: str = "", parent: str = "root", failed: bool = True) -> Step:
    return Step(index, f"s{index}", "a", "tool", name, parent, name, message=message, failed=failed)


def failed_run() -> list[Step]:
    return [
        Step(0, "root", "a", "agent", "plan", message="run failed", failed=True),
        tool(1, "search", message="TimeoutError: no answer in 30 s"),
        tool(2, "search", failed=False),
        tool(3, "store", message="psycopg.OperationalError: 10.0.0.1 is down"),
        tool(4, "store", message="psycopg.OperationalError: 10.0.0.2 is down"),
    ]


def test_the_deepest_step_that_no_retry_mended_signs_the_run() -> None:
    found = signature(failed_run())

    assert (found.step_kind, found.step_name, found.error_type) == ("tool", "store", "OperationalError")
    assert found.message_template == "psycopg.OperationalError: <address> is down"
    assert found.title == "tool store: psycopg.OperationalError: <address> is down"


def test_a_run_whose_failed_calls_were_all_mended_is_signed_by_what_is_above_them() -> None:
    found = signature(failed_run()[:3])

    assert (found.step_kind, found.step_name, found.message_template) == ("agent", "plan", "run failed")


def test_an_exception_at_a_tracebacks_end_counts_not_its_first_line() -> None:
    text = "Traceback (most recent call last):\n  File \"x.py\", line 3, in <module>\nKeyError: 'name'"

    found = signature([Step(0, "s", "a", "tool", "run", output=text)])

    assert (found.error_type, found.message_template) == ("KeyError", "KeyError: <text>")


def test_a_run_without_an_error_is_known_by_its_last_step() -> None:
    steps = [Step(0, "s", "a", "llm", "chat", output="done"), Step(1, "t", "u", "user", "user", output="no")]

    assert signature(steps).title == "Failed without an error, last step llm chat"
    assert signature([]).title == "Failed without an error, last step a run without steps"


def test_ids_of_groups_are_the_same_in_another_process_and_in_any_order() -> None:
    code = (
        "from agent_tracer.server.domain.failures.signatures import signature as s\n"
        "from agent_tracer.server.domain.failures.steps import Step\n"
        "print(s([Step(0, 'x', 'a', 'tool', 'store', message='order 12 of 2026-01-01 lost', failed=True)]).group_id)"
    )
    here = signature([Step(5, "y", "b", "tool", "store", message="order 7 of 2025-12-31 lost", failed=True)]).group_id

    for seed in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stdout.strip() == here

    mixed = failed_run()
    Random(3).shuffle(mixed)
    assert signature(mixed) == signature(failed_run())


def test_the_id_of_a_group_never_changes() -> None:
    """A change here splits every group that users know: raise the version of the hash's name with it."""
    assert signature(failed_run()).group_id == "7ef0ec6b64680a03"


def test_a_loop_of_parents_ends() -> None:
    steps = [tool(0, "one", parent="s1", message="x"), tool(1, "two", parent="s0", message="y")]

    assert signature(steps).step_name in {"one", "two"}


def test_upper_and_lower_case_are_one_group() -> None:
    one, other = (replace(tool(0, "store"), message=text) for text in ("Not Found", "not found"))

    assert signature([one]).group_id == signature([other]).group_id


def test_templates_group_as_a_log_miner_does() -> None:
    config = TemplateMinerConfig()
    config.profiling_enabled = False
    miner = TemplateMiner(config=config)
    draw = Random(1)
    formats = [
        "connection to 10.0.0.{} refused after {} attempts",
        "order {} of customer {} was not found",
        "model used {} tokens but only {} are allowed",
        "job {} was cancelled by the scheduler after {} seconds",
    ]
    messages = [draw.choice(formats).format(draw.randint(1, 99), draw.randint(1, 999)) for _ in range(120)]
    mined = [int(miner.add_log_message(message)["cluster_id"]) for message in messages]
    ours = [template(message) for message in messages]

    assert len(set(zip(mined, ours, strict=True))) == len(set(mined)) == len(set(ours)) == len(formats)
