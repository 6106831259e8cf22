from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedded.face.blendshapes import ARTICULATORS, CLOSE, JAW, Array
from embedded.face.timed import MAX_WAITING, TimedSpeech
from shared.phones import Mark, Phone, Word

OPEN: Array = np.zeros((200, len(ARTICULATORS)), np.float32)
OPEN[:, JAW] = 0.5
"""Two seconds of a sound that is read as a half-open mouth."""
WORD = [Phone(0.5, 0.6, "m"), Phone(0.6, 0.8, "ˈaɪ"), Phone(0.8, 0.9, "p")]


def laid(marks: Sequence[Mark], sizes: tuple[int, ...] = (200,)) -> Array:
    timed = TimedSpeech()
    timed.add(marks)
    parts, first = [], 0
    for size in sizes:
        parts.append(timed.lay_over(OPEN[first : first + size], first))
        first += size
    return np.concatenate(parts)


def test_without_phones_the_sound_has_its_way() -> None:
    assert laid([]) is not OPEN
    np.testing.assert_array_equal(laid([]), OPEN)


def test_phones_take_the_place_of_the_sound_where_they_are_known_and_nowhere_else() -> None:
    moves = laid(WORD)
    np.testing.assert_array_equal(moves[:48], OPEN[:48])
    np.testing.assert_array_equal(moves[92:], OPEN[92:])
    assert moves[53:57, CLOSE].min() == moves[83:87, CLOSE].min() == 1
    assert moves[63:77, CLOSE].max() == 0
    assert moves[65, JAW] > 0.5


def test_the_face_goes_over_to_the_phones_and_back_without_a_leap() -> None:
    moves = laid([Phone(0.5, 1.0, "ɑː")])
    assert np.abs(np.diff(moves[:, JAW])).max() < 0.3


@given(st.lists(st.integers(1, 40), min_size=5, max_size=30))
@settings(deadline=None)
def test_it_does_not_matter_how_the_sound_was_cut(sizes: list[int]) -> None:
    until = min(sum(sizes), 200)
    np.testing.assert_allclose(laid(WORD, tuple(sizes))[:until], laid(WORD)[:until], atol=1e-6)


@pytest.mark.parametrize("size", [1, 3, 7, 10, 25])
def test_nor_where_what_an_articulator_does_is_long_left_free(size: int) -> None:
    told = [Phone(0.3 + 0.07 * at, 0.37 + 0.07 * at, ipa) for at, ipa in enumerate("umənəntəldəntəkəni")]
    np.testing.assert_allclose(laid(told, (size,) * (200 // size))[:196], laid(told)[:196], atol=1e-6)


def test_a_label_that_is_a_text_is_passed_over() -> None:
    timed = TimedSpeech()
    timed.add([Phone(0.1, 0.2, "m" * 1000), Word(0.2, 0.3, "m" * 1000)])
    assert timed.faults == Counter({"too long a label": 2})


def test_nor_when_phones_come_as_long_as_it_is_before_their_sound() -> None:
    timed, parts = TimedSpeech(), []
    for first in range(0, 200, 10):
        timed.add(phone for phone in WORD if first <= phone.start_s * 100 - 40 < first + 10)
        parts.append(timed.lay_over(OPEN[first : first + 10], first))
    assert timed.used == 3
    np.testing.assert_allclose(np.concatenate(parts), laid(WORD), atol=1e-6)


def test_phones_may_come_in_any_order() -> None:
    np.testing.assert_array_equal(laid(WORD[::-1]), laid(WORD))


def test_a_phone_that_comes_in_the_middle_of_its_sound_is_shown_from_there_on() -> None:
    timed = TimedSpeech()
    timed.lay_over(OPEN[:55], 0)
    timed.add([Phone(0.5, 0.7, "m")])
    assert timed.lay_over(OPEN[55:75], 55)[5:12, CLOSE].min() == 1


def test_of_words_only_the_lips_are_taken_and_phones_have_the_last_say() -> None:
    word = Word(0.5, 0.9, "mop")
    moves = laid([word])
    assert moves[53:57, CLOSE].min() == moves[83:87, CLOSE].min() == 1
    np.testing.assert_array_equal(np.delete(moves, CLOSE, axis=1), np.delete(OPEN, CLOSE, axis=1))
    np.testing.assert_array_equal(laid([word, *WORD])[52:88], laid(WORD)[52:88])


def test_a_word_without_a_closure_keeps_the_lips_open_whatever_the_sound_seems_to_be() -> None:
    timed = TimedSpeech()
    timed.add([Word(0.5, 0.9, "none"), Word(1.0, 1.4, "42")])
    seems_shut = OPEN.copy()
    seems_shut[:, CLOSE] = 0.8
    shut = timed.lay_over(seems_shut, 0)[:, CLOSE]
    assert shut[53:87].max() == 0
    assert shut[100:140].min() == pytest.approx(0.8)  # no sounds in a number
    assert not timed.faults


def test_a_word_that_is_told_in_its_middle_is_shown_from_there_on() -> None:
    timed = TimedSpeech()
    timed.lay_over(OPEN[:60], 0)
    timed.add([Word(0.4, 0.9, "mop"), Word(0.1, 0.3, "mop")])
    assert timed.lay_over(OPEN[60:], 60)[22:27, CLOSE].min() == 1
    assert (timed.used, timed.faults) == (1, Counter(["too late"]))


@pytest.mark.parametrize(
    ("phone", "fault"),
    [
        (Phone(math.nan, 1, "m"), "not a number"),
        (Phone(0, math.inf, "m"), "not a number"),
        (Phone(-0.1, 0.1, "m"), "no span of time"),
        (Phone(0.2, 0.1, "m"), "no span of time"),
        (Phone(0.2, 0.2, "m"), "no span of time"),
        (Phone(0, 3600, "m"), "no span of time"),
        (Phone(1.5, 1.6, "?!"), "unknown"),
        (Phone(1.5, 1.6, "m" * 17), "unknown"),
        (Phone(1.5, 1.6, "m" * 10_000), "too long a label"),
        (Phone(0.2, 0.3, "m"), "too late"),
        (Phone(0.7, 0.75, "m"), "over another"),
        (Phone(0.55, 0.7, "m"), "over another"),
        (Phone(0.45, 1.2, "m"), "over another"),
        (WORD[0], "over another"),
    ],
)
def test_what_is_no_phone_of_this_stream_is_passed_over_by_name(phone: Phone, fault: str) -> None:
    timed = TimedSpeech()
    timed.add(WORD)
    before = timed.lay_over(OPEN[:45], 0)
    timed.add([phone])
    assert timed.faults == Counter([fault])
    moves = np.concatenate([before, timed.lay_over(OPEN[45:], 45)])
    np.testing.assert_allclose(moves, laid(WORD), atol=1e-6)


def test_what_rounding_lays_over_a_neighbour_is_cut_off() -> None:
    timed = TimedSpeech()
    timed.add([*WORD, Phone(0.897, 1.0, "ɑː")])
    assert not timed.faults
    timed.add([Phone(0.897, 0.904, "m")])  # nothing is left of it
    assert timed.faults == Counter(["over another"])


def test_more_phones_than_any_speech_holds_are_refused_and_the_first_are_shown() -> None:
    timed = TimedSpeech()
    timed.add(Phone(at / 10, (at + 1) / 10, "m") for at in range(MAX_WAITING + 500))
    assert timed.faults == Counter({"too many": 500})
    assert timed.lay_over(OPEN, 0)[:, CLOSE].min() > 0.5


def test_phones_that_are_over_are_forgotten() -> None:
    timed = TimedSpeech()
    for second in range(1000):
        timed.add(Phone(second + at / 10, second + (at + 1) / 10, "m") for at in range(10))
        timed.lay_over(OPEN[:100], 100 * second)
    assert timed.used == 10_000
    assert len(timed._phones._phones) < 40


@given(
    st.lists(
        st.builds(Phone, st.floats(), st.floats(), st.sampled_from(["m", "ɑ", "", "nonsense?", "P"])),
        max_size=30,
    )
)
@settings(deadline=None)
def test_no_phones_whatever_make_weights_that_are_none(phones: list[Phone]) -> None:
    moves = laid(phones, (3, 97, 100))
    assert np.isfinite(moves).all()
    assert moves.min() >= 0
    assert moves.max() <= 1 + 1e-5
