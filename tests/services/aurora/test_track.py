"""Which frames of a turn go out, when, and how the last of them close the mouth."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.aurora.audio2face import Frame
from services.aurora.track import EASE_S, FPS, Track

NAMES = ("JawOpen", "EyeBlinkLeft")
LAG = 2
"""Frames that the face of these tests keeps back, as a look-ahead does."""


def frame(number: int, fps: int = FPS) -> Frame:
    return Frame(number / fps, (1.0, 1.0))


def track(ahead_s: float = 1000.0) -> Track:
    made = Track(ahead_s)
    made.named(NAMES)
    return made


async def drain(source: Track) -> list[Frame]:
    """What may go out at this moment."""
    frames: list[Frame] = []
    taking = asyncio.ensure_future(source.take())
    while True:
        for _ in range(3):  # let the taker run as far as it can without time passing
            await asyncio.sleep(0)
        if not taking.done():
            taking.cancel()
            return frames
        taken = taking.result()
        if taken is None:
            return frames
        frames.append(taken)
        taking = asyncio.ensure_future(source.take())


async def turn(chunks_ms: list[int], fps: int = FPS) -> list[Frame]:
    """A whole turn: sound in chunks, a face that lags, silence after it."""
    source, heard_ms, put, out = track(), 0, 0, []
    for chunk in chunks_ms:
        heard_ms += chunk
        source.heard(heard_ms / 1000)
        while (put + LAG) / fps < heard_ms / 1000:
            source.put(frame(put, fps))
            put += 1
        out += await drain(source)
    source.end()
    for number in range(put, put + fps):
        source.put(frame(number, fps))
    source.close()
    out += await drain(source)
    assert source.missing <= 0
    return out


@given(st.lists(st.integers(1, 400), min_size=1, max_size=20))
@settings(max_examples=60, deadline=None)
def test_30_frames_a_second_of_sound_go_out_and_none_of_the_silence_after_it(chunks: list[int]) -> None:
    out = asyncio.run(turn(chunks))
    assert len(out) == max(1, int(sum(chunks) / 1000 * FPS + 0.5))
    assert [f.t_s for f in out] == [number / FPS for number in range(len(out))]


@given(st.lists(st.integers(1, 400), min_size=1, max_size=20))
@settings(max_examples=60, deadline=None)
def test_the_mouth_closes_without_a_jump_and_the_eyes_stay_as_they_are(chunks: list[int]) -> None:
    out = asyncio.run(turn(chunks))
    jaws = [f.weights[0] for f in out]
    assert jaws[-1] == 0.0
    assert jaws == sorted(jaws, reverse=True)
    if len(out) > 5:
        assert jaws[-round(EASE_S * FPS) - 2] == 1.0
        assert max(before - after for before, after in pairwise(jaws)) < 0.75
    assert {f.weights[1] for f in out} == {1.0}


def test_a_face_of_60_frames_a_second_is_shown_at_30() -> None:
    out = asyncio.run(turn([500, 500], fps=60))
    assert len(out) == FPS
    assert [round(f.t_s * FPS) for f in out] == list(range(FPS))


async def test_a_frame_waits_until_its_ending_could_still_be_eased() -> None:
    source = track()
    source.put(frame(0))
    source.heard(EASE_S - 0.001)
    assert await drain(source) == []
    source.heard(EASE_S)
    assert await drain(source) == [frame(0)]


async def test_when_the_sound_stalls_the_waiting_frames_go_out() -> None:
    source = track()
    source.heard(0.05)
    source.put(frame(0))
    source.put(frame(1))
    assert await source.take() == frame(0)
    assert await source.take() == frame(1)


async def test_the_ending_eases_from_what_was_already_shown() -> None:
    source = track()
    source.heard(1.0)
    for number in range(30):
        source.put(frame(number))
    shown = [await source.take() for _ in range(28)]  # the last of them because the sound stalls
    assert shown[-1] == frame(27)
    source.end()
    source.close()
    ending = await drain(source)
    assert [f.weights[0] for f in ending] == [pytest.approx(0.5), 0.0]


async def test_there_is_room_again_when_frames_are_taken() -> None:
    source = track(ahead_s=2.0)
    source.heard(2.5)
    for number in range(60):
        source.put(frame(number))
    waiting = asyncio.ensure_future(source.room())
    for _ in range(14):
        await source.take()
    await asyncio.sleep(0)
    assert not waiting.done()
    await source.take()
    await waiting


async def test_no_sound_has_no_frames() -> None:
    source = track()
    source.end()
    source.put(frame(0))
    source.close()
    assert await source.take() is None
    assert source.missing == 0


async def test_frames_that_never_came_are_missed() -> None:
    source = track()
    source.heard(1.0)
    source.put(frame(0))
    source.end()
    source.close()
    assert len(await drain(source)) == 1
    assert source.missing == 29
