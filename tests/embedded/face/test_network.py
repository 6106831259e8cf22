from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from embedded.face.blendshapes import ARTICULATORS, CLOSE, JAW, SIBILANT, Array
from embedded.face.features import BANDS, FLOOR, Level, LogMel
from embedded.face.network import CONTEXT, HISTORY, LOOKAHEAD, REST, WEIGHTS, Network, network, write
from embedded.speech.voices import Voice
from tests.fixtures import face
from voxloop.bench.face_voices import Utterance, espeak_says

NOISE = np.random.default_rng(3)


def features(sound: Array) -> Array:
    return Level().feed(LogMel().feed(sound))


def samples(pcm: bytes) -> Array:
    return np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768)


SPEECH = features(samples(face.vowel(0.4) + face.hum(0.2) + face.hiss(0.2)))


@pytest.fixture(scope="module")
def mama() -> tuple[Utterance, Array]:
    """What a voice that the network was not trained on says, and what is shown of it (hops, 7)."""
    said = espeak_says("Ma ma ma. Sa sa sa.", Voice("m4", "en-US", "en-us+m4"))
    before = np.full((HISTORY, BANDS), FLOOR, np.float32)
    return said, network().articulate(np.concatenate([before, features(said.sound)]))


def within(said: Utterance, moves: Array, phone: str) -> Array:
    """(phones, 7): the hop in the middle of each such phone."""
    middles = [(start + end) / 2 for start, end, ipa in said.phones if phone in ipa]
    assert middles
    return moves[[int(100 * at) for at in middles]]


def test_lips_close_for_an_m_and_the_jaw_falls_for_an_a(mama: tuple[Utterance, Array]) -> None:
    closed, opened = within(*mama, "m"), within(*mama, "ɑ")
    assert closed[:, CLOSE].min() > 0.5 > opened[:, CLOSE].max()
    assert opened[:, JAW].min() > 0.5 > closed[:, JAW].max()


def test_an_s_shows_the_teeth(mama: tuple[Utterance, Array]) -> None:
    hissed, opened = within(*mama, "s"), within(*mama, "ɑ")
    assert hissed[:, SIBILANT].min() > 0.5 > opened[:, SIBILANT].max()
    assert hissed[:, JAW].max() < opened[:, JAW].min()


def test_silence_moves_nothing() -> None:
    assert not network().articulate(np.full((60, BANDS), FLOOR, np.float32)).any()


def test_there_is_a_row_for_each_hop_with_its_context() -> None:
    assert network().articulate(SPEECH).shape == (len(SPEECH) - CONTEXT + 1, len(ARTICULATORS))
    assert network().articulate(SPEECH[:CONTEXT]).shape == (1, len(ARTICULATORS))


@pytest.mark.parametrize("row", [0, 17, 40])
def test_a_row_depends_on_its_own_context_only(row: int) -> None:
    alone = network().articulate(SPEECH[row : row + HISTORY + 1 + LOOKAHEAD])
    assert np.allclose(alone[0], network().articulate(SPEECH)[row], atol=1e-5)


def test_all_articulators_stay_between_0_and_1() -> None:
    moves = network().articulate(NOISE.uniform(-4, 1, (500, BANDS)).astype(np.float32))
    assert moves.min() >= 0
    assert moves.max() <= 1
    assert np.isfinite(moves).all()


def test_a_network_is_the_same_when_it_was_written_and_read(tmp_path: Path) -> None:
    sizes = ((CONTEXT * BANDS, 8), (8,), (8, 5), (5,), (5, 7), (7,))
    weights = [NOISE.normal(0, 0.1, size).astype(np.float32) for size in sizes]
    write(tmp_path / "small.npz", weights)
    matrix1, offset1, matrix2, offset2, matrix3, offset3 = weights
    one = np.maximum(SPEECH[:CONTEXT].reshape(1, -1) @ matrix1 + offset1, 0)
    shown = 1 / (1 + np.exp(-(np.maximum(one @ matrix2 + offset2, 0) @ matrix3 + offset3)))
    read = Network(tmp_path / "small.npz").articulate(SPEECH[:CONTEXT])
    assert np.allclose(read, (shown - REST) / (1 - REST), atol=2e-3)


def test_the_weights_are_small() -> None:
    assert WEIGHTS.stat().st_size < 500_000
