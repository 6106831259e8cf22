from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedded.face.animator import Animator, Step
from embedded.face.engine import FPS, Tuning
from embedded.face.expression import Emotions
from embedded.face.header import StreamHeader
from tests.fixtures import face


def animate(pcm: bytes, rate: int, sizes: tuple[int, ...] = ()) -> list[Step]:
    """Steps of a sound fed in pieces of so many samples, then the rest."""
    animator, steps, position = Animator(StreamHeader(rate, Emotions({}), Tuning.neutral())), [], 0
    for size in (*sizes, len(pcm)):
        for some in animator.feed(pcm[position : position + 2 * size]):
            steps += some
        position += 2 * size
    return steps + animator.finish()


@pytest.mark.parametrize("rate", [16000, 22050, 44100, 48000, 144000])
def test_every_rate_gives_30_frames_a_second_and_the_same_face(rate: int) -> None:
    steps = animate(face.vowel(1.5, rate), rate)
    assert len(steps) == 45
    reference = animate(face.vowel(1.5), 16000)
    difference = np.array([step.weights for step in steps]) - np.array([step.weights for step in reference])
    assert np.abs(difference[3:-4]).max() < 0.1


@given(st.sampled_from([16000, 44100, 48000]), st.integers(0, 50000))
@settings(max_examples=40, deadline=None)
def test_the_frames_are_as_many_as_the_sound_is_long(rate: int, length: int) -> None:
    steps = animate(bytes(2 * length), rate)
    assert len(steps) == (max(1, int(length / rate * FPS + 0.5)) if length else 0)


@given(st.sampled_from([16000, 22050]), st.lists(st.integers(0, 12000), max_size=8))
@settings(max_examples=30, deadline=None)
def test_all_of_the_sound_comes_back_once_and_in_order_beside_its_frames(rate: int, sizes: list[int]) -> None:
    pcm = face.vowel(1.21, rate)
    steps = animate(pcm, rate, tuple(sizes))
    assert b"".join(step.audio for step in steps) == pcm
    for number, step in enumerate(steps):
        assert step.time_s == pytest.approx(number / FPS)
        assert step.audio_time_s == pytest.approx(step.time_s, abs=1 / rate)


def test_a_long_buffer_is_worked_on_in_short_pieces() -> None:
    animator = Animator(StreamHeader(16000, Emotions({}), Tuning.neutral()))
    pieces = list(animator.feed(face.vowel(10)))
    assert len(pieces) == 40
    assert max(map(len, pieces)) <= 8


def test_no_sound_has_no_frames() -> None:
    assert animate(b"", 16000) == []
