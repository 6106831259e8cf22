from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from embedded.face.blendshapes import INDEX, NAMES, Array
from embedded.face.engine import FPS, FaceEngine, Tuning
from embedded.face.expression import Emotions
from embedded.face.features import RATE
from tests.fixtures import face

MOUTH = [INDEX[name] for name in NAMES if name.startswith(("Jaw", "Mouth", "Tongue"))]
JAW = INDEX["JawOpen"]


def samples(pcm: bytes) -> Array:
    return np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768)


SPEECH = samples(face.silence(0.2) + face.vowel(0.5) + face.hum(0.2) + face.vowel(0.3) + face.hiss(0.2))


def engine(tuning: Tuning | None = None) -> FaceEngine:
    return FaceEngine(Emotions({}), tuning or Tuning.neutral())


def animate(sound: Array, sizes: tuple[int, ...] = (), tuning: Tuning | None = None) -> Array:
    """All frames (n, 52) of a sound fed in pieces of these sizes, then the rest."""
    face_engine, position = engine(tuning), 0
    parts: list[Array] = []
    for size in (*sizes, len(sound)):
        frames = face_engine.feed(sound[position : position + size])
        assert frames.start == sum(len(part) for part in parts)
        parts.append(frames.weights)
        position += size
    parts.append(face_engine.finish(round(len(sound) / RATE * FPS)).weights)
    return np.concatenate(parts)


def test_the_mouth_opens_for_a_vowel_and_closes_for_a_hum() -> None:
    weights = animate(SPEECH)
    in_vowel, in_hum = weights[round(0.5 * FPS)], weights[round(0.75 * FPS)]
    assert in_vowel[JAW] > 0.3
    assert in_hum[JAW] < 0.5 * in_vowel[JAW]
    assert in_hum[INDEX["MouthPressLeft"]] > 0.2 > in_vowel[INDEX["MouthPressLeft"]]


def test_the_mouth_is_closed_in_silence() -> None:
    assert not animate(samples(face.silence(2)))[:, MOUTH].any()


def test_the_mouth_is_neutral_at_the_end_even_of_a_cut_off_vowel() -> None:
    weights = animate(samples(face.vowel(1)))
    assert weights[-4, JAW] > 0.3
    assert not weights[-1, MOUTH].any()


@given(st.integers(1, 3 * RATE))
@settings(max_examples=30, deadline=None)
def test_there_are_as_many_frames_as_asked_for(length: int) -> None:
    sound = np.resize(SPEECH, length)
    assert len(animate(sound)) == round(length / RATE * FPS)


@given(st.lists(st.integers(0, 9000), max_size=12))
@settings(max_examples=30, deadline=None)
def test_frames_do_not_depend_on_how_the_sound_was_cut(sizes: list[int]) -> None:
    assert np.allclose(animate(SPEECH, tuple(sizes)), animate(SPEECH), atol=1e-4)


def test_a_frame_leaves_when_65_ms_of_sound_lie_beyond_it() -> None:
    sound = np.resize(SPEECH, RATE)
    face_engine, fed = engine(), 0
    for frame in range(25):
        needed = round((frame / FPS + 0.065) * RATE)
        frames = face_engine.feed(sound[fed:needed])
        fed = needed
        assert frames.start + len(frames.weights) > frame


def test_weights_stay_between_0_and_1_unless_the_caller_wants_them_free() -> None:
    loud = Tuning(np.full(52, 5, np.float32), np.full(52, -0.5, np.float32))
    held = animate(SPEECH, tuning=loud)
    assert held.min() == 0
    assert held.max() == 1
    free = animate(SPEECH, tuning=Tuning(loud.multipliers, loud.offsets, clamp=False))
    assert free.min() < 0
    assert free.max() > 1


def test_multipliers_and_offsets_are_applied_in_that_order() -> None:
    tuning = Tuning(np.full(52, 2, np.float32), np.full(52, 0.25, np.float32), clamp=False)
    assert np.allclose(animate(SPEECH, tuning=tuning), 2 * animate(SPEECH) + 0.25, atol=1e-5)


def test_the_memory_of_a_long_stream_stays_small() -> None:
    face_engine, piece = engine(), np.resize(SPEECH, RATE)
    for _ in range(300):
        face_engine.feed(piece)
    arrays = [value for value in vars(face_engine).values() if isinstance(value, np.ndarray)]
    assert sum(array.nbytes for array in arrays) < 20_000
