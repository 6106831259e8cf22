from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from embedded.speech.espeak import Espeak, Mark, PhoneMark, WordMark
from embedded.speech.voices import VOICES

TEXT = "Hello there. I have turned off the kitchen lights."


@dataclass
class Take:
    stop_after: int = 1 << 30
    chunks: list[bytes] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)

    def __call__(self, sound: bytes, marks: Sequence[Mark]) -> bool:
        self.chunks.append(sound)
        self.marks += marks
        return len(self.chunks) < self.stop_after

    @property
    def sound(self) -> bytes:
        return b"".join(self.chunks)


@pytest.fixture(scope="module", name="espeak")
def the_only_one() -> Espeak:
    return Espeak()


def spoken(espeak: Espeak, text: str, take: Take | None = None) -> Take:
    take = take or Take()
    espeak.speak(text, VOICES[0], take)
    return take


def test_sound_comes_in_small_pieces(espeak: Espeak) -> None:
    take = spoken(espeak, TEXT)
    assert len(take.chunks) > 20
    assert max(map(len, take.chunks)) <= espeak.rate // 10 * 2


def test_a_sink_may_stop_it(espeak: Espeak) -> None:
    assert len(spoken(espeak, TEXT, Take(stop_after=3)).chunks) == 3
    assert spoken(espeak, TEXT).sound  # and it speaks again


def test_words_are_marked_by_their_place_in_the_text(espeak: Espeak) -> None:
    marks = [mark for mark in spoken(espeak, "Öl is fine").marks if isinstance(mark, WordMark)]
    assert [(mark.at, mark.length) for mark in marks] == [(0, 2), (3, 2), (6, 4)]


def test_phones_are_marked_in_ipa_and_pauses_are_told_apart(espeak: Espeak) -> None:
    phones = [mark for mark in spoken(espeak, "see, she").marks if isinstance(mark, PhoneMark)]
    assert [mark.ipa.lstrip("ˈ") for mark in phones if not mark.is_pause] == ["s", "iː", "ʃ", "iː"]
    assert any(mark.is_pause for mark in phones[2:-2])
