from __future__ import annotations

import numpy as np
import pytest

from embedded.face.blendshapes import Array
from embedded.face.features import LogMel
from embedded.face.visemes import movements
from embedded.speech.voices import Voice
from shared.audio import RATE
from voxloop.bench.face_voices import (
    ARPABET,
    FLITE_JUDGE,
    JUDGES,
    Utterance,
    espeak_says,
    flite_says,
    has_flite,
)

TEXT = "She sees six ships."
SPEAKERS = [
    pytest.param(lambda: espeak_says(TEXT, JUDGES[0]), id="espeak"),
    pytest.param(
        lambda: flite_says(TEXT, FLITE_JUDGE),
        id="flite",
        marks=pytest.mark.skipif(not has_flite(), reason="flite is not installed"),
    ),
]


def hiss(said: Utterance) -> Array:
    """(hops,): how much louder it is above 4 kHz than below 1 kHz."""
    power = 10 ** LogMel().feed(said.sound)
    return np.log10((power[:, 19:].sum(axis=1) + 1e-5) / (power[:, :10].sum(axis=1) + 1e-5))


@pytest.mark.parametrize("say", SPEAKERS)
def test_phones_are_told_when_they_sound(say) -> None:
    said = say()
    assert "".join(ipa for *_, ipa in said.phones).count("s") >= 4
    loud = hiss(said)
    hissed = [loud[int(100 * (start + end) / 2)] for start, end, ipa in said.phones if ipa in ("s", "ʃ")]
    others = [
        loud[int(100 * (start + end) / 2)] for start, end, ipa in said.phones if ipa in ("i", "iː", "ɪ")
    ]
    assert min(hissed) > max(others)


@pytest.mark.parametrize("say", SPEAKERS)
def test_phones_lie_one_behind_the_other_within_the_sound(say) -> None:
    said = say()
    edges = [edge for start, end, _ in said.phones for edge in (start, end)]
    assert edges == sorted(edges)
    assert 0 <= edges[0] < edges[-1] <= len(said.sound) / RATE
    assert said.sound.dtype == np.float32
    assert 0.1 < np.abs(said.sound).max() <= 1


def test_every_phone_of_flite_moves_the_mouth() -> None:
    assert not [ipa for ipa in ARPABET.values() if movements(ipa) is None]


@pytest.mark.skipif(not has_flite(), reason="flite is not installed")
def test_flite_speaks_slower_where_it_is_stretched() -> None:
    slow, fast = (flite_says(TEXT, FLITE_JUDGE, stretch) for stretch in (1.4, 0.8))
    assert len(slow.sound) > 1.4 * len(fast.sound)
    assert slow.phones[-1][1] > 1.4 * fast.phones[-1][1]


def test_whoever_spoke_last_does_not_take_another_s_sound() -> None:
    before = espeak_says(TEXT, JUDGES[0])
    espeak_says("Another one.", Voice("x", "en-US", "en-us"))
    assert len(espeak_says(TEXT, JUDGES[0]).sound) == pytest.approx(len(before.sound), rel=0.1)
