"""Bars, curves and verdicts in a line of text, and figures in their units."""

import io
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from agent_tracer.server.cli import charts, figures
from agent_tracer.server.cli.glyphs import ASCII, UNICODE, VERDICT_STYLES

ANY = st.floats(allow_nan=True, allow_infinity=True)


def bar(value: float, interval: tuple[float, float] | None = None, scale: tuple[float, float] = (0, 1)) -> str:
    return charts.interval_bar(ASCII, value, interval, scale).plain


def test_an_interval_is_drawn_where_it_lies_on_its_scale() -> None:
    assert bar(0) == "o" + "." * 23
    assert bar(1) == "." * 23 + "o"
    assert bar(0.5, (0, 1)) == "[-----------o----------]"
    assert bar(0, (0, 0.5)) == "o-----------]..........."
    assert bar(0.5, (0.5, 0.5)) == "............o..........."
    assert bar(0.2, (-1, 1), (-1, 1)) == "[-----------|-o--------]"
    assert bar(7, (5, 9)) == "." * 23 + "o", "beyond the scale is at its end"


@given(value=ANY, lower=ANY, upper=ANY, low=ANY, high=ANY)
def test_a_bar_is_of_one_width_whatever_the_figures(
    value: float, lower: float, upper: float, low: float, high: float
) -> None:
    drawn = bar(value, (lower, upper), (low, high))
    assert len(drawn) in {0, charts.BAR_COLUMNS}
    assert drawn.count("o") == bool(drawn)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1))
def test_zero_is_in_the_middle_of_its_scale(values: list[float]) -> None:
    low, high = charts.around_zero(*values)
    assert low == -high
    assert all(low <= value <= high for value in values)


def test_a_curve_goes_from_its_least_to_its_greatest_and_has_gaps() -> None:
    assert charts.curve(UNICODE, [1, None, 3]).plain == "▁ █"
    assert charts.curve(ASCII, [5, 5, 5]).plain == "==="
    assert charts.curve(ASCII, [None, math.nan]).plain == ""
    assert charts.curve(ASCII, []).plain == ""


@given(st.lists(st.none() | ANY, max_size=300))
def test_a_curve_is_never_wider_than_its_room(values: list[float | None]) -> None:
    drawn = charts.curve(UNICODE, values).plain
    assert len(drawn) <= charts.CURVE_COLUMNS
    assert set(drawn) <= set(UNICODE.levels) | {" "}


def test_a_long_curve_keeps_its_course() -> None:
    drawn = charts.curve(ASCII, [float(value) for value in range(1000)]).plain
    assert len(drawn) == charts.CURVE_COLUMNS
    assert [ASCII.levels.index(mark) for mark in drawn] == sorted(ASCII.levels.index(mark) for mark in drawn)


@pytest.mark.parametrize("word", [*VERDICT_STYLES, "no_difference", "stable", "up", "none", "a_new_one"])
def test_a_verdict_is_told_by_a_word_and_never_by_colour_alone(word: str) -> None:
    for marks in (ASCII, UNICODE):
        assert charts.verdict(marks, word).plain.endswith(" " + word.replace("_", " "))
    assert ASCII.verdicts.keys() == UNICODE.verdicts.keys() >= VERDICT_STYLES.keys()
    assert "".join((*ASCII.verdicts.values(), ASCII.levels, ASCII.ends)).isascii()


def test_notes_are_broken_at_words_below_their_own_first_line() -> None:
    out = io.StringIO()
    charts.print_notes(Console(file=out, width=30), "!", ["one two three four five six seven", "\x1b[2Jeight"])
    assert out.getvalue() == "! one two three four five six\n  seven\n! \\x1b[2Jeight\n"


@pytest.mark.parametrize(
    ("measure", "value", "level", "signed"),
    [
        ("success_rate", 0.02, "2.0%", "+2.0 points"),
        ("success", -0.5, "-50.0%", "-50.0 points"),
        ("duration", 1250, "1.25 s", "+1.25 s"),
        ("duration", 0, "0 ms", "0 ms"),
        ("cost", -0.002, "-$0.002", "-$0.002"),
        ("quality", 0.1234, "0.123", "+0.123"),
        ("something_new", 1.5, "1.500", "+1.500"),
        ("success_rate", math.nan, "-", "-"),
        ("cost", math.inf, "-", "-"),
    ],
)
def test_a_measure_is_written_in_its_unit(measure: str, value: float, level: str, signed: str) -> None:
    assert figures.level(measure, value) == level
    assert figures.signed(measure, value) == signed


def test_a_unit_that_both_ends_share_is_said_once() -> None:
    assert figures.signed_span("success_rate", -0.01, 0.13) == "-1.0 to +13.0 points"
    assert figures.signed_span("duration", -20, 1500) == "-20 ms to +1.50 s"
    assert figures.signed_span("duration", -65_000, 125_000) == "-1 m 5 s to +2 m 5 s"
    assert figures.signed_span("cost", -0.5, 0.25) == "-$0.50 to +$0.25"


def test_probabilities_are_never_written_as_nought() -> None:
    assert figures.probability(0) == "<0.001"
    assert figures.probability(0.0004) == "<0.001"
    assert figures.probability(0.034) == "0.034"
    assert figures.probability(math.nan) == "-"
