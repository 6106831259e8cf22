"""What a client notes of a turn."""

from __future__ import annotations

import math

import pytest

from voxloop.turn_marks import Outcome, TurnMarks


@pytest.mark.parametrize("value", [math.nan, math.inf, -1, None, "12", True, []])
def test_what_is_no_length_of_time_counts_as_missing(value: object) -> None:
    turn = TurnMarks(1)
    turn.tell_stages({"llm_first_token": value, "first_clause": 3})
    assert turn.stages == {"llm_first_token": None, "first_clause": 3.0}


def test_only_the_first_sound_and_frame_are_the_first() -> None:
    turn = TurnMarks(1)
    for at in (10, 20):
        turn.audio(at, 100)
        turn.frame(at + 1, at)
    assert (turn.first_audio, turn.audio_ms) == (10, 200)
    assert (turn.first_frame, turn.face_ms, turn.frames) == (11, 20, 2)


def test_a_pause_ends_with_the_turn() -> None:
    turn = TurnMarks(1)
    turn.pause(10)
    turn.resume(20)
    turn.resume(25)
    turn.pause(30)
    turn.end(40, Outcome.INTERRUPTED)
    turn.leave(50)
    assert turn.pauses == [(10, 20), (30, 40)]
    assert turn.ended == 40


def test_a_turn_that_the_client_leaves_is_unfinished() -> None:
    turn = TurnMarks(1)
    turn.pause(10)
    turn.leave(20)
    assert (turn.outcome, turn.ended, turn.pauses) == (Outcome.UNFINISHED, 20, [(10, 20)])
