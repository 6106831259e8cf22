"""Numbers are said as a recogniser writes them."""

from __future__ import annotations

import pytest

from training.nova_mini import numbers


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "zero"),
        (17, "seventeen"),
        (40, "forty"),
        (99, "ninety nine"),
        (120, "one hundred twenty"),
        (1005, "one thousand five"),
        (264_000, "two hundred sixty four thousand"),
    ],
)
def test_english(value: int, words: str) -> None:
    assert numbers.english(value) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (1, "eins"),
        (16, "sechzehn"),
        (21, "einundzwanzig"),
        (70, "siebzig"),
        (101, "einhunderteins"),
        (2_035, "zweitausendfünfunddreißig"),
        (31_000, "einunddreißigtausend"),
    ],
)
def test_german(value: int, words: str) -> None:
    assert numbers.german(value) == words
