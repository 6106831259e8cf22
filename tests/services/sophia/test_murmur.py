"""Murmurs and words of the embedded voice, and of real people."""

from __future__ import annotations

import pytest

from services.sophia.murmur import is_murmur
from shared.audio import RATE, read_wav
from tests.fixtures.launch import ROOT
from tests.fixtures.spoken import said


@pytest.mark.parametrize("pitch", [0.85, 1.0, 1.15])
@pytest.mark.parametrize("murmur", ["Mm-hmm.", "Mhm.", "Mm.", "Hmm.", "Uh-huh.", "Uh.", "Ah."])
def test_one_sound_held_or_repeated_is_a_murmur(murmur: str, pitch: float) -> None:
    assert is_murmur(said(murmur, pitch))


@pytest.mark.parametrize("pitch", [0.85, 1.0, 1.15])
@pytest.mark.parametrize(
    "word",
    ["Stop.", "Stop it.", "Wait.", "Yes.", "No.", "Why?", "Next.", "Hello.", "What?", "Nein.", "Sorry."],
)
def test_a_word_moves(word: str, pitch: float) -> None:
    assert not is_murmur(said(word, pitch))


@pytest.mark.parametrize("clip", ["question", "interrupt", "count"])
def test_what_people_say_is_none(clip: str) -> None:
    assert not is_murmur(read_wav(ROOT / "samples" / f"{clip}.wav", RATE))


@pytest.mark.parametrize("pcm", [b"", bytes(2), bytes(2 * RATE)])
def test_nothing_is_none(pcm: bytes) -> None:
    assert not is_murmur(pcm)
