from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from services.nova.stops import StopFilter

LETTERS = st.text("ab.", max_size=20)
STOPS = st.lists(st.text("ab.", min_size=1, max_size=4), max_size=4)


def through(stops: list[str], pieces: list[str]) -> tuple[str, bool]:
    stop_filter = StopFilter(stops)
    shown = "".join([stop_filter.feed(piece) for piece in pieces])
    return shown + stop_filter.flush(), stop_filter.hit


def test_without_stop_strings_text_passes_as_it_comes() -> None:
    assert StopFilter([]).feed("anything") == "anything"


@pytest.mark.parametrize("pieces", [["one END two"], ["one E", "ND two"], list("one END two")])
def test_a_stop_string_is_found_across_pieces_and_cut_off_with_what_follows(pieces: list[str]) -> None:
    assert through(["END"], pieces) == ("one ", True)


def test_what_only_looked_like_a_stop_string_is_shown_after_all() -> None:
    stop_filter = StopFilter(["END"])
    assert stop_filter.feed("the EN") == "the "
    assert stop_filter.feed("D-less") == ""
    assert stop_filter.hit
    assert through(["END"], ["the EN", "EMY"]) == ("the ENEMY", False)
    assert through(["END"], ["the EN"]) == ("the EN", False)


@given(STOPS, st.lists(LETTERS, max_size=8))
def test_how_the_text_is_cut_into_pieces_makes_no_difference(stops: list[str], pieces: list[str]) -> None:
    assert through(stops, pieces) == through(stops, list("".join(pieces)))


@given(STOPS, st.lists(LETTERS, max_size=8))
def test_no_stop_string_is_ever_shown(stops: list[str], pieces: list[str]) -> None:
    shown, hit = through(stops, pieces)
    assert not any(stop in shown for stop in stops)
    assert "".join(pieces).startswith(shown)
    assert hit == any(stop in "".join(pieces) for stop in stops)
