"""A turn reaches the model as a recogniser writes it, or as it is typed."""

from __future__ import annotations

import random
import re

import pytest

from training.nova_mini.dialogue import conversation
from training.nova_mini.surface import contracted, heard, spoken


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("What is 17 plus 25?", "what is seventeen plus twenty five"),
        ("What's the capital of France?", "what's the capital of france"),
        ("It is 7 o'clock.", "it is seven o'clock"),
        ("Today is Monday. What day is tomorrow?", "today is monday what day is tomorrow"),
        ("What is Audio2Face?", "what is audio to face"),
    ],
)
def test_a_recogniser_writes_no_digits_capitals_or_stops(typed: str, said: str) -> None:
    assert spoken(typed) == said


def test_german_numbers_are_one_word() -> None:
    assert spoken("Was ist 7 mal 21?", "de") == "was ist sieben mal einundzwanzig"


def test_only_the_beginning_contracts_where_the_end_may_not() -> None:
    question = "How old did I say I am?"
    assert {contracted(random.Random(seed), question) for seed in range(50)} == {question}


def test_most_english_turns_are_as_a_recogniser_writes_them() -> None:
    rng = random.Random(3)
    turns = [heard(rng, "What is 17 plus 25?", "en") for _ in range(500)]
    as_spoken = [turn for turn in turns if re.fullmatch(r"[a-z' ]+", turn)]
    assert 0.5 < len(as_spoken) / len(turns) < 0.8


def test_conversations_mix_both_forms() -> None:
    rng = random.Random(4)
    turns = [turn.user for _ in range(200) for turn in conversation(rng).turns]
    assert any(re.search(r"\d", turn) for turn in turns)
    assert any(turn == turn.lower() and " " in turn for turn in turns)
