"""Alarms as evidence: what is unusual, what alarms are called, and what kind of fault they tell of."""

import math
from dataclasses import replace

import pytest

from agent_tracer.server.domain.rca.alarm_evidence import USUAL_MIN, WHOLE, alarm_evidence
from agent_tracer.server.domain.rca.alarm_model import AlarmModel, Taxonomy, fitted, to_json
from agent_tracer.server.domain.rca.alarm_words import RARE, WORD, plain, word_features, words
from agent_tracer.server.domain.rca.analysis import analyze
from agent_tracer.server.domain.rca.fault_types import chances_of, fault_type, signature_of
from agent_tracer.server.domain.rca.features import gather
from agent_tracer.server.domain.rca.model import (
    FITTED,
    KNOWN,
    STRANGE,
    TELEMETRY,
    Model,
    acquaintance,
    confidence,
    knows,
    shares,
)
from agent_tracer.server.domain.rca.signatures import SIGNATURES, diagnose
from agent_tracer.server.domain.rca.view import Alarm, Incident, IncidentView, Window

TAXONOMY = Taxonomy(
    {"slow disk": 0.0, "killed": 0.0},
    {"own metric disk_wait up": {"slow disk": 3.0}, "case log 7": {"killed": 2.0}},
    frozenset({"metric disk_wait up", "log 7"}),
)


def told(*alarms: Alarm) -> IncidentView:
    return IncidentView(Incident("", "", 0), Window([0], 1), Window([1], 1), alarms=alarms)


def strengths(view: IncidentView, feature: str) -> dict[str, float]:
    return {each.component: each.strength for each in alarm_evidence(view) if each.feature == feature}


def test_one_alarm_never_heard_before_outweighs_three_of_every_day() -> None:
    usual = [Alarm("cart", "metric", f"cpu_{at}", "up", usual=0.6) for at in range(3)]
    found = strengths(told(*usual, Alarm("user", "metric", "memory_rss", "up", usual=0.0)), WHOLE)
    assert found["user"] == pytest.approx(-math.log(USUAL_MIN))
    assert found["cart"] == pytest.approx(math.sqrt(3) * -math.log(0.6))


def test_a_calls_alarm_counts_half_for_its_caller_and_once_where_a_component_calls_itself() -> None:
    call = Alarm("cart", "error", "/cart", "up", peer="front", usual=0.1)
    found = strengths(told(call), WHOLE)
    assert found["front"] == pytest.approx(found["cart"] / 2)
    assert strengths(told(replace(call, peer="cart")), WHOLE) == {"cart": pytest.approx(found["cart"])}


@pytest.mark.parametrize(
    ("alarm", "name"),
    [
        (Alarm("cart-0", "log", "cart-0-34"), "34"),
        (Alarm("cart-0", "log", "34"), "34"),
        (Alarm("renamed", "log", "cart-0-34"), "34"),
        (Alarm("cart", "log", "retry-after 34"), "retry-after 34"),
        (Alarm("cart", "error", "http://10.0.0.1:9387/get"), "/get"),
        (Alarm("cart", "metric", "cpu_core_11_pct"), "cpu_core_#_pct"),
        (Alarm("cart", "metric", "cart"), "cart"),
    ],
)
def test_a_word_holds_nothing_of_one_component_host_or_core(alarm: Alarm, name: str) -> None:
    assert plain(alarm) == name


def test_the_words_of_a_call_tell_its_ends_apart() -> None:
    assert dict(words(Alarm("redis", "error", "/get", "up", peer="web"))) == {
        "redis": "error as server /get",
        "web": "error as client /get",
    }
    assert dict(words(Alarm("web", "latency", "/", "up", peer="web"))) == {"web": "latency in itself /"}


def test_a_word_that_all_have_is_less_rare_than_one_of_a_single_component() -> None:
    alarms = [Alarm(name, "log", "7", usual=0.2) for name in ("cart", "user")]
    found = word_features(told(*alarms, Alarm("user", "log", "9", usual=0.2)))
    assert found["user"][f"{WORD}log 9{RARE}"] == pytest.approx(2 * found["user"][f"{WORD}log 7{RARE}"])


def test_words_count_only_in_a_system_most_of_whose_words_are_known() -> None:
    weighed = Model({}, {f"{WORD}log 7": 5.0})
    view = told(Alarm("cart", "log", "7"), Alarm("user", "log", "8"), Alarm("user", "log", "9"))
    strange = gather(view, 3)
    assert not knows(strange, weighed)
    assert shares(strange, weighed)["cart"] == pytest.approx(shares(strange, weighed)["user"])
    known = gather(told(*view.alarms[:1]), 3)
    assert knows(known, weighed)
    assert not knows(gather(told(), 3), weighed)


def test_what_is_known_of_an_incident_decides_how_sure_an_answer_is() -> None:
    strange, own = Alarm("cart", "log", "never seen"), Alarm("cart", "log", "7")
    model = Model({}, {f"{WORD}log 7": 5.0}, {KNOWN: (1.0, 1.0), STRANGE: (1.0, -1.0)})
    met = [acquaintance(view, gather(view, 3), model) for view in (told(), told(own), told(strange))]
    assert met == [TELEMETRY, KNOWN, STRANGE]
    assert confidence(0.5, model, KNOWN) > confidence(0.5, model) > confidence(0.5, model, STRANGE)


def test_in_a_system_never_met_the_component_with_the_unusual_alarms_is_first() -> None:
    noise = [Alarm(name, "log", f"started {name}", usual=0.7) for name in ("a", "b", "c", "d")]
    odd = [Alarm("c", "log", text, usual=0.01) for text in ("disk on fire", "giving up")]
    assert analyze(told(*noise, *odd), 3).candidates[0].component == "c"


def test_the_kind_of_fault_is_read_from_the_named_component_and_the_whole_incident() -> None:
    view = told(Alarm("cart", "metric", "disk_wait", "up"), Alarm("user", "log", "7"))
    assert fault_type(view, "cart", {}, [TAXONOMY])[0] == "slow disk"
    kind, chance = fault_type(view, "user", {}, [TAXONOMY])
    assert kind == "killed"
    assert 0.5 < chance < 1


def test_no_kind_of_fault_is_told_where_the_alarms_names_are_not_known() -> None:
    strange = told(*(Alarm("cart", "log", text) for text in ("one", "two", "7")))
    assert fault_type(strange, "cart", {}, [TAXONOMY]) == ("", 0.0)
    assert fault_type(told(), "cart", {}, [TAXONOMY]) == ("", 0.0)


def test_chances_of_kinds_add_up_to_one() -> None:
    assert sum(chances_of({"case log 7": 1.5, "never seen": 9.0}, TAXONOMY).values()) == pytest.approx(1.0)


def test_an_expected_kind_names_the_issue_where_its_evidence_alone_would_not() -> None:
    view = told(Alarm("cart", "metric", "cpu_usage", "up", usual=0.01))
    found = list(alarm_evidence(view))
    assert diagnose("cart", found).name == "cpu"
    assert diagnose("cart", found, expected="down").name == "down"
    assert "cart was killed" in diagnose("cart", found, expected="down").issue


def test_every_kind_of_fault_that_was_fitted_has_a_signature() -> None:
    names = {signature.name for signature in SIGNATURES}
    for taxonomy in fitted().taxonomies.values():
        assert {signature_of(kind) for kind in taxonomy.intercepts} <= names
    assert not signature_of("gremlins")


def test_the_fitted_file_is_read_as_it_is_written() -> None:
    model = AlarmModel({'word log "a"': -0.5}, {"one": TAXONOMY, "two": TAXONOMY})
    assert to_json(model).count("\n") > len(TAXONOMY.weights)
    assert to_json(fitted()).startswith('{"known": {')
    assert FITTED.known == fitted().known
