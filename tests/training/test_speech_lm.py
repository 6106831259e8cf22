from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.speech_lm import Trigrams, dictionary

sentences = st.lists(
    st.lists(st.sampled_from("what is the capital of france".split()), min_size=1).map(" ".join),
    min_size=2,
    max_size=20,
)


@given(sentences)
def test_after_every_history_the_probabilities_sum_to_one(heard: list[str]) -> None:
    model = Trigrams(heard)
    words = [gram[0] for gram in model.probabilities[0]]
    histories = {(), *model.weights[0], *model.weights[1]}
    for history in histories:
        total = sum(model.probability((*history, word)) for word in words)
        assert total == pytest.approx(1, abs=1e-6)


def test_what_was_heard_often_is_likelier_than_what_was_not() -> None:
    model = Trigrams(["what is the capital"] * 9 + ["what was the price"])
    assert model.probability(("what", "is")) > 3 * model.probability(("what", "was"))
    assert model.probability(("<s>", "what", "is")) > model.probability(("<s>", "what", "price"))


def test_arpa_counts_what_it_lists() -> None:
    lines = list(Trigrams(["what is it", "what is that"]).arpa())
    for order in (1, 2, 3):
        announced = int(next(line for line in lines if line.startswith(f"ngram {order}=")).split("=")[1])
        start = lines.index(f"\n\\{order}-grams:") + 1
        listed = lines[start : start + announced]
        assert all(math.isfinite(float(line.split()[0])) and len(line.split()) > order for line in listed)


@pytest.mark.parametrize(
    ("word", "phones"),
    [("bratislava", "B R AA T IH S L AA V AH"), ("parrot's", "P EH R AH T S"), ("mouse's", "M AW S IH Z")],
)
def test_words_that_the_general_dictionary_lacks_are_pronounced(word: str, phones: str) -> None:
    assert phones in dictionary({word})[word]


def test_a_made_up_word_has_no_pronunciation() -> None:
    assert dictionary({"xqzt"}) == {}
