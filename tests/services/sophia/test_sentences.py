"""Streamed text becomes what is spoken in one breath."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sophia.sentences import MAX_CHARS, Clauses, speakable


def clauses(*pieces: str) -> list[str]:
    cutter = Clauses()
    return [clause for piece in pieces for clause in cutter.feed(piece)] + cutter.flush()


def test_a_sentence_is_ready_as_soon_as_it_ends() -> None:
    assert Clauses().feed("It is cold.") == ["It is cold."]
    assert Clauses().feed("Really?") == ["Really?"]


def test_the_first_clause_leaves_at_its_comma_and_later_ones_are_whole() -> None:
    assert clauses("Of course I can, but only now. Wait a moment, please. ") == [
        "Of course I can,",
        "but only now.",
        "Wait a moment, please.",
    ]


def test_the_number_of_an_item_is_no_sentence() -> None:
    assert clauses("Two things:\n1. Apples.\n2. Pears.") == ["Two things:", "Apples.", "Pears."]
    assert clauses("It was 1999. Then it was not.") == ["It was 1999.", "Then it was not."]


def test_a_short_start_does_not_stand_alone() -> None:
    assert clauses("Yes, I do.") == ["Yes, I do."]


@pytest.mark.parametrize(
    "text", ["Pi is 3.14 or so.", "Ask Dr. Smith now.", "That is e.g. a cat.", "Call J. Doe today."]
)
def test_a_dot_that_ends_nothing_does_not_cut(text: str) -> None:
    assert clauses(text) == [text]


@pytest.mark.parametrize("text", ["...", "Hello. \U0001f642", "! ! !", "--- \n***\n"])
def test_what_has_no_sound_is_not_sent_to_be_spoken(text: str) -> None:
    assert clauses(text) == (["Hello."] if "Hello" in text else [])


def test_a_number_at_the_end_waits_for_what_follows() -> None:
    cutter = Clauses()
    assert cutter.feed("It is 3.") == []
    assert cutter.feed("5 degrees.") == ["It is 3.5 degrees."]


@pytest.mark.parametrize(
    ("markdown", "spoken"),
    [
        ("**Bold** and _soft_ and `code`.", "Bold and soft and code."),
        ("# Title", "Title"),
        ("- one\n- two", "one two"),
        ("See [the page](http://x.example/y).", "See the page."),
        ("Run ```rm -rf``` now.", "Run now."),
        ("2 * 3 is 6", "2 * 3 is 6"),
        ("2*3 is in my_file.", "2*3 is in my_file."),
    ],
)
def test_markdown_is_not_spoken(markdown: str, spoken: str) -> None:
    assert speakable(markdown) == spoken


def letters(text: str) -> str:
    return "".join(filter(str.isalnum, text))


@given(st.lists(st.text(alphabet="abcdefg ABC.,;!?\n", max_size=80), max_size=20))
def test_nothing_is_lost_and_nothing_is_too_long(pieces: list[str]) -> None:
    ready = clauses(*pieces)
    assert all(0 < len(clause) <= MAX_CHARS for clause in ready)
    assert letters("".join(ready)) == letters("".join(pieces))


@given(st.text(max_size=300), st.integers(1, 20))
def test_any_text_cut_anywhere_ends(text: str, step: int) -> None:
    ready = clauses(*(text[start : start + step] for start in range(0, len(text), step)))
    assert all(len(clause) <= MAX_CHARS for clause in ready)


@pytest.mark.parametrize("answer", ["1.", "12.", "1.\n", "- ", "> no", "# yes"])
def test_what_looks_like_the_begin_of_a_list_is_an_answer_where_nothing_follows(answer: str) -> None:
    assert letters("".join(clauses(*answer))) == letters(answer)
