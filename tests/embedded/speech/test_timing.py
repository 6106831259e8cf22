from __future__ import annotations

from embedded.speech.espeak import PhoneMark, WordMark
from embedded.speech.script import Span
from embedded.speech.timing import PhoneClock, SpokenPhone, SpokenWord, WordClock

SPANS = (Span(0, 6, "Hello"), Span(7, 9, "42"))  # of "Hello, 42"


def test_a_word_ends_where_the_next_begins() -> None:
    clock = WordClock(SPANS)
    clock.add([WordMark(0, 5, 10), PhoneMark("h", 10), WordMark(7, 2, 300), PhoneMark("f", 300)])
    assert clock.take() == [SpokenWord("Hello", 10, 300)]
    clock.add([PhoneMark("", 700)])
    clock.finish()
    assert clock.take() == [SpokenWord("42", 300, 700)]


def test_a_word_before_a_pause_ends_with_the_pause() -> None:
    clock = WordClock(SPANS)
    clock.add([WordMark(0, 5, 0), PhoneMark("h", 0), PhoneMark("", 250), WordMark(7, 2, 900)])
    assert clock.take() == [SpokenWord("Hello", 0, 250)]


def test_a_number_that_is_spoken_as_two_words_is_one_word() -> None:
    clock = WordClock(SPANS[1:])
    clock.add([WordMark(7, 2, 0), PhoneMark("f", 0), WordMark(8, 1, 200), PhoneMark("t", 210)])
    clock.add([PhoneMark("", 500)])
    clock.finish()
    assert clock.take() == [SpokenWord("42", 0, 500)]


def test_words_that_are_announced_together_share_their_time() -> None:
    spans = (Span(0, 1, "I"), Span(2, 4, "am"), Span(5, 8, "old"))
    clock = WordClock(spans)
    clock.add([WordMark(0, 1, 0), PhoneMark("aɪ", 0), WordMark(5, 3, 300), PhoneMark("oʊ", 300)])
    clock.add([PhoneMark("", 600)])
    clock.finish()
    assert clock.take() == [SpokenWord("I", 0, 100), SpokenWord("am", 100, 300), SpokenWord("old", 300, 600)]


def test_nothing_spoken_is_no_word() -> None:
    clock = WordClock(())
    clock.add([WordMark(0, 1, 0), PhoneMark("", 300)])
    clock.finish()
    assert clock.take() == []


def test_phones_follow_each_other_from_the_first_sample_on() -> None:
    clock = PhoneClock()
    clock.add([WordMark(0, 2, 0), PhoneMark("h", 12), PhoneMark("ˈaɪ", 90)])
    assert clock.take() == [SpokenPhone("_", 12), SpokenPhone("h", 78)]
    clock.add([PhoneMark("_:", 300), PhoneMark("", 350)])
    clock.reach(500, 500)
    assert clock.take() == [SpokenPhone("ˈaɪ", 210), SpokenPhone("_", 50), SpokenPhone("_", 150)]


def test_a_phone_that_goes_on_is_told_in_parts_where_its_sound_must_leave() -> None:
    clock = PhoneClock()
    clock.add([PhoneMark("ɑː", 0)])
    clock.reach(250, 700)
    clock.reach(500, 900)  # that much is told
    clock.add([PhoneMark("t", 1000)])
    assert clock.take() == [SpokenPhone("ɑː", 700), SpokenPhone("ɑː", 300)]


def test_a_mark_that_goes_back_takes_no_time() -> None:
    clock = PhoneClock()
    clock.add([PhoneMark("a", 100), PhoneMark("b", 60), PhoneMark("c", 100), PhoneMark("d", 160)])
    assert clock.take() == [SpokenPhone("_", 100), SpokenPhone("c", 60)]
