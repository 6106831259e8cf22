"""The recogniser's language model is made of what nova-mini can be asked."""

from __future__ import annotations

import re

from training.nova_mini.spoken import spoken_sentences


def test_one_seed_one_list() -> None:
    assert spoken_sentences(5, 200) == spoken_sentences(5, 200)
    assert spoken_sentences(5, 200) != spoken_sentences(6, 200)


def test_sentences_are_words_and_nothing_else() -> None:
    for sentence in spoken_sentences(1, 2000):
        assert re.fullmatch(r"[a-z']+( [a-z']+)*", sentence), sentence


def test_they_are_as_varied_as_the_dialogues() -> None:
    sentences = spoken_sentences(2, 4000)
    assert len(set(sentences)) > 2500
    for common in ("what is the capital of", "plus", "my name is", "goodbye", "count", "spell"):
        assert any(common in sentence for sentence in sentences), common
