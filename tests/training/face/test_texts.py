from __future__ import annotations

import random

import pytest

from training.face.texts import LIPS, sentence, sentences, words
from training.nova_mini.phrasing import Language
from voxloop.bench.face_accuracy import SENTENCES


@pytest.mark.parametrize("language", ["en", "de"])
def test_sentences_are_many_and_none_has_what_voices_read_differently(language: Language) -> None:
    found = sentences(language)
    assert len(found) > 300
    assert not [one for one in found if any(letter.isdigit() for letter in one)]


def test_no_sentence_that_judges_is_said_in_training() -> None:
    rng = random.Random(1)
    said = {sentence(rng, "en") for _ in range(3000)} | set(sentences("en"))
    assert not said & set(SENTENCES)


def test_lips_close_often_enough() -> None:
    rng = random.Random(1)
    spoken = " ".join(sentence(rng, "en") for _ in range(300)).lower()
    by_itself = " ".join(words())
    assert share_of_lips(spoken) > 1.1 * share_of_lips(by_itself) > 0


def share_of_lips(text: str) -> float:
    letters = [letter for letter in text if letter.isalpha()]
    return sum(letter in LIPS for letter in letters) / len(letters)


def test_the_same_seed_says_the_same() -> None:
    one, other = (
        [sentence(rng, "en") for _ in range(20)] for rng in (random.Random("face"), random.Random("face"))
    )
    assert one == other
