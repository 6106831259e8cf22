from __future__ import annotations

import itertools
from importlib import import_module

import pytest
from hypothesis import given
from hypothesis import strategies as st

text = import_module("models.nova.1.text")

BYTES = [bytes([value]) for value in range(256)]
"""A table in which token and byte are the same."""

words = st.text(st.sampled_from("ab🙂"), min_size=1, max_size=4)


def cuts(whole: str | bytes, sizes: list[int]) -> list[str] | list[bytes]:
    """`whole` in pieces of these sizes, the last of which takes the rest."""
    edges = [0, *itertools.accumulate(sizes), max(len(whole), sum(sizes))]
    return [whole[low:high] for low, high in itertools.pairwise(edges)]  # type: ignore[return-value]


def test_a_byte_level_vocabulary_is_taken_as_it_is() -> None:
    assert text.token_bytes({b" the": 0, b"\xc3": 1, b"<|end|>": 2}, special=[2]) == [b" the", b"\xc3", b""]


def test_a_sentencepiece_vocabulary_gets_its_spaces_and_bytes() -> None:
    assert text.token_bytes({"▁the".encode(): 0, b"<0x0A>": 1}, special=[]) == [b" the", b"\n"]


def test_ids_that_the_vocabulary_skips_add_nothing() -> None:
    table = text.token_bytes({b"a": 0, b"b": 2}, special=[])
    assert text.Detokenizer(table).feed([0, 1, 2, 99]) == "ab"


@given(st.text(), st.lists(st.integers(1, 5)))
def test_text_survives_any_cut_and_no_piece_has_half_a_character(whole: str, sizes: list[int]) -> None:
    detokenizer = text.Detokenizer(BYTES)
    pieces = [detokenizer.feed(piece) for piece in cuts(whole.encode(), sizes)]
    assert "".join(pieces) == whole
    assert detokenizer.feed([], last=True) == ""


def test_a_character_that_stays_incomplete_is_replaced_at_the_end_only() -> None:
    detokenizer = text.Detokenizer(BYTES)
    assert detokenizer.feed("🙂".encode()[:2]) == ""
    assert detokenizer.feed([], last=True) == "\ufffd"


def expected(whole: str, stops: list[str], *, include: bool = False) -> tuple[str, bool]:
    """By the definition: up to the stop string that is complete first, the earliest begun of those."""
    for end in range(len(whole) + 1):
        starts = [end - len(stop) for stop in stops if whole[:end].endswith(stop)]
        if starts:
            return (whole[:end] if include else whole[: min(starts)]), True
    return whole, False


@given(
    st.text(st.sampled_from("ab🙂"), max_size=30),
    st.lists(words, max_size=3),
    st.lists(st.integers(1, 5)),
    st.booleans(),
)
def test_an_answer_ends_before_its_stop_string_however_it_is_cut(
    whole: str, stops: list[str], sizes: list[int], include: bool
) -> None:
    stopper = text.Stopper(stops, include=include)
    sent = "".join(stopper.feed(piece) for piece in cuts(whole, sizes)) + stopper.feed("", last=True)
    assert (sent, stopper.stopped) == expected(whole, stops, include=include)


@given(st.text(st.sampled_from("ab"), max_size=30), st.lists(words, min_size=1, max_size=3))
def test_nothing_is_held_back_that_cannot_become_a_stop_string(whole: str, stops: list[str]) -> None:
    stopper = text.Stopper(stops)
    sent = ""
    for count, character in enumerate(whole, 1):
        sent += stopper.feed(character)
        held = whole[len(sent) : count]
        assert stopper.stopped or not held or any(stop.startswith(held) for stop in stops)


def test_of_two_stop_strings_that_end_together_the_longer_counts() -> None:
    assert text.Stopper(["b", "ab"]).feed("xab") == "x"


@pytest.mark.parametrize("tail", ["", "b"])
def test_what_was_held_back_is_sent_once_it_is_decided(tail: str) -> None:
    stopper = text.Stopper(["aa"])
    assert stopper.feed("xa") == "x"
    assert stopper.feed(tail, last=not tail) == f"a{tail}"


def test_after_the_stop_string_nothing_more_is_sent() -> None:
    stopper = text.Stopper(["."])
    assert stopper.feed("One. Two.") == "One"
    assert stopper.feed(" Three", last=True) == ""
