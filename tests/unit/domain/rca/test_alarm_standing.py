"""Where a component stands by its alarms, and that features know no names."""

import math
from dataclasses import replace

import pytest

from agent_tracer.server.domain.rca.alarm_evidence import surprise
from agent_tracer.server.domain.rca.alarm_standing import ALONE, GROUPS, LEVEL, LEVEL_MIN, levels, places, standing
from agent_tracer.server.domain.rca.features import RANK, gather
from agent_tracer.server.domain.rca.view import Alarm, EdgeSeries, Incident, IncidentView, Series, Window

UNKNOWN = Series([math.nan], [math.nan])


def told(*alarms: Alarm, calls: tuple[tuple[str, str], ...] = ()) -> IncidentView:
    edges = [EdgeSeries(*pair, UNKNOWN, UNKNOWN, UNKNOWN) for pair in calls]
    return IncidentView(Incident("", "", 0), Window([0], 1), Window([1], 1), alarms=alarms, edges=edges)


def test_what_befalls_all_replicas_speaks_for_none_of_them() -> None:
    shared = [Alarm(name, "metric", "qps", "down", usual=0.1) for name in ("cart-0", "cart-1", "user-0")]
    own = Alarm("cart-1", "metric", "memory", "up", usual=0.3)
    found = standing(told(*shared, own))[ALONE]
    assert found == {"cart-1": pytest.approx(surprise(own)), "user-0": pytest.approx(surprise(shared[2]))}


def test_a_log_template_is_shared_by_replicas_although_their_names_are_in_it() -> None:
    both = [Alarm(f"cart-{at}", "log", f"cart-{at}-7", usual=0.1) for at in (0, 1)]
    assert ALONE not in standing(told(*both))


def test_levels_add_up_alarms_by_channel_and_half_of_a_calls_for_its_caller() -> None:
    call = Alarm("cart", "latency", "/cart", "up", peer="front", usual=0.1)
    found = levels([call, Alarm("cart", "log", "7", usual=0.2)])
    assert found.keys() == GROUPS.keys()
    assert found[f"{LEVEL}_call"] == {"cart": pytest.approx(surprise(call)), "front": pytest.approx(surprise(call) / 2)}
    assert found[f"{LEVEL}_metric"] == {}
    assert found[LEVEL]["cart"] > found[f"{LEVEL}_call"]["cart"]


def test_a_level_that_a_component_never_reached_is_told_from_one_it_has_every_day() -> None:
    view = replace(told(Alarm("cart", "log", "7")), usual_levels={LEVEL: {"cart": 0.5, "user": 0.0}})
    assert standing(view)[LEVEL] == {"cart": pytest.approx(-math.log(0.5)), "user": pytest.approx(-math.log(LEVEL_MIN))}


def test_places_are_of_the_calls_and_only_where_alarms_are() -> None:
    alarm = Alarm("cron", "log", "7")
    calls = (("front", "cart"), ("cart", "db"), ("db", "db"))
    found = {name: place.rpartition("_")[2] for name, place in places(told(alarm, calls=calls)).items()}
    assert found == {"front": "root", "cart": "middle", "db": "leaf", "cron": "none"}
    assert places(told(calls=calls)) == {}


def test_components_that_are_equal_rank_equal_whatever_they_are_called() -> None:
    found = gather(told(*(Alarm(name, "log", "7", usual=0.1) for name in ("a", "b", "c"))), 3).features
    assert found["a"] == found["b"] == found["c"]
    assert found["a"][f"alarm_log{RANK}"] == pytest.approx(1 / 2)
