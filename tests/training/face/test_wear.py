from __future__ import annotations

import numpy as np
import pytest

from embedded.face.blendshapes import Array
from embedded.face.features import RATE
from tests.fixtures import face
from training.face.wear import at_speed, worn

VOWEL: Array = np.frombuffer(face.vowel(1.0, pitch_hz=125), "<i2").astype(np.float32) / 32768


def pitch_hz(sound: Array) -> float:
    middle = sound[2000:6000]
    likeness = np.correlate(middle, middle, "full")[len(middle) - 1 :]
    return RATE / (60 + int(likeness[60:300].argmax()))


def test_a_faster_tape_is_shorter_and_higher() -> None:
    fast = at_speed(VOWEL, 1.2)
    assert len(fast) == pytest.approx(len(VOWEL) / 1.2, abs=2)
    assert pitch_hz(fast) == pytest.approx(1.2 * pitch_hz(VOWEL), rel=0.03)


@pytest.mark.parametrize("seed", range(12))
def test_what_was_worn_is_as_long_as_before_and_can_be_recorded(seed: int) -> None:
    sound = worn(VOWEL, np.random.default_rng(seed))
    assert len(sound) == len(VOWEL)
    assert sound.dtype == np.float32
    assert np.isfinite(sound).all()
    assert 0.01 < np.abs(sound).max() <= 1


def test_wear_differs_from_time_to_time_and_not_for_one_seed() -> None:
    first, again, other = (worn(VOWEL, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other, atol=0.01)


def test_wear_moves_nothing_in_time() -> None:
    """Phones keep their times: the onset of a sound is where it was, within 15 ms."""
    late = np.concatenate([np.zeros(RATE // 2, np.float32), VOWEL[RATE // 4 :]])
    for seed in range(8):
        loud = np.abs(worn(late, np.random.default_rng(seed)))
        assert abs(int((loud > 0.4 * loud.max()).argmax()) - RATE // 2) < 0.015 * RATE
