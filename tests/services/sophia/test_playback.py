"""Sound is the clock: what was sent, what was heard, and which words those were."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sophia.playback import Clause, MediaClock, SpokenWord, Transcript


class Seconds:
    """A steady clock that the test turns."""

    def __init__(self) -> None:
        self.value = 100.0

    def __call__(self) -> float:
        return self.value


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def clock(seconds: Seconds) -> MediaClock:
    return MediaClock(seconds)


def test_nothing_is_heard_before_something_is_sent(clock: MediaClock, seconds: Seconds) -> None:
    seconds.value += 5
    assert clock.played_ms() == 0


def test_the_listener_hears_in_real_time_and_never_more_than_was_sent(
    clock: MediaClock, seconds: Seconds
) -> None:
    clock.sent(1000)
    seconds.value += 0.4
    assert clock.played_ms() == pytest.approx(400)
    seconds.value += 10
    assert clock.played_ms() == 1000


def test_a_gap_in_the_sound_stops_the_clock(clock: MediaClock, seconds: Seconds) -> None:
    clock.sent(100)
    seconds.value += 3
    clock.sent(100)
    seconds.value += 0.05
    assert clock.played_ms() == pytest.approx(150)


def test_a_pause_stops_the_clock(clock: MediaClock, seconds: Seconds) -> None:
    clock.sent(1000)
    seconds.value += 0.2
    clock.pause()
    seconds.value += 9
    assert clock.played_ms() == pytest.approx(200)
    clock.resume()
    seconds.value += 0.1
    assert clock.played_ms() == pytest.approx(300)


def test_the_listener_knows_better_where_it_is(clock: MediaClock, seconds: Seconds) -> None:
    clock.sent(1000)
    seconds.value += 0.5
    clock.report(320)
    seconds.value += 0.1
    assert clock.played_ms() == pytest.approx(420)
    clock.report(99999)
    assert clock.played_ms() == 1000


@given(
    st.lists(st.tuples(st.sampled_from(["sent", "report", "pause", "resume", "wait"]), st.floats(0, 5000)))
)
def test_the_position_never_leaves_what_was_sent(steps: list[tuple[str, float]]) -> None:
    seconds = Seconds()
    clock = MediaClock(seconds)
    for step, amount in steps:
        match step:
            case "sent":
                clock.sent(amount)
            case "report":
                clock.report(amount)
            case "pause":
                clock.pause()
            case "resume":
                clock.resume()
            case _:
                before = clock.played_ms()
                seconds.value += amount / 1e3
                assert clock.played_ms() >= before
        assert 0 <= clock.played_ms() <= clock.sent_ms


async def test_a_full_lead_waits_for_the_listener_and_a_report_wakes_it(
    clock: MediaClock, seconds: Seconds
) -> None:
    clock.sent(500)
    waiting = asyncio.create_task(clock.until_lead_below(300))
    await asyncio.sleep(0)
    assert not waiting.done()
    clock.report(400)
    await asyncio.wait_for(waiting, 30)


async def test_frames_wait_for_their_sound(clock: MediaClock) -> None:
    waiting = asyncio.create_task(clock.until_sent(150))
    clock.sent(100)
    await asyncio.sleep(0)
    assert not waiting.done()
    clock.sent(100)
    await asyncio.wait_for(waiting, 30)


def clause(text: str, start_ms: float = 0.0, word_ms: float = 200.0, *, timed: bool = True) -> Clause:
    words = text.replace(",", "").replace(".", "").split()
    times = tuple(SpokenWord(word, n * word_ms, (n + 1) * word_ms) for n, word in enumerate(words))
    return Clause(text, start_ms, len(words) * word_ms, times if timed else (), complete=True)


@pytest.mark.parametrize(
    ("played_ms", "heard"),
    [
        (0, ""),
        (90, ""),
        (110, "Well"),
        (399, "Well, hello"),
        (500, "Well, hello there"),
        (601, "Well, hello there."),
    ],
)
def test_the_cut_falls_behind_the_word_that_was_half_heard(played_ms: float, heard: str) -> None:
    assert clause("Well, hello there.").heard(played_ms) == heard


def test_without_word_times_the_cut_is_estimated_at_a_word() -> None:
    assert clause("one two three four", timed=False).heard(400) == "one two"


def test_of_a_clause_whose_sound_is_not_all_there_only_what_came_was_heard() -> None:
    slow = clause("Well, hello there.")
    slow.complete, slow.duration_ms = False, 250
    assert slow.heard(250) == "Well"
    slow.words = ()
    assert slow.heard(0) == ""
    assert slow.heard(600) == "Well,"


def test_a_reply_is_heard_clause_by_clause() -> None:
    transcript = Transcript()
    for text, start_ms in (("One two.", 0.0), ("Three four.", 400.0)):
        made = clause(text)
        begun = transcript.begin(text, start_ms)
        begun.duration_ms, begun.words, begun.complete = made.duration_ms, made.words, True
    assert transcript.heard(100) == "One"
    assert transcript.heard(620) == "One two. Three"
    assert transcript.heard(900) == "One two. Three four."


@given(
    st.lists(st.sampled_from(["a", "the", "tea", "eat", "at"]), min_size=1, max_size=12), st.floats(0, 3000)
)
def test_what_was_heard_is_a_prefix_of_what_was_said(words: list[str], played_ms: float) -> None:
    text = " ".join(words)
    assert text.startswith(clause(text).heard(played_ms))


async def test_moves_are_told_and_the_passing_of_time_is_not(clock: MediaClock, seconds: Seconds) -> None:
    clock.sent(1000)
    told: list[tuple[float, bool]] = []
    moves = clock.moves()
    told.append(await anext(moves))
    seconds.value += 0.2
    clock.sent(1000)  # no news: the sound went on
    later = asyncio.ensure_future(anext(moves))
    await asyncio.sleep(0)
    assert not later.done()
    clock.pause()
    told.append(await later)
    clock.resume()
    told.append(await anext(moves))
    clock.report(120.0)
    told.append(await anext(moves))
    assert told == [(0, False), (pytest.approx(200), True), (pytest.approx(200), False), (120, False)]
    await moves.aclose()


async def test_moves_end_when_all_was_heard(clock: MediaClock, seconds: Seconds) -> None:
    clock.sent(100)
    clock.finish()
    seconds.value += 0.2
    assert [move async for move in clock.moves()] == []


async def test_a_reply_without_sound_has_no_moves(clock: MediaClock) -> None:
    clock.finish()
    assert [move async for move in clock.moves()] == []
