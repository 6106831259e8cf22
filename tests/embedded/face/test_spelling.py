from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedded.face.spelling import spelled
from embedded.face.visemes import is_closed
from shared.phones import Word


def closed(word: str) -> list[str]:
    """What closes the lips, in order."""
    return [phone.label for phone in spelled(Word(0, 1, word)) if is_closed(phone.label)]


@pytest.mark.parametrize(
    ("word", "sounds"),
    [
        ("Mum", "mm"),
        ("apples", "p"),
        ("pumpkin", "pmp"),
        ("lamb", "m"),
        ("lambent", "mb"),
        ("phone", ""),
        ("triumph", "m"),
        ("state", ""),
        ("won't", ""),
        ("Pappbecher", "ppb"),
        ("ÜBER", ""),
        ("über", "b"),
        ("Straße", ""),
        ("Stimme", "m"),
    ],
)
def test_lips_close_in_m_b_and_p_and_in_nothing_else(word: str, sounds: str) -> None:
    assert "".join(closed(word)) == sounds
    assert spelled(Word(0, 1, word)) or word.isupper()


@pytest.mark.parametrize("word", ["USB", "42", "", "...", "мама", "m2", "B&B's #1"])
def test_what_is_not_spelled_in_sounds_tells_nothing(word: str) -> None:
    assert spelled(Word(0, 1, word)) == []


def test_closures_lie_where_the_letters_stand() -> None:
    first, *_, last = spelled(Word(2.0, 2.4, "map"))
    assert (first.label, last.label) == ("m", "p")
    assert first.start_s == 2.0
    assert 2.08 < first.end_s < 2.14
    assert 2.26 < last.start_s < 2.32
    assert last.end_s == pytest.approx(2.4)


@given(st.text(max_size=70))
def test_any_word_is_filled_without_a_gap_or_says_nothing(word: str) -> None:
    phones = spelled(Word(1.0, 2.0, word))
    times = [1.0, *(phone.end_s for phone in phones)]
    assert [phone.start_s for phone in phones] == times[:-1]
    assert not phones or times[-1] == pytest.approx(2.0)
