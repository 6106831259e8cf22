from __future__ import annotations

import numpy as np
import pytest

from embedded.face.articulation import HISTORY, LOOKAHEAD, articulate
from embedded.face.blendshapes import CLOSE, JAW, SIBILANT, Array
from embedded.face.features import BANDS, FLOOR, Level, LogMel
from tests.fixtures import face


def features(pcm: bytes) -> Array:
    samples = np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768)
    return Level().feed(LogMel().feed(samples))


def middle(pcm: bytes) -> Array:
    """Articulators (7,) in the steady middle of a sound."""
    moves = articulate(features(pcm))
    return np.asarray(moves[len(moves) // 2 :].mean(axis=0), np.float32)


def test_an_open_vowel_opens_the_jaw_and_keeps_the_lips_apart() -> None:
    moves = middle(face.vowel(1))
    assert moves[JAW] > 0.5
    assert moves[CLOSE] < 0.1
    assert moves[SIBILANT] < 0.1


def test_a_hum_closes_the_lips() -> None:
    moves = middle(face.hum(1))
    assert moves[CLOSE] > 0.5
    assert moves[JAW] < 0.1


def test_a_hiss_shows_the_teeth_with_the_jaw_up() -> None:
    moves = middle(face.hiss(1))
    assert moves[SIBILANT] > 0.4
    assert moves[JAW] < 0.1


def test_a_short_gap_between_vowels_is_a_closure() -> None:
    moves = articulate(features(face.vowel(0.5) + face.silence(0.06) + face.vowel(0.5)))
    assert moves[:, CLOSE].max() > 0.4


def test_a_long_pause_is_none() -> None:
    moves = articulate(features(face.vowel(0.5) + face.silence(0.6) + face.vowel(0.5)))
    assert moves[80 - HISTORY, CLOSE] == 0


def test_silence_moves_nothing() -> None:
    assert not articulate(np.full((60, BANDS), FLOOR, np.float32)).any()


@pytest.mark.parametrize("row", [0, 17, 40])
def test_a_row_depends_on_its_own_context_only(row: int) -> None:
    sound = features(face.vowel(0.4) + face.hum(0.2) + face.hiss(0.2))
    alone = articulate(sound[row : row + HISTORY + 1 + LOOKAHEAD])
    assert np.allclose(alone[0], articulate(sound)[row], atol=1e-5)


def test_all_articulators_stay_between_0_and_1() -> None:
    moves = articulate(features(face.vowel(0.3) + face.hiss(0.3) + face.hum(0.3) + face.vowel(0.3)))
    assert moves.min() >= 0
    assert moves.max() <= 1
